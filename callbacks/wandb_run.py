"""Weights & Biases: never a reason to stop, and no step logged twice."""

import os
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any, Literal

import wandb
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.utilities.rank_zero import rank_zero_info, rank_zero_only, rank_zero_warn
from wandb.sdk.wandb_run import Run

from callbacks.line_logger import Line, LineLogger
from callbacks.wandb_segments import STEP, logged_lines
from datamodules.errors import InputError

Mode = Literal["offline", "online", "disabled"]

# Keeps W&B's id of the run, in the run's folder.
ID_FILE = "wandb_run_id"

# What to do next where W&B cannot be had.
_FALLBACK: dict[Mode, tuple[Mode, str]] = {
    "online": ("offline", "the run is kept offline, `wandb sync` uploads it later"),
    "offline": ("disabled", "metrics.csv alone goes on"),
}

# Charts are sorted by name, in `wandb leet` and in a workspace, and capitals come first. So the metrics to look at
# first are there once more under short names.
HEADLINES = {"val/hit_ratio@1": "HR@1", "train/loss": "Loss", "val/mrr": "MRR", "val/ndcg@5": "NDCG@5"}

# A histogram is logged as three parts, of which a summary would show every edge and every count.
_HISTOGRAMS = tuple(
    f"{name}/histogram.{part}" for name in ("beta", "margin") for part in ("_type", "bins", "values")
)

# What the table of runs shows of a curve.
_SUMMARIES = {
    **dict.fromkeys(("val/hit_ratio@1", "val/hit_ratio@5", "val/ndcg@5", "val/mrr"), "max,last"),
    **dict.fromkeys(("train/loss", "alarm/mrr_change", "alarm/hit_ratio@1_change"), "min,last"),
    **dict.fromkeys(_HISTOGRAMS, "none"),
}


class WandbRun(LineLogger):
    """Logs to one W&B run over all starts of a training.

    Where Lightning's own logger raises, for want of network, key or room, this one says so and goes on with less.
    On resume it leaves out steps that an earlier start has logged already.

    Args:
        folder: The run's; `wandb/` is made there.
        run_id: W&B's id of the run.
        mode: Where to begin.
        project: Project name.
        name: Run name.
        training: Whether lines have a step; a test's result has none, so that it is no point of the curves.
    """

    def __init__(
        self, folder: str, run_id: str, mode: Mode, project: str, name: str, training: bool = True
    ) -> None:
        super().__init__(folder)
        self._id = run_id
        self._mode: Mode = mode
        self._project = project
        self._run_name = name
        self._training = training
        self._run: Run | None = None
        self._logged = -1

    @property
    @rank_zero_experiment
    def run(self) -> Run:
        """The run, begun when it is first asked for.

        It has another name than Lightning's `experiment`, which the trainer asks for before anything is checked: a
        start that fails would leave an empty run.
        """
        if self._run is None:
            self._run = self._begin()
            self._run.define_metric(STEP)
            self._run.define_metric("*", step_metric=STEP, step_sync=False)
            for name, summary in _SUMMARIES.items():
                for shown in filter(None, (HEADLINES.get(name), name)):
                    self._run.define_metric(shown, step_metric=STEP, step_sync=False, summary=summary)
            if self.viewer is not None:
                rank_zero_info(
                    f"W&B run {self._id}, {'offline' if self._run.offline else 'online'}: {self.viewer}"
                )
        return self._run

    @property
    def viewer(self) -> str | None:
        """How to look at the run: its page, or the command that shows it here; None where there is no run."""
        if self._run is None or self._run.disabled:
            return None
        return f"wandb leet {self._folder}/wandb" if self._run.offline else self._run.url

    def _begin(self) -> Run:
        # Without it a run whose network went away would wait at its end for ever. The user's own setting goes first.
        os.environ.setdefault("WANDB_FINISH_TIMEOUT", "60")
        silent = {} if "WANDB_SILENT" in os.environ else {"silent": True}
        try:
            if self._mode != "disabled":
                _require_writable(Path(self._folder) / "wandb")
                (Path(self._folder) / ID_FILE).write_text(self._id)
            return wandb.init(
                id=self._id,
                mode=self._mode,
                project=self._project,
                name=self._run_name,
                # W&B's service may have been started elsewhere, and would take a relative path from there.
                dir=os.path.abspath(self._folder),
                resume="allow" if self._mode == "online" else None,
                settings=wandb.Settings(console="off", **silent),
            )
        except Exception as error:  # of many kinds, and none of them a reason to lose a training
            wandb.teardown()  # its service would hold on to the run's id
            reason = (str(error).strip().splitlines() or [repr(error)])[0]
            if self._mode == "disabled":
                raise InputError(f"W&B does not even start ({reason}): set wandb.mode to disabled") from error
            self._mode, what = _FALLBACK[self._mode]
            rank_zero_warn(f"W&B is not to be had ({reason}): {what}")
            return self._begin()

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        """Stores the configuration."""
        self.run.config.update(params, allow_val_change=True)

    def write(self, line: Line) -> None:
        """Logs a line unless an earlier start has."""
        metrics = {name: value for name, value in line.items() if name != "step"}
        if not self._training:
            self._send(metrics)
        elif line["step"] > self._logged:
            headlines = {shown: metrics[name] for name, shown in HEADLINES.items() if name in metrics}
            self._send({**metrics, **headlines, STEP: line["step"]})

    def _send(self, values: Line) -> None:
        try:
            self.run.log(values)
        except OSError as error:  # a table is a file of its own; numbers wait in the service
            numbers = {name: value for name, value in values.items() if isinstance(value, (int, float))}
            lost = ", ".join(sorted(values.keys() - numbers.keys()))
            rank_zero_warn(
                f"W&B cannot write {lost} ({error.strerror}): the numbers of this step go on alone"
            )
            self.run.log(numbers)

    @rank_zero_only
    def alert(self, title: str, text: str) -> None:
        """Sends a message to the run's owner, by the ways they chose on W&B; offline it waits for `wandb sync`."""
        self.run.alert(title=title, text=text, level="WARN")

    @rank_zero_only
    def resume(self, lines: list[dict[str, str]]) -> None:
        """Finds out what W&B has, and gives it what it lacks.

        A run that is killed has logged steps after its checkpoint, which are about to be done again, alike; and may
        have lost some before it on the way to W&B.

        Args:
            lines: metrics.csv up to the checkpoint.
        """
        steps = [line[STEP] for line in logged_lines(Path(self._folder), self._id) if STEP in line]
        self._pending, self._logged = {}, max(steps, default=-1)
        for line in lines:
            numbers = {name: float(value) for name, value in line.items() if value and name != "step"}
            self.write({"step": int(line["step"]), **numbers})
        self._logged = max([self._logged, *(int(line["step"]) for line in lines)])


def _require_writable(folder: Path) -> None:
    """W&B itself would quietly take a temporary folder."""
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / ".writable"
    probe.touch()
    probe.unlink()


def finish_run() -> None:
    """End the process's run, where there is one, with the status that the process is about to end with."""
    if wandb.run is not None:
        wandb.finish(exit_code=exit_status(sys.exc_info()[1]))


def exit_status(error: BaseException | None) -> int:
    """Return the status of a process that ends with an exception, for W&B to tell a crash from a finished run.

    Args:
        error: What is leaving the process; None where nothing is.
    """
    if error is None:
        return 0
    if isinstance(error, KeyboardInterrupt):
        return 130
    if isinstance(error, InputError):
        return 2
    if isinstance(error, SystemExit) and (error.code is None or isinstance(error.code, int)):
        return error.code or 0
    return 1
