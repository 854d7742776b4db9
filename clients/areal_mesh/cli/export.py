"""`areal-mesh export`: the policy of a run's checkpoint as a Hugging Face folder, or its adapters as PEFT's."""

from pathlib import Path

from areal_mesh.cli.failures import CommandFailed
from areal_mesh.cli.hub import upload
from areal_mesh.cli.report import run_folder
from areal_mesh.runtime.run_files import SETTINGS_FILE
from areal_mesh.runtime.settings import SettingsError, load_settings


def export(source: str, version: int | None, to: str, push: str = "", adapters: bool = False) -> None:
    """Writes the newest whole checkpoint of a run, or that of a version, to `to` or into the run's directory.

    `adapters`: what `learner.lora` has trained by itself, not merged into the model.

    Raises:
        CommandFailed: there is no such run or checkpoint, it cannot be read, the folder is there already, or the hub
            refuses it; what was exported stays then.
    """
    run = run_folder(source)
    try:
        settings = load_settings(run / SETTINGS_FILE)
    except SettingsError as error:
        raise CommandFailed(f"{run / SETTINGS_FILE}: {error}") from error
    if adapters and settings.learner.lora is None:
        raise CommandFailed(
            f"--adapters: {run} has trained all weights, without learner.lora; leave it out, and the model is exported"
        )
    # torch takes seconds to import: what can be refused before is.
    from areal_mesh.learner.checkpoints.exporting import NotExported, export_version

    model = settings.model
    try:
        target = Path(to) if to else None
        folder = export_version(run / "checkpoints", version, model.folder, model.dtype, target, adapters)
    except (NotExported, OSError) as error:
        raise CommandFailed(str(error)) from error
    if adapters:
        print(f"{folder}: adapters, {model.dtype}, for PEFT beside {model.folder}")
    else:
        print(f"{folder}: a model folder, {model.dtype}, for transformers and vLLM")
    if push:
        upload(folder, push)
