"""Policy losses, one file an algorithm: pure functions on packed 1-D tensors of response tokens.

Each returns the micro-batch's share of the loss of its global minibatch (a sum over its tokens divided by the
minibatch's token count, so that shares add up over micro-batches and ranks) and the sums its statistics come from.
"""
