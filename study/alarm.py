"""`python -m study.alarm RUN...`: would the collapse alarm have helped in these runs?

A run *collapsed* if at some validation held-out HR@1 was at least .05 below its own best validation before. Of runs
that did not, those in which the alarm sounded are false alarms; of those that did, the delay is counted from the first
such validation to the alarm, in validations (negative where the alarm came first). The rule's settings are chosen on
all other seeds and judged on the one left out. Exit status 0, or 2 where the files cannot be read.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from callbacks.collapse_rule import CollapseRule, Watch
from datamodules.errors import InputError
from study.curves import Curve, read_curve

COLLAPSE = 0.05
# Fewer collapsed runs than this say nothing about delays.
ENOUGH = 5
RULES = [
    CollapseRule(z, margin, patience)
    for z, margin, patience in product((2.0, 3.0, 4.0), (0.0, 0.01, 0.02), (1, 2, 3))
]


@dataclass(frozen=True)
class Verdict:
    """What a rule did in one run; validations are counted from 0.

    Attributes:
        collapsed: The first validation at which HR@1 was lost, None in a healthy run.
        sounded: The first at which the alarm sounded, None where it did not.
    """

    collapsed: int | None
    sounded: int | None

    @property
    def is_false_alarm(self) -> bool:
        """An alarm in a healthy run."""
        return self.collapsed is None and self.sounded is not None

    @property
    def is_missed(self) -> bool:
        """A collapse without an alarm."""
        return self.collapsed is not None and self.sounded is None

    @property
    def delay(self) -> int | None:
        """Validations from the collapse to the alarm."""
        if self.collapsed is None or self.sounded is None:
            return None
        return self.sounded - self.collapsed


def judge(rule: CollapseRule, curve: Curve) -> Verdict:
    """Replays a run."""
    watch = Watch(rule)
    sounded = [index for index, evidence in enumerate(curve.evidence) if watch.see(evidence)]
    lost = [
        index
        for index, evidence in enumerate(curve.evidence)
        if evidence is not None and evidence.hit_ratio.mean <= -COLLAPSE
    ]
    return Verdict(lost[0] if lost else None, sounded[0] if sounded else None)


def cost(verdicts: Sequence[Verdict]) -> tuple[int, int]:
    """What a rule is chosen by: errors of both kinds first, then the validations lost by waiting."""
    errors = sum(verdict.is_false_alarm or verdict.is_missed for verdict in verdicts)
    return errors, sum(max(verdict.delay or 0, 0) for verdict in verdicts)


def choose(curves: Sequence[Curve]) -> CollapseRule:
    """The rule of least cost; among equals the default, then the first."""
    default = CollapseRule()
    return min(RULES, key=lambda rule: (*cost([judge(rule, curve) for curve in curves]), rule != default))


def leave_one_seed_out(curves: Sequence[Curve]) -> list[tuple[Curve, CollapseRule, Verdict]]:
    """Judges every run by the rule that was chosen on the runs of all other seeds.

    Raises:
        InputError: All runs have one seed.
    """
    seeds = sorted({curve.seed for curve in curves})
    if len(seeds) < 2:
        raise InputError(f"all runs have seed {seeds[0]}: leaving one seed out needs runs of at least two")
    found = []
    for seed in seeds:
        rule = choose([curve for curve in curves if curve.seed != seed])
        found += [(curve, rule, judge(rule, curve)) for curve in curves if curve.seed == seed]
    return found


def summary(verdicts: Sequence[Verdict]) -> str:
    """The two figures, each with the number of runs behind it."""
    healthy = [verdict for verdict in verdicts if verdict.collapsed is None]
    collapsed = [verdict for verdict in verdicts if verdict.collapsed is not None]
    delays = sorted(verdict.delay for verdict in collapsed if verdict.delay is not None)
    lines = [f"false alarms: {sum(v.is_false_alarm for v in healthy)} of {len(healthy)} healthy runs"]
    caught = f"collapses noticed: {len(delays)} of {len(collapsed)}"
    if delays:
        middle = delays[len(delays) // 2]
        caught += f"; delay in validations: median {middle}, from {delays[0]} to {delays[-1]}"
    lines.append(caught)
    if len(collapsed) < ENOUGH:
        lines.append(
            f"only {len(collapsed)} of {len(verdicts)} runs lost {COLLAPSE} HR@1: too few to judge the alarm's delay by"
        )
    return "\n".join(lines)


def report(curves: Sequence[Curve]) -> str:
    """The default rule on all runs, and the chosen ones on the seeds left out."""
    default = [judge(CollapseRule(), curve) for curve in curves]
    parts = [
        f"{len(curves)} runs, {sum(not curve.paired for curve in curves)} of them without paired errors",
        f"\nThe default rule, {CollapseRule()}:\n{summary(default)}",
    ]
    try:
        held_out = leave_one_seed_out(curves)
    except InputError as error:
        return "\n".join([*parts, f"\nChosen leaving one seed out: not possible, {error}"])
    rules = "\n".join(
        f"  seed {seed}: {rule}"
        for seed, rule in sorted({curve.seed: rule for curve, rule, _ in held_out}.items())
    )
    chosen = summary([verdict for _, _, verdict in held_out])
    return "\n".join([*parts, f"\nChosen on the other seeds:\n{rules}\n{chosen}"])


def main(args: list[str] | None = None) -> int:
    """Prints the report.

    Args:
        args: Arguments to parse; None takes the process's.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m study.alarm", description=__doc__.splitlines()[0])
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="folder with metrics.csv and config.yaml"
    )
    parser.add_argument(
        "--examples", type=int, help="validation examples, where a run's config takes all there are"
    )
    settings = parser.parse_args(args)
    try:
        print(report([read_curve(folder, settings.examples) for folder in settings.runs]))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
