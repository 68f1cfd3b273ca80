"""Models and tokenizers by name: one of a hub, a local folder, or a GGUF file in either."""

from pathlib import Path, PurePosixPath

from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError

from datamodules.errors import InputError


def location(name: str) -> dict[str, str]:
    """Says in `from_pretrained`'s words where a name points.

    Args:
        name: `owner/model`, `a/folder`, `owner/model/file.gguf` or `a/folder/file.gguf`.
    """
    path = PurePosixPath(name)
    if path.suffix != ".gguf":
        return {"pretrained_model_name_or_path": name}
    return {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}


def cannot_load(what: str, name: str, sought: str, error: Exception) -> InputError:
    """Says why nothing could be loaded, and what to do about it.

    Args:
        what: What was to be loaded.
        name: Where it was said to be.
        sought: The file that is read first.
        error: What `from_pretrained` raised.
    """
    where = Path(location(name)["pretrained_model_name_or_path"])
    sought = location(name).get("gguf_file", sought)
    reason = next(iter(str(error).strip().splitlines()), "") or repr(error)
    # The list that would follow is not in the line.
    why = "" if reason.rstrip().endswith(":") else f" ({reason})"
    if isinstance(error, ImportError):
        if sought.endswith(".gguf"):
            return InputError(
                f"{what} {name!r} needs the package gguf, which is the extra `gguf`: pip install gguf"
            )
        return InputError(f"{what} {name!r} needs a package that is missing ({reason}): install it")
    if where.is_dir():
        whole = (
            "a whole GGUF file" if sought.endswith(".gguf") else f"a folder with {sought} and all beside it"
        )
        return InputError(f"no {what} at {name!r}{why}: give {whole}")
    if isinstance(error.__cause__, LocalEntryNotFoundError):
        return InputError(
            f"no {what} at {name!r}: there is no such folder, and {sought} is neither in the local cache nor to be had "
            f"from {constants.ENDPOINT}: connect, or copy the model here and give its folder instead of the name"
        )
    return InputError(f"no {what} at {name!r}{why}: give a hub name or a local folder")
