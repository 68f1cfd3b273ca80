"""Names of settings in tables and figures."""

from study.settings import Setting

_OBJECTIVES = {"SDPO": "S-DPO", "MPPO, mean": "MPPO (mean)"}
_BASELINES = {
    "Popularity": "popularity",
    "CoOccurrence": "co-occurrence counts",
    "LastItem": "counts after the last item",
}
_SELECTIONS = {
    "AllNegatives": "all negatives",
    "ThreeMeansBoundary": "the paper's selection",
    "RandomNegatives": "random",
    "NearestNegatives": "nearest",
    "HardestNegatives": "hardest",
    "EasiestNegatives": "easiest",
}
_COUNTED_BY_THE_PAPER = (
    "RandomNegatives"  # the only selection that takes as many as the paper's rule where m is None
)
_CANDIDATES = {"AsGiven": "as published", "Reshuffled": "re-shuffled", "Redrawn": "re-drawn"}
PLAIN = ("AllNegatives", "ConstantBeta")
DYNAMIC = ("ThreeMeansBoundary", "DualMarginBeta")


def parts(setting: Setting) -> tuple[str, str]:
    """Return selection and β rule."""
    return setting.selection, setting.beta_rule


def method(setting: Setting) -> str:
    """Return the name of a run's method, without K, rate, γ and α."""
    if setting.stage == "baseline":
        return _BASELINES.get(setting.model, setting.model)
    if setting.stage == "supervised":
        return "SFT"
    base = objective(setting)
    if parts(setting) == PLAIN:
        return base
    return f"DynamicPO on {base}" if parts(setting) == DYNAMIC else f"{base}, {control(setting)}"


def objective(setting: Setting) -> str:
    """Return the name of the base objective."""
    return _OBJECTIVES.get(setting.objective, setting.objective)


def control(setting: Setting) -> str:
    """Name what replaces the paper's selection or β rule; what this page does not know goes by its class."""
    if parts(setting) == (DYNAMIC[0], PLAIN[1]):
        return "selection only"
    if parts(setting) == (PLAIN[0], DYNAMIC[1]):
        return "dynamic β only"
    selection = _SELECTIONS.get(setting.selection, setting.selection)
    if setting.m is not None:
        selection += f" {setting.m}"
    elif setting.selection == _COUNTED_BY_THE_PAPER:
        selection += ", as many as the paper's rule"
    if setting.beta_rule == PLAIN[1]:
        return selection
    return f"{selection}, " + (
        "dynamic β" if setting.beta_rule == DYNAMIC[1] else f"β by {setting.beta_rule}"
    )


def data(setting: Setting) -> str:
    """Name the data set, and its candidates where it has some."""
    return f"{setting.data}, candidates {candidates(setting)}" if setting.candidates else setting.data


def candidates(setting: Setting) -> str:
    """Return the source of the candidate lists."""
    return _CANDIDATES.get(setting.candidates, setting.candidates)


def rate(value: float | None) -> str:
    """Format a learning rate; empty for None."""
    return "" if value is None else f"{value:g}"
