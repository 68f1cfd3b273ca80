"""The runs on one data set, ordered for comparison."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from study.report.cells import Arm, grouped
from study.report.names import DYNAMIC, PLAIN, candidates, data, method, parts
from study.settings import Setting

_STAGES = ("baseline", "supervised", "preference")
PAPER = (2.0, 0.5)  # γ and α of the paper's early release


@dataclass(frozen=True)
class Line:
    """Arms that differ in K alone.

    Attributes:
        label: What they are called, unlike every other line of the suite.
        arms: By K.
    """

    label: str
    arms: tuple[Arm, ...]

    @property
    def setting(self) -> Setting:
        """That of the first arm."""
        return self.arms[0].setting


@dataclass(frozen=True)
class Suite:
    """Arms on one data set with one kind of candidates.

    Attributes:
        arms: Of every stage.
    """

    arms: tuple[Arm, ...]

    @property
    def title(self) -> str:
        """Data set and source of its candidates."""
        return data(self.arms[0].setting)

    @property
    def slug(self) -> str:
        """Title in a form that suits file names."""
        text = f"{self.arms[0].setting.data}-{candidates(self.arms[0].setting)}"
        return "".join(letter if letter.isalnum() else "-" for letter in text.lower())

    @cached_property
    def main(self) -> tuple[float | None, float | None]:
        """The most frequent γ and α of the DynamicPO runs; the paper's if several are."""
        runs: Counter[tuple[float | None, float | None]] = Counter()
        for arm in self.arms:
            if parts(arm.setting) == DYNAMIC:
                runs[arm.setting.gamma, arm.setting.alpha] += sum(len(cell.runs) for cell in arm.cells)
        return max(runs, key=lambda pair: (runs[pair], pair == PAPER, pair), default=PAPER)

    @cached_property
    def lines(self) -> tuple[Line, ...]:
        """All arms, counting baselines first."""
        groups = grouped(self.arms, lambda arm: replace(arm.setting, negatives=0, learning_rate=None))
        alike = grouped(groups, self._label)
        lines = []
        for key, arms in groups.items():
            label = self._label(key)
            label += _difference(key, alike[label])
            lines.append(Line(label, tuple(sorted(arms, key=lambda arm: arm.setting.negatives))))
        return tuple(sorted(lines, key=_order))

    def _label(self, setting: Setting) -> str:
        own = (setting.gamma, setting.alpha)
        varied = setting.gamma is not None and own != self.main
        return method(setting) + (f", γ = {setting.gamma:g}, α = {setting.alpha:g}" if varied else "")

    @property
    def plain(self) -> list[Line]:
        """Base objectives."""
        return [line for line in self.lines if parts(line.setting) == PLAIN]

    @property
    def dynamic(self) -> list[Line]:
        """DynamicPO with the main γ and α."""
        return [line for line in self.lines if self._is_main(line.setting)]

    @property
    def compared(self) -> list[Line]:
        """Base objectives, each with DynamicPO on it behind."""
        return [line for line in self.lines if parts(line.setting) == PLAIN or self._is_main(line.setting)]

    @property
    def varied(self) -> list[Line]:
        """DynamicPO with any γ and α."""
        return [line for line in self.lines if parts(line.setting) == DYNAMIC]

    @property
    def controls(self) -> list[Line]:
        """Other selections and β rules than the paper's, and its own one at a time."""
        others = ("", "")
        return [line for line in self.lines if parts(line.setting) not in (PLAIN, DYNAMIC, others)]

    def _is_main(self, setting: Setting) -> bool:
        return parts(setting) == DYNAMIC and (setting.gamma, setting.alpha) == self.main

    def start_of(self, setting: Setting) -> Arm | None:
        """Return the SFT model with the same language model; None if there is not exactly one."""
        arms = [arm for line in self.lines if line.setting.stage == "supervised" for arm in line.arms]
        own = [arm for arm in arms if arm.setting.model == setting.model]
        return own[0] if len(own) == 1 else None

    def base_of(self, setting: Setting) -> Arm | None:
        """Return the base objective at the same K and settings, whatever its learning rate; None without one."""
        arms = [arm for line in self.plain for arm in line.arms]
        return next((arm for arm in arms if kin(arm.setting) == kin(setting)), None)


def suites_of(arms: list[Arm]) -> Iterator[Suite]:
    """Group arms by data set and candidates, the largest group first."""
    groups = grouped(arms, lambda arm: (arm.setting.data, arm.setting.candidates))
    for key in sorted(groups, key=lambda key: (-len(groups[key]), key)):
        yield Suite(tuple(groups[key]))


def kin(setting: Setting) -> tuple[object, ...]:
    """Return the settings that a base objective and every method built on it share."""
    return (setting.objective, setting.beta, setting.negatives, setting.model, setting.rest)


def _difference(setting: Setting, alike: list[Setting]) -> str:
    """Name what sets a setting apart from others of the same label."""
    parts = [
        f", β = {setting.beta:g}"
        if len({other.beta for other in alike}) > 1 and setting.beta is not None
        else "",
        f", {setting.model}" if len({other.model for other in alike}) > 1 else "",
        f", settings {setting.rest}" if len({other.rest for other in alike}) > 1 else "",
    ]
    return "".join(parts)


def _order(line: Line) -> tuple[object, ...]:
    setting = line.setting
    kind = {PLAIN: 0, DYNAMIC: 1}.get(parts(setting), 2)
    return (_STAGES.index(setting.stage), setting.objective, kind, line.label)
