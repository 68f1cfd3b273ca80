"""What happens to runs, and what must be true afterwards; each returns the work lost, in steps."""

import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from callbacks.termination import TERMINATED
from lightning_modules.checkpoint_files import is_whole, read_whole
from tests.faults.outcome import lost_steps, samples, saved_step
from tests.faults.workload import EVERY_N_STEPS, MAX_STEPS, Mode, Workload, require

_POINTS = "tests.faults.points."


def fault_at(name: str, **arguments: Any) -> dict[str, Any]:
    """A class of `points` with its arguments, as a config names it."""
    return {"class_path": _POINTS + name, "init_args": arguments}


def _killed(
    load: Workload, name: str, mode: Mode, fault: dict[str, Any], rank: int = 0, number: int = signal.SIGKILL
) -> int:
    """A run dies of a signal and is resumed: it loses at most what lies between checkpoints, and ends the same."""
    ended = load.runner(mode).fit(name, load.settings(mode, fault, rank))
    if ended.statuses[rank] != -number:
        raise AssertionError(f"rank {rank} ended with {ended.statuses}: {ended.output[-2000:]}")
    lost = lost_steps(load.folder / name)
    require(load.go_on(name, mode), [0] * mode.processes)
    load.require_same(name, mode)
    if not 0 <= lost <= EVERY_N_STEPS:
        raise AssertionError(f"lost {lost} steps")
    return lost


def killed_at_a_random_moment(load: Workload, name: str, mode: Mode, rng: np.random.Generator) -> int:
    return _killed(load, name, mode, fault_at("AtCall", count=int(rng.integers(1, load.calls(mode)))))


def killed_after_a_backward_pass(load: Workload, name: str, mode: Mode, rng: np.random.Generator) -> int:
    fault = fault_at("AtPoint", event="backward", count=int(rng.integers(1, MAX_STEPS)))
    return _killed(load, name, mode, fault, rank=int(rng.integers(mode.processes)))


def killed_in_validation(load: Workload, name: str, mode: Mode, rng: np.random.Generator) -> int:
    event = "validation batch" if rng.integers(2) else "validation end"
    return _killed(load, name, mode, fault_at("AtPoint", event=event, count=int(rng.integers(1, 4))))


def killed_while_writing_a_checkpoint(load: Workload, name: str, mode: Mode, rng: np.random.Generator) -> int:
    """The kernel stops the write at a byte; three best and four last checkpoints are written at most."""
    size = (load.whole(mode) / "checkpoints/last.ckpt").stat().st_size
    fault = fault_at("InWrite", count=int(rng.integers(1, 6)), at_byte=int(rng.integers(1, size)))
    return _killed(load, name, mode, fault, number=signal.SIGXFSZ)


def killed_before_a_rename(load: Workload, name: str, mode: Mode, rng: np.random.Generator) -> int:
    return _killed(load, name, mode, fault_at("BeforeRename", count=int(rng.integers(1, 8))))


def one_of_two_dies(load: Workload, name: str, mode: Mode, rng: np.random.Generator) -> int:
    """The other one ends by itself and soon, with one line that says how to go on, if there is a checkpoint."""
    mode, rank = replace(mode, processes=2), int(rng.integers(2))
    fault = fault_at("AtPoint", event="backward", count=int(rng.integers(1, MAX_STEPS)))
    ended = load.runner(mode).fit(name, load.settings(mode, fault, rank), alone=False)
    other = ended.statuses[1 - rank]
    if ended.statuses[rank] != -signal.SIGKILL or other != 1 or ended.seconds > 60:
        raise AssertionError(f"ended with {ended.statuses} after {ended.seconds:.0f} s")
    said = (load.folder / name / f"output-{1 - rank}.txt").read_text()
    way_on = "with --ckpt_path last" if saved_step(load.folder / name) else "from the beginning"
    if "Traceback" in said or f"cannot be reached: start all of them again, {way_on}" not in said:
        raise AssertionError(f"rank {1 - rank} said {said[-2000:]}")
    lost = lost_steps(load.folder / name)
    require(load.go_on(name, mode), [0, 0])
    load.require_same(name, mode)
    return lost


def asked_to_stop(load: Workload, name: str, mode: Mode, rng: np.random.Generator) -> int:
    """SIGTERM, or SLURM's SIGUSR1, to one rank at a random moment: nothing is lost, and the status says why."""
    number = int(rng.choice([signal.SIGTERM, signal.SIGUSR1]))
    # Steps of the last epoch's end are left alone: a run asked to stop as it finishes may finish.
    count = int(rng.integers(1, int(0.8 * load.calls(mode))))
    return saved_when_asked(load, name, mode, fault_at("AtCall", count=count, number=number), rank=0)


def asked_twice_at_a_point(load: Workload, name: str, mode: Mode, rng: np.random.Generator) -> int:
    """One rank, whichever, is asked and asked again: in the first step, in a validation, while a checkpoint is made."""
    event = str(rng.choice(["train batch", "backward", "validation batch", "checkpoint"]))
    number = int(rng.choice([signal.SIGTERM, signal.SIGUSR1]))
    fault = fault_at("AtPoint", event=event, count=int(rng.integers(1, 4)), number=number, times=2)
    return saved_when_asked(load, name, mode, fault, rank=int(rng.integers(mode.processes)))


