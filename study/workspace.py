"""`python -m study.workspace ENTITY/PROJECT` lays out W&B's charts for watching a collapse, as a saved workspace.

Not run here: it needs the network and an account. The layout itself is data and tested; what makes a workspace of it is
the package wandb-workspaces (`pip install wandb-workspaces`), which nothing else needs. Exit status 0, or 2 where the
package or a part of the name is missing.
"""

import argparse
import sys
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from callbacks.wandb_segments import STEP
from datamodules.errors import InputError
from datamodules.output_streams import outlive_readers

NAME = "DynamicPO: is it collapsing?"


@dataclass(frozen=True)
class Chart:
    """Lines over the steps.

    Attributes:
        title: Above the chart.
        metrics: One line each.
    """

    title: str
    metrics: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """Charts under one heading.

    Attributes:
        name: The heading.
        charts: Line charts.
        media: Names of histograms and tables.
    """

    name: str
    charts: tuple[Chart, ...]
    media: tuple[str, ...] = ()


_STAGES = tuple(
    f"boundary/stage_{stage}/{part}" for part in ("proportion", "easy_proportion") for stage in (1, 2, 3)
)

LAYOUT = (
    Section(
        "Collapse",
        (
            Chart("Training loss and held-out HR@1", ("train/loss", "val/hit_ratio@1")),
            Chart("Held-out ranking", ("val/hit_ratio@1", "val/mrr", "val/ndcg@5")),
            Chart("Since the best validation", ("alarm/hit_ratio@1_change", "alarm/mrr_change")),
            Chart("Log-probabilities", ("logps/positive", "logps/negative")),
        ),
    ),
    Section(
        "Boundary and easy negatives",
        (
            Chart("B and S", ("boundary/proportion", "boundary/easy_proportion")),
            Chart("Violations", ("boundary/violation_rate",)),
            Chart("B and S by stage", _STAGES),
            Chart("Share of the gradient", ("gradient/boundary_share", "gradient/easy_share")),
            Chart("Gradient norms", ("gradient/boundary_norm", "gradient/easy_norm")),
            Chart("Gradient: cosine", ("gradient/cosine",)),
            Chart("Gradient: variance", ("gradient/variance",)),
        ),
    ),
    Section(
        "Rewards, β and margins",
        (
            Chart(
                "Rewards by difficulty",
                ("reward/positive", *(f"reward/negative_rank_{rank}" for rank in (1, 2, 4, 8, 16))),
            ),
            Chart("Reward win rate", ("reward/win_rate",)),
            Chart("β", ("beta/mean", "beta/min", "beta/max")),
            Chart("Margins", ("margin/positive_to_boundary", "margin/boundary_to_easy")),
        ),
        ("beta/histogram", "margin/histogram", "hardest_examples"),
    ),
)


def workspace(entity: str, project: str) -> Any:
    """Makes the workspace, not yet saved.

    Raises:
        InputError: wandb-workspaces is not installed.
    """
    try:
        workspaces = import_module("wandb_workspaces.workspaces")
        panels = import_module("wandb_workspaces.reports.v2")
    except ImportError as error:
        raise InputError(
            f"wandb-workspaces cannot be imported ({error}): pip install wandb-workspaces"
        ) from error

    def made(section: Section) -> Any:
        lines = [panels.LinePlot(title=c.title, x=STEP, y=list(c.metrics)) for c in section.charts]
        media = [panels.MediaBrowser(title=name, media_keys=[name]) for name in section.media]
        return workspaces.Section(name=section.name, panels=[*lines, *media], is_open=True)

    return workspaces.Workspace(entity=entity, project=project, name=NAME, sections=[*map(made, LAYOUT)])


def main(args: list[str] | None = None) -> int:
    """Saves the workspace and prints where it is.

    Args:
        args: Arguments to parse; None takes the process's.

    Returns:
        The exit status.
    """
    parser = argparse.ArgumentParser(prog="python -m study.workspace", description=__doc__.splitlines()[0])
    parser.add_argument("project", metavar="ENTITY/PROJECT")
    settings = parser.parse_args(args)
    try:
        entity, slash, project = settings.project.partition("/")
        if not (entity and slash and project):
            raise InputError(f"{settings.project!r} is no ENTITY/PROJECT: give both, as in my-team/dynamicpo")
        print(workspace(entity, project).save().url)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    outlive_readers()
    sys.exit(main())
