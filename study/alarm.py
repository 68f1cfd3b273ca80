"""Would the collapse alarm have helped in these runs?

A run *collapsed* if at some validation held-out HR@1 was at least .05 below its own best validation before. Of runs
that did not, those in which the alarm sounded are false alarms; of those that did, the delay is counted from the first
such validation to the alarm, in validations (negative where the alarm came first). The rule's settings are chosen on
all other seeds and judged on the one left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

from callbacks.collapse_rule import CollapseRule, Watch
from datamodules.errors import InputError
from study.replay import Replay

COLLAPSE = 0.05
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


def judge(rule: CollapseRule, run: Replay) -> Verdict:
    """Replays a run."""
    watch = Watch(rule)
    sounded = [index for index, evidence in enumerate(run.evidence) if watch.see(evidence)]
    lost = [
        index
        for index, evidence in enumerate(run.evidence)
        if evidence is not None and evidence.hit_ratio.mean <= -COLLAPSE
    ]
    return Verdict(lost[0] if lost else None, sounded[0] if sounded else None)


def cost(verdicts: Sequence[Verdict]) -> tuple[int, int]:
    """What a rule is chosen by: errors of both kinds first, then the validations lost by waiting."""
    errors = sum(verdict.is_false_alarm or verdict.is_missed for verdict in verdicts)
    return errors, sum(max(verdict.delay or 0, 0) for verdict in verdicts)


def choose(runs: Sequence[Replay]) -> CollapseRule:
    """The rule of least cost; among equals the default, then the first."""
    default = CollapseRule()
    return min(RULES, key=lambda rule: (*cost([judge(rule, run) for run in runs]), rule != default))


def leave_one_seed_out(runs: Sequence[Replay]) -> list[tuple[Replay, CollapseRule, Verdict]]:
    """Judges every run by the rule that was chosen on the runs of all other seeds.

    Raises:
        InputError: All runs have one seed.
    """
    seeds = sorted({run.seed for run in runs})
    if len(seeds) < 2:
        raise InputError(f"all runs have seed {seeds[0]}: leaving one seed out needs runs of at least two")
    found = []
    for seed in seeds:
        rule = choose([run for run in runs if run.seed != seed])
        found += [(run, rule, judge(rule, run)) for run in runs if run.seed == seed]
    return found
