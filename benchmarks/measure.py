"""Time and peak memory of one way, each in a process of its own.

    python -m benchmarks.measure WAY WORKLOAD TIMING

is what `measure_apart` starts; the arguments are JSON.
"""

import json
import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.ways import WAYS, Outcome, Step
from benchmarks.workload import Workload
from losses import DMPO, DynamicPO, ResponseScores

_OUT_OF_MEMORY = 77  # exit status


@dataclass(frozen=True)
class Timing:
    """How often a step runs.

    Attributes:
        warmup: Steps before the clock starts.
        steps: Steps that are timed.
        seconds: Short steps are repeated for this long, at most 50 times.
        patience: Of long steps two are enough once they took this long, in seconds.
    """

    warmup: int = 1
    steps: int = 3
    seconds: float = 3.0
    patience: float = 45.0

    def enough(self, times: list[float]) -> bool:
        """Whether the steps timed so far are enough."""
        total = sum(times)
        if len(times) >= min(2, self.steps) and total >= self.patience:
            return True
        return len(times) >= self.steps and (total >= self.seconds or len(times) >= 50)


@dataclass(frozen=True)
class Measurement:
    """What one process found.

    Attributes:
        seconds: Median time of forward, backward and reference.
        peak_mb: Peak resident memory of the process, in MiB.
        tokens: Tokens that go through the policy, padding included.
        loss: Mean over the batch.
        gradient_norm: Over all trained weights.
        policy: log π(y | x), [B][1 + K]; None where the way does not tell.
        rewards: Log-ratios, [B][1 + K]; None where the way does not tell.
        selected: Negatives in the loss, [B][K]; None means all.
        selection_s: Median time of selection and β alone; None where the way does not tell.
    """

    seconds: float
    peak_mb: float
    tokens: int
    loss: float
    gradient_norm: float
    policy: list[list[float]] | None
    rewards: list[list[float]] | None
    selected: list[list[bool]] | None
    selection_s: float | None


def measure(way: str, workload: Workload, timing: Timing) -> Measurement:
    """Measures in this process."""
    step = WAYS[way](workload)
    for _ in range(timing.warmup):
        _run(step)
    times: list[float] = []
    while not timing.enough(times):
        start = time.perf_counter()
        outcome = _run(step)
        times.append(time.perf_counter() - start)
    return Measurement(
        seconds=statistics.median(times),
        peak_mb=peak_mb(),
        tokens=step.tokens,
        loss=outcome.loss.item(),
        gradient_norm=_gradient_norm(step),
        policy=_plain(outcome.policy),
        rewards=_plain(outcome.rewards),
        selected=_plain(outcome.selected),
        selection_s=_selection_seconds(outcome.policy),
    )


def _run(step: Step) -> Outcome:
    step.trained.zero_grad(set_to_none=True)
    outcome = step.forward()
    torch.autograd.backward(outcome.loss)
    return outcome


def median_seconds(call: Callable[[], Any], steps: int = 20) -> float:
    """Times a call, after two that are not counted."""
    times = []
    for _ in range(steps + 2):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])


def peak_mb() -> float:
    """Peak resident memory of this process, in MiB.

    Linux lets `getrusage` start from what the parent had in use when it started this process, so its own
    high-water mark is preferred there.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        (line,) = [line for line in status.read_text().splitlines() if line.startswith("VmHWM:")]
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 1024


def _plain(tensor: torch.Tensor | None) -> Any:
    return None if tensor is None else tensor.tolist()


def _gradient_norm(step: Step) -> float:
    gradients = [parameter.grad for parameter in step.trained.parameters() if parameter.grad is not None]
    return math.sqrt(sum(gradient.double().square().sum().item() for gradient in gradients))


def _selection_seconds(policy: torch.Tensor | None) -> float | None:
    """Times DynamicPO's selection and β on a step's log-probabilities."""
    if policy is None:
        return None
    objective = DynamicPO(DMPO(beta=1.0))
    scores = ResponseScores(policy, policy)
    return median_seconds(lambda: objective.beta_rule(scores, objective.selection(scores), objective.beta))


def measure_apart(way: str, workload: Workload, timing: Timing) -> Measurement | None:
    """Measures in a fresh process.

    Returns:
        None where it ran out of memory or was killed.

    Raises:
        RuntimeError: It failed in any other way.
    """
    settings = [json.dumps(asdict(workload)), json.dumps(asdict(timing))]
    command = [sys.executable, "-m", "benchmarks.measure", way, *settings]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode in (_OUT_OF_MEMORY, -9, 137):
        return None
    if done.returncode:
        raise RuntimeError(
            f"{way} on {workload} failed with status {done.returncode}:\n{done.stderr[-4000:]}"
        )
    return Measurement(**json.loads(done.stdout.splitlines()[-1]))


def _die_alone() -> None:
    """Turns running out of memory into an error of this process, before the kernel picks a victim elsewhere."""
    meminfo = Path("/proc/meminfo")
    if not meminfo.is_file():
        return
    (line,) = [line for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable:")]
    limit = int(int(line.split()[1]) * 1024 * 0.95)
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    if most == resource.RLIM_INFINITY or limit < most:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    Path("/proc/self/oom_score_adj").write_text("1000")


def main() -> None:
    """Measures what the arguments say and prints it as one line of JSON."""
    way, workload, timing = sys.argv[1:]
    _die_alone()
    try:
        found = measure(way, Workload(**json.loads(workload)), Timing(**json.loads(timing)))
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, MemoryError) or "allocate memory" in str(error):
            sys.exit(_OUT_OF_MEMORY)
        raise
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
