"""The trial's task and its policy, both made by the project itself from a seed.

`problems` is the task: multi-step sums, their answers and their worked solutions, written as the same JSONL that real
data sets use. `tokenizer` and `model` are the policy's parts, `warm_start` trains it on worked solutions that contain
mistakes, and `folder` keeps the result as an ordinary Hugging Face folder. ``python -m areal_mesh.recipes.arithmetic``
makes both.
"""
