"""The policy as tensors: the model on packed sequences, its log-probabilities, precision, optimizer and sharding."""
