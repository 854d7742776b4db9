"""The Hugging Face hub, for what a run has made: an exported model is uploaded, by the hub's own library."""

from pathlib import Path
from typing import cast

from areal_mesh.cli.failures import CommandFailed


def upload(folder: Path, repository: str) -> None:
    """Uploads a model folder as one commit; makes the repository, private, where there is none.

    Who asks is told to the hub by `HF_TOKEN`, or by what `hf auth login` left; `HF_ENDPOINT` names another hub.

    Raises:
        CommandFailed: the hub cannot be reached, or refuses.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalTokenNotFoundError

    # That of the library under it, whichever this release has: what no hub answers raises it.
    http_error = cast(type[Exception], HfHubHTTPError.__mro__[1])
    api = HfApi()
    try:
        made = api.create_repo(repository, private=True, exist_ok=True)
        done = api.upload_folder(repo_id=made.repo_id, folder_path=folder, commit_message=f"AReaL Mesh: {folder.name}")
    except LocalTokenNotFoundError as error:
        raise CommandFailed(f"--push {repository}: the hub wants a token; set HF_TOKEN, or `hf auth login`") from error
    except HFValidationError as error:
        raise CommandFailed(f"--push {repository}: {error}") from error
    except (http_error, OSError) as error:
        raise CommandFailed(
            f"--push {repository}: {error}; {folder} is there: `hf upload {repository} {folder}` tries again"
        ) from error
    print(f"{repository}: {done.commit_url}")
