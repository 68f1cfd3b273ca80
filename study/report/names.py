"""What settings are called in tables and figures."""

from study.settings import Setting

_OBJECTIVES = {"SDPO": "S-DPO", "MPPO, mean": "MPPO (mean)"}
_BASELINES = {
    "Popularity": "popularity",
    "CoOccurrence": "co-occurrence counts",
    "LastItem": "counts after the last item",
}
_SELECTIONS = {
    "RandomNegatives": "random",
    "NearestNegatives": "nearest",
    "HardestNegatives": "hardest",
    "EasiestNegatives": "easiest",
}
_CANDIDATES = {"AsGiven": "as published", "Reshuffled": "re-shuffled", "Redrawn": "re-drawn"}
PLAIN = ("AllNegatives", "ConstantBeta")
DYNAMIC = ("ThreeMeansBoundary", "DualMarginBeta")


def parts(setting: Setting) -> tuple[str, str]:
    """Selection and β rule."""
    return setting.selection, setting.beta_rule


def method(setting: Setting) -> str:
    """A run's method, without K, rate, γ and α."""
    if setting.stage == "baseline":
        return _BASELINES.get(setting.model, setting.model)
    if setting.stage == "supervised":
        return "SFT"
    base = objective(setting)
    if parts(setting) == PLAIN:
        return base
    return f"DynamicPO on {base}" if parts(setting) == DYNAMIC else f"{base}, {control(setting)}"


def objective(setting: Setting) -> str:
    """The base objective."""
    return _OBJECTIVES.get(setting.objective, setting.objective)


def control(setting: Setting) -> str:
    """What stands in the place of the paper's selection or β rule."""
    if parts(setting) == (DYNAMIC[0], PLAIN[1]):
        return "selection only"
    if parts(setting) == (PLAIN[0], DYNAMIC[1]):
        return "dynamic β only"
    name = _SELECTIONS.get(setting.selection, setting.selection)
    many = f" {setting.m}" if setting.m is not None else ", as many as the paper's rule"
    return f"{name}{many}" + (", dynamic β" if setting.beta_rule == DYNAMIC[1] else "")


def data(setting: Setting) -> str:
    """Data set and candidates."""
    return f"{setting.data}, candidates {candidates(setting)}"


def candidates(setting: Setting) -> str:
    """Where the candidate lists come from."""
    return _CANDIDATES.get(setting.candidates, setting.candidates)


def rate(value: float | None) -> str:
    """A learning rate."""
    return "" if value is None else f"{value:g}"
