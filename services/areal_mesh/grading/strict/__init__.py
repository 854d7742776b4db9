"""Qwen's protocol with its mistakes, for comparison with published figures."""
