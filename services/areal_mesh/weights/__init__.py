"""Both ends of a publish: what is sent, how it travels, and the proof that it arrived.

A library of the learner and the generator, no service. The learner holds a `WeightSender`; the generator's engine
worker holds the matching receiver (`vllm_engine`), which vLLM finds through the plugin entry point (`vllm_plugin`).
`transport` says what carries the bytes, `transports/` has one file each; `messages` puts it into the contracts' words.
`manifest` and `group` are plain values without torch. `docs/weights.md` describes the protocol.
"""
