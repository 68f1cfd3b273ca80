"""The small run that the faults happen to."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.cli import config, supervised
from tests.conftest import write_tiny
from tests.faults.outcome import differences, samples
from tests.faults.runs import Ended, Runner

EVERY_N_STEPS, MAX_STEPS = 3, 12


@dataclass(frozen=True)
class Mode:
    """How a run is spread, and which stage it trains.

    Attributes:
        processes: Ranks.
        workers: Workers of the loader of each rank.
        stage: 1 has dropout, which draws random numbers; 2 has windows of metrics.
    """

    processes: int = 1
    workers: int = 0
    stage: int = 1


@dataclass
class Workload:
    """Makes runs in a folder, and remembers how they end when nothing happens.

    Attributes:
        folder: Where everything goes.
    """

    folder: Path
    _whole: dict[Mode, Path] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._tiny = write_tiny(self.folder / "tiny")

    def runner(self, mode: Mode, **environment: str) -> Runner:
        return Runner(self.folder, mode.processes, environment)

    def settings(self, mode: Mode, fault: dict[str, Any] | None = None, rank: int = 0) -> dict[str, Any]:
        """A run of 12 steps with an epoch of 6, a checkpoint after every third and a validation after every fourth.

        Args:
            mode: How it is spread.
            fault: `class_path` and `init_args` of what happens.
            rank: To which rank.
        """
        settings = supervised(self._tiny) if mode.stage == 1 else config(self._tiny)
        settings["model"]["init_args"]["lora"] = {"rank": 2, "dropout": 0.3}
        settings["trainer"].update(max_steps=MAX_STEPS, val_check_interval=4, log_every_n_steps=2)
        settings["last_checkpoint"]["every_n_train_steps"] = EVERY_N_STEPS
        settings["data"]["init_args"].update(
            batch_size=80 // mode.processes, num_workers=mode.workers, cache_dir=str(self.folder / "cache")
        )
        recorder = {
            "class_path": "tests.faults.record.Recorder",
            "init_args": {"fault": fault, "rank": rank},
        }
        settings["trainer"]["callbacks"] = [*settings["trainer"]["callbacks"], recorder]
        return settings

    def whole(self, mode: Mode) -> Path:
        """The run to which nothing happens; its Python calls are counted."""
        if mode not in self._whole:
            name = f"whole-{mode.processes}-{mode.workers}-{mode.stage}"
            counting = {"class_path": "tests.faults.points.AtCall"}
            ended = self.runner(mode).fit(name, self.settings(mode, counting))
            require(ended, [0] * mode.processes)
            self._whole[mode] = self.folder / name
        return self._whole[mode]

    def calls(self, mode: Mode) -> int:
        """Python calls of an uninterrupted training on rank 0."""
        return samples(self.whole(mode), 0).calls

    def go_on(
        self, name: str, mode: Mode, settings: dict[str, Any] | None = None, **environment: str
    ) -> Ended:
        """Resumes from the last checkpoint, or starts over where none was written yet."""
        checkpoints = self.folder / name / "checkpoints"
        begun = any((checkpoints / file).is_file() for file in ("last.ckpt", "previous.ckpt"))
        args = ["--ckpt_path", "last"] if begun else []
        return self.runner(mode, **environment).fit(name, settings or self.settings(mode), *args)

    def require_same(self, name: str, mode: Mode, *checkpoints: str) -> None:
        """Fails unless a finished run equals the uninterrupted one to the bit, both checkpoints or some of them."""
        compared = checkpoints or ("last", "best")
        if found := differences(self.folder / name, self.whole(mode), mode.processes, compared):
            raise AssertionError(f"differs in {', '.join(found)}")


def require(ended: Ended, statuses: list[int]) -> None:
    """Fails unless the ranks ended with these statuses."""
    if ended.statuses != statuses:
        raise AssertionError(f"ended with {ended.statuses}, not {statuses}: {ended.output[-2000:]}")
