"""Passes over a batch: what is measured before training, and the pass that trains on a minibatch."""
