"""Simulated members: generators and a learner that keep the mesh's protocol over real gRPC, without models or GPUs.

What they take of time and of tokens is made up (`lengths`), and all they say of themselves says so: each is named
`simulated-...`. The controller, the ledger, the publisher and the replay buffer that they talk to are the
product's own. `areal-mesh simulate` sizes a cluster with them, and the benchmarks load the controller.
"""
