"""Batches: stored groups decoded, cut into minibatches and packed into micro-batches without padding."""
