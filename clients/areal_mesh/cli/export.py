"""`areal-mesh export`: the policy of a run's checkpoint as a Hugging Face folder."""

from pathlib import Path

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.report import run_folder
from areal_mesh.cli.run_directory import SETTINGS_FILE
from areal_mesh.runtime.settings import RunSettings, SettingsError, load_settings


def export(source: str, version: int | None, to: str) -> None:
    """Writes the newest whole checkpoint of a run, or that of a version, to `to`.

    Raises:
        CommandFailed: there is no such run or checkpoint, it cannot be read, or `to` is there already.
    """
    run = run_folder(source)
    settings = _settings_of(run)
    # torch takes seconds to import: what can be refused before is.
    from areal_mesh.learner.checkpoints.exporting import export_checkpoint
    from areal_mesh.learner.checkpoints.files import CheckpointError
    from areal_mesh.learner.checkpoints.manifest import path_of, whole_versions
    from areal_mesh.learner.trainer import DTYPES

    parent = run / "checkpoints"
    versions = list(whole_versions(parent))
    if not versions:
        raise CommandFailed(
            f"{parent}: no whole checkpoint is there; the learner keeps one every "
            f"{settings.learner.checkpoint_every} steps (learner.checkpoint_every)"
        )
    chosen = versions[0] if version is None else version
    if chosen not in versions:
        there = ", ".join(str(each) for each in sorted(versions))
        raise CommandFailed(f"{parent}: no whole checkpoint of version {chosen}; there are {there}")
    target = Path(to) if to else parent / f"export-{chosen:08d}"
    if target.exists():
        raise CommandFailed(f"{target}: is there already; name another folder with --to")
    try:
        export_checkpoint(path_of(parent, chosen), settings.model.folder, DTYPES[settings.model.dtype], target)
    except (CheckpointError, OSError) as error:
        raise CommandFailed(str(error)) from error
    print(f"{target}: policy version {chosen}, {settings.model.dtype}; for transformers and vLLM")


def _settings_of(run: Path) -> RunSettings:
    file = run / SETTINGS_FILE
    try:
        return load_settings(file)
    except SettingsError as error:
        raise CommandFailed(f"{file}: {error}") from error
