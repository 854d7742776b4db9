"""The controller's RPC surface: calls decode, ask the run and the roster, and answer."""
