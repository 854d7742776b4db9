"""Settings of a run whose engine is a real one, small and on a CPU."""

from pathlib import Path

from areal_mesh.runtime.settings import RunSettings, load_settings


def engine_run(folder: Path, *overrides: str) -> RunSettings:
    """A run on the model in `folder`, of 512 tokens of prompt and response together."""
    small = ("prompts.max_prompt_tokens=416", "generator.max_sequences=64", "generator.kv_cache_gib=0.1")
    return load_settings(
        "trial", ["model.recipe=none", "generator.engine_cores=none", f"model.folder={folder}", *small, *overrides]
    )
