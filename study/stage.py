"""One run of the command line: trained, predicted, nothing of it repeated once done, resumed where it was stopped."""

import hashlib
import json
import subprocess
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from datamodules.errors import InputError
from study import process
from study.runs import read_finished

FINISHED = "finished.json"
_BEGUN, _SETTINGS = "begun.txt", "settings.yaml"
_PROMPT = "\n$ "  # before a command, in its log


@dataclass(frozen=True)
class Stage:
    """A run that is to be.

    Attributes:
        folder: The run's folder.
        configs: Config files, later ones over earlier ones.
        settings: What this run changes in them, nested as in a config file.
        subcommands: What is run, in order; `fit` is resumed, the others use the best checkpoint after it.
        after: Runs whose checkpoints it starts from.
    """

    folder: Path
    configs: tuple[Path, ...]
    settings: dict[str, Any]
    subcommands: tuple[str, ...] = ("fit", "predict")
    after: "tuple[Stage, ...]" = ()

    @property
    def fingerprint(self) -> str:
        """Identifies what is asked: the files' contents, the settings and what it starts from; not the code.

        Raises:
            InputError: A config file cannot be read.
        """
        try:
            asked = [path.read_text() for path in self.configs]
        except OSError as error:
            raise InputError(
                f"{error.filename}: {error.strerror}: it is a config of {self.folder}"
            ) from error
        asked.append(json.dumps(self.settings, sort_keys=True, default=str))
        asked += [stage.fingerprint for stage in self.after]
        return hashlib.sha256("\0".join(asked).encode()).hexdigest()

    @property
    def is_finished(self) -> bool:
        """Whether every subcommand of this very run is done."""
        return not self._missing(self._record())

    @property
    def is_trained(self) -> bool:
        """Whether there is something to train."""
        return "fit" in self.subcommands

    def finish(self, threads: int | None = None, log: Path | None = None) -> None:
        """Runs the subcommands that are missing.

        Args:
            threads: Processor threads; None leaves them to torch.
            log: Where the output goes; None leaves it on the terminal.

        Raises:
            InputError: A command failed.
        """
        record = self._record()
        resumed = not record and self._begin()
        for subcommand in self._missing(record):
            seconds = self._run(subcommand, resumed, threads, log)
            first = record or self._noted(subcommand, None if resumed else seconds, threads)
            record = first | {"done": [*first["done"], subcommand]}
            _replace(self.folder / FINISHED, json.dumps(record, indent=1) + "\n")

    def _noted(self, subcommand: str, seconds: float | None, threads: int | None) -> dict[str, Any]:
        """What is kept of the first subcommand; only training takes time worth naming."""
        return {
            "config": self.fingerprint,
            "seconds": seconds if subcommand == "fit" else 0.0,
            "command": " ".join(self._command(subcommand, resumed=False)),
            "commit": _commit(),
            "threads": threads or torch.get_num_threads(),
            "done": [],
        }

    def _record(self) -> dict[str, Any]:
        """What was noted of this very run; empty where its training, or whatever comes first, is not done."""
        record = read_finished(self.folder / FINISHED)
        return record if record.get("config") == self.fingerprint else {}

    def _missing(self, record: dict[str, Any]) -> list[str]:
        return [subcommand for subcommand in self.subcommands if subcommand not in record.get("done", [])]

    def _begin(self) -> bool:
        """Say whether an interrupted run of the same settings left a checkpoint; otherwise note that one begins.

        Until its training starts, the folder holds an earlier run's checkpoint: the note says when that was written.
        """
        begun, last = self.folder / _BEGUN, self.folder / "checkpoints/last.ckpt"
        written = str(last.stat().st_mtime_ns) if last.is_file() else ""
        noted = begun.read_text().splitlines() if begun.is_file() else []
        if noted[:1] == [self.fingerprint]:
            return bool(written) and [written] != noted[1:]
        self.folder.mkdir(parents=True, exist_ok=True)
        if not self.is_trained:  # where a run is trained, its start moves an earlier one's record away
            (self.folder / FINISHED).unlink(missing_ok=True)
        if self.settings:
            (self.folder / _SETTINGS).write_text(yaml.safe_dump(self.settings, sort_keys=False))
        begun.write_text(f"{self.fingerprint}\n{written}")
        return False

    def _command(self, subcommand: str, resumed: bool) -> list[str]:
        files = [*self.configs, *([self.folder / _SETTINGS] if self.settings else [])]
        command = [
            "python",
            "train.py",
            subcommand,
            *(part for file in files for part in ("--config", str(file))),
        ]
        if subcommand == "fit":
            return [*command, "--ckpt_path", "last"] if resumed else command
        return [*command, "--ckpt_path", "best"] if self.is_trained else command

    def _run(self, subcommand: str, resumed: bool, threads: int | None, log: Path | None) -> float:
        """Runs one command and returns its seconds."""
        command = self._command(subcommand, resumed)
        start = time.perf_counter()
        with log.open("a") if log else nullcontext() as output:
            print(f"{_PROMPT}{' '.join(command)}", flush=True, file=output)
        status = process.run(command[1:], threads, log)
        if status:
            why = f": {_last_error(log)}; see {log}" if log else ""
            raise InputError(f"`{' '.join(command)}` ended with status {status}{why}")
        return round(time.perf_counter() - start, 1)


def _last_error(log: Path) -> str:
    """What the last command's last error says, or else its last line; what failed before it has other reasons."""
    printed = log.read_text(errors="replace").rpartition(_PROMPT)[2]
    lines = [line for line in printed.splitlines()[1:] if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines or ["nothing was printed"])[-1].strip()


def _replace(path: Path, text: str) -> None:
    """Writes aside and renames, so that a file is there whole or not at all."""
    aside = path.with_suffix(".part")
    aside.write_text(text)
    aside.replace(path)


def _commit() -> str:
    """The commit of the working tree; `+` says that files under version control differ from it."""
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"], capture_output=True, text=True
    )
    return described.stdout.strip() or "unknown"
