"""The learner: draws batches from the replay buffer, updates the policy by PPO, keeps checkpoints.

The decisions are pure modules on packed 1-D tensors (`advantages`, `losses`, `mismatch`, `packing`); `trainer` runs
one step of them on a model (`model`, `attention`, `logprobs`), alone or sharded over ranks (`parallel`), and
`checkpoint` makes its state durable.
"""
