"""The audit and its report."""

from dataclasses import dataclass

from datamodules.audit.exploits import Budget, StageFindings, judge
from datamodules.audit.faults import Fault, find_faults
from datamodules.audit.rows import AuditData, stages
from datamodules.audit.significance import EFFECT, LEVEL, ControlledRate

FULL = Budget(learned=200_000, judged=5_000, copies=9)
QUICK = Budget(learned=50_000, judged=2_000, copies=4)


@dataclass(frozen=True)
class AuditReport:
    """What was found.

    Attributes:
        data: What was audited.
        stages: What rules score, a split each.
        faults: Counts of faulty rows.
    """

    data: AuditData
    stages: list[StageFindings]
    faults: list[Fault]

    @property
    def reasons(self) -> list[str]:
        """Why the data are condemned, one line each; empty where they pass."""
        reasons = []
        for stage in self.stages:
            for name, rate in (("position", stage.position), ("fingerprint", stage.fingerprint)):
                if rate is not None and rate.condemned:
                    reasons.append(
                        _REASONS[name].format(judged=stage.judged, rate=rate.rate, control=rate.control)
                    )
        for fault in self.faults:
            if fault.condemned:
                reasons.append(
                    f"{fault.count:,} of {fault.rows:,} rows: {fault.name} (first: {fault.example})"
                )
        return reasons

    @property
    def condemned(self) -> bool:
        """The verdict."""
        return bool(self.reasons)

    def text(self) -> str:
        """The report, many lines."""
        lines = [_counts(self.data), *(f"note: {note}" for note in self.data.notes)]
        for stage in self.stages:
            lines += ["", *_stage_lines(stage)]
        lines += ["", "faulty rows", *map(_fault_line, self.faults)]
        unchecked = "" if any("later" in fault.name for fault in self.faults) else _why_unchecked(self.data)
        if unchecked:
            lines.append(f"  later than its split allows: not checked: {unchecked}")
        lines += ["", _verdict(self.reasons, unchecked)]
        return "\n".join(lines)


_REASONS = {
    "position": "{judged}: places alone give HR@1 {rate:.3f}, {control:.3f} once the lists are shuffled: "
    "re-shuffle every list with a seed of its own",
    "fingerprint": "{judged}: the negatives alone give HR@1 {rate:.3f}, {control:.3f} once rows exchange "
    "them: re-draw every list with a seed of its own",
}


def audit(data: AuditData) -> AuditReport:
    """Audits a data set; see `significance` and `faults` for what condemns."""
    return _audit(data, FULL)


def quick_audit(data: AuditData) -> list[str]:
    """The cheap part, for a warning before training: fewer rows and copies, the same rule.

    Returns:
        A line for each reason to condemn the data; empty where they pass.
    """
    return _audit(data, QUICK).reasons


def _audit(data: AuditData, budget: Budget) -> AuditReport:
    findings = [judge(stage, len(data.titles), data.ordered, budget) for stage in stages(data)]
    return AuditReport(data, findings, find_faults(data))


def _why_unchecked(data: AuditData) -> str:
    return "no times" if any(split.time is None for split in data.splits) else "only one split"


def _counts(data: AuditData) -> str:
    skipped = f"; {data.skipped:,} broken rows skipped" if data.skipped else ""
    rows = ", ".join(f"{len(split):,} {split.name}" for split in data.splits)
    width = max(split.candidates.shape[1] for split in data.splits)
    return f"{rows} rows; lists of up to {width} candidates{skipped}"


def _stage_lines(stage: StageFindings) -> list[str]:
    lines = [f"HR@1 on {stage.rows:,} rows of {stage.judged}, without the user, learned from {stage.learned}"]
    lines.append(f"  chance        {stage.chance:.3f}")
    lines.append(f"  popularity    {stage.popularity:.3f}   (reported; does not condemn)")
    if stage.position is None:
        lines.append("  position      not checked: the format has no order of candidates")
    else:
        lines.append(f"  position      {_rate(stage.position, 'shuffled')}")
    lines.append(f"  fingerprint   {_rate(stage.fingerprint, 'exchanged')}")
    lines.append(
        f"  negatives shared with an earlier row of the same target: {stage.shared:.2f}, "
        f"{stage.shared_control:.2f} exchanged"
    )
    return lines


def _rate(rate: ControlledRate, control: str) -> str:
    bound = f"p ≤ {max(rate.false_alarm_bound, 1e-99):.0e}"
    text = f"{rate.rate:.3f}   {rate.control:.3f} {control}, gain {rate.gain:+.3f}, {bound}"
    if rate.condemned:
        return f"{text}   LEAK"
    if rate.detectable_gain == float("inf"):
        return f"{text}   ok (too few rows to show any gain)"
    return f"{text}   ok (a gain of {rate.detectable_gain:.3f} would show)"


def _fault_line(fault: Fault) -> str:
    mark = "FAULT" if fault.condemned else "ok"
    first = f", first: {fault.example}" if fault.count else ""
    return f"  {fault.name}: {fault.count:,} of {fault.rows:,}{first}   {mark}"


def _verdict(reasons: list[str], unchecked: str) -> str:
    if not reasons:
        rows = (
            f"rows are in order but for their times, not checked: {unchecked}"
            if unchecked
            else "rows are in order"
        )
        return f"PASS: no rule gains {EFFECT} of HR@1 from the lists (level {LEVEL:g}), and {rows}"
    return "\n".join(["CONDEMNED", *(f"  {reason}" for reason in reasons)])
