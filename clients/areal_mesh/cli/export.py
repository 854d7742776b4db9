"""`areal-mesh export`: the policy of a run's checkpoint as a Hugging Face folder."""

from pathlib import Path

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.hub import upload
from areal_mesh.cli.report import run_folder
from areal_mesh.runtime.run_files import SETTINGS_FILE
from areal_mesh.runtime.settings import SettingsError, load_settings


def export(source: str, version: int | None, to: str, push: str = "") -> None:
    """Writes the newest whole checkpoint of a run, or that of a version, to `to` or into the run's directory.

    Raises:
        CommandFailed: there is no such run or checkpoint, it cannot be read, the folder is there already, or the hub
            refuses it; what was exported stays then.
    """
    run = run_folder(source)
    try:
        settings = load_settings(run / SETTINGS_FILE)
    except SettingsError as error:
        raise CommandFailed(f"{run / SETTINGS_FILE}: {error}") from error
    # torch takes seconds to import: what can be refused before is.
    from areal_mesh.learner.checkpoints.exporting import NotExported, export_version

    model = settings.model
    try:
        folder = export_version(run / "checkpoints", version, model.folder, model.dtype, Path(to) if to else None)
    except (NotExported, OSError) as error:
        raise CommandFailed(str(error)) from error
    print(f"{folder}: a model folder, {model.dtype}, for transformers and vLLM")
    if push:
        upload(folder, push)
