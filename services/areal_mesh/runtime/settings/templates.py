"""Prompt templates by name, as AReaL v0.1.1 writes them (`evaluation/utils.py` of the tag, `PROMPT_TEMPLATES`).

Each holds the instruction as well: with one of them `prompts.instruction` stays empty.
"""

from collections.abc import Mapping

TEMPLATES: Mapping[str, str] = {
    # The distilled models' turn, opened with <think>, as DeepScaleR and AReaL train them.
    "deepscaler": (
        "<｜begin▁of▁sentence｜><｜User｜>{problem}\n"
        "Please reason step by step, and put your final answer within \\boxed{}.<｜Assistant｜><think>\n"
    ),
    # Open-Reasoner-Zero's, for models that were taught no turns; its sentences run into each other there, too.
    "orz": (
        "A conversation between User and Assistant. The user asks a question, and the Assistant solves it."
        "The assistant first thinks about the reasoning process in the mind and then provides the user with the answer."
        "The reasoning process and answer are enclosed within <think> </think> and <answer> </answer> tags, "
        "respectively, i.e., <think> reasoning process here </think> <answer> answer here </answer>. "
        "User: You must put your answer inside <answer> </answer> tags, i.e., <answer> answer here </answer>. "
        "And your final answer will be extracted automatically by the \\boxed{} tag. "
        "This is the problem: {problem}\nAssistant: <think>\n"
    ),
    # Qwen2.5's turns.
    "qwen-boxed": (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n"
        "<|im_start|>user\n{problem}\n"
        "Please reason step by step, and put your final answer within \\boxed{}.<|im_end|>\n"
        "<|im_start|>assistant\n"
    ),
}