def saved_when_asked(
    load: Workload, name: str, mode: Mode, fault: dict[str, Any], rank: int, status: int = TERMINATED
) -> int:
    """One rank is asked to stop: the run saves, says how it goes on and leaves with a status; nothing is lost."""
    settings = load.settings(mode, fault, rank)
    ended = load.runner(mode).fit(name, settings)
    require(ended, [status] + [0] * (mode.processes - 1))
    lost = lost_steps(load.folder / name)
    if lost != 0 or "go on with --ckpt_path last" not in ended.output:
        raise AssertionError(f"lost {lost} steps: {ended.output[-2000:]}")
    require(load.go_on(name, mode), [0] * mode.processes)
    load.require_same(name, mode)
    return lost


def last_checkpoint_damaged(load: Workload, name: str, mode: Mode, rng: np.random.Generator) -> int:
    """Torn or with a bit turned, it gives way to the one before it, and that is said."""
    event = fault_at("AtPoint", event="backward", count=int(rng.integers(7, MAX_STEPS)))
    require_killed = load.runner(mode).fit(name, load.settings(mode, event))
    assert require_killed.statuses[0] == -signal.SIGKILL
    last = load.folder / name / "checkpoints/last.ckpt"
    content = bytearray(last.read_bytes())
    where = int(rng.integers(len(content)))
    if rng.integers(2):
        content[where] ^= 1 << int(rng.integers(8))
        last.write_bytes(content)
    else:
        last.write_bytes(content[:where])
    lost = lost_steps(load.folder / name)
    ended = load.go_on(name, mode)
    require(ended, [0] * mode.processes)
    if "going on from" not in ended.output:
        raise AssertionError("the change of checkpoint was not said")
    load.require_same(name, mode)
    return lost


def other_number_of_processes(load: Workload, name: str, mode: Mode, rng: np.random.Generator) -> int:
    """From one to two or back, the global batch kept: the same examples step by step, the same weights to 1e-5."""
    then = replace(mode, stage=2)
    now = replace(then, processes=3 - then.processes)
    fault = fault_at("AtPoint", event="backward", count=int(rng.integers(4, MAX_STEPS)))
    load.runner(then).fit(name, load.settings(then, fault))
    folder = load.folder / name
    lost, start = lost_steps(folder), saved_step(folder)
    refused = load.settings(now)
    refused["data"]["init_args"]["batch_size"] = 20
    ended = load.go_on(name, now, refused)
    if ended.statuses[0] != 2 or "processes × batch_size × accumulated must stay 80" not in ended.output:
        raise AssertionError(f"another global batch was not refused: {ended.output[-2000:]}")
    for path in folder.glob("samples-*.jsonl"):
        path.unlink()
    require(load.go_on(name, now), [0] * now.processes)
    whole = load.whole(then)
    for step in range(start, MAX_STEPS):
        expected, seen = (_ids(path, ranks, step) for path, ranks in ((whole, then), (folder, now)))
        if expected != seen:
            raise AssertionError(f"step {step} sees other examples")
    weights = [read_whole(path / "checkpoints/last.ckpt")["state_dict"] for path in (whole, folder)]
    for key, value in weights[0].items():
        torch.testing.assert_close(weights[1][key], value, rtol=1e-4, atol=1e-5)
    return lost


def _ids(folder: Path, mode: Mode, step: int) -> list[int]:
    return [id_ for rank in range(mode.processes) for id_ in samples(folder, rank).by_step[step][0]]


def no_room_on_the_disk(load: Workload, name: str, mode: Mode, rng: np.random.Generator) -> int:
    """`warn` trains on and saves when there is room again; `stop` ends with status 2 and resumes. Real ENOSPC."""
    freed_at = int(rng.integers(4, MAX_STEPS - 1))
    settings = load.settings(mode)
    settings["trainer"]["callbacks"].append(
        {"class_path": "tests.faults.record.FullDisk", "init_args": {"from_step": 2, "to_step": freed_at}}
    )
    ended = load.runner(mode).fit(name, settings)
    require(ended, [0] * mode.processes)
    if "No space left on device" not in ended.output:
        raise AssertionError("nothing was said")
    # A validation that could not be kept is gone; the best of the others is kept.
    load.require_same(name, mode, "last")
    assert is_whole(load.folder / name / "checkpoints/best.ckpt")

    settings["last_checkpoint"]["on_write_error"] = "stop"
    ended = load.runner(mode).fit(name + "-stop", settings)
    require(ended, [2] * mode.processes)
    checkpoints = load.folder / (name + "-stop") / "checkpoints"
    assert all(is_whole(path) for path in checkpoints.glob("*.ckpt"))
    for path in checkpoints.glob("*.tmp"):
        path.unlink()  # there is room again
    lost = lost_steps(load.folder / (name + "-stop"))
    require(load.go_on(name + "-stop", mode), [0] * mode.processes)
    load.require_same(name + "-stop", mode)
    return lost
