"""The whole mesh through the command: five processes, vLLM and Gloo; what such tests share starts them."""
