"""A library: prompts as the model reads them, rendered and looked at; nothing here loads torch or transformers.

The generator renders with the model's own tokenizer (transformers); the command shows and checks prompts with
`plain_tokenizer`, which reads the same files in a fraction of a second.
"""
