"""Multi-negative preference optimisation on tensors alone: objectives, selections of negatives and β rules.

Every objective takes every selection and every β rule; see README.md beside this file.
"""

from losses.beta import BetaRule, ConstantBeta, DualMarginBeta, dual_margin_beta
from losses.dmpo import DMPO, dmpo_loss
from losses.dpo import DPO, dpo_loss
from losses.gradient_weights import GradientShares, gradient_shares, gradient_weights
from losses.mppo import MPPO, mppo_loss
from losses.objective import Objective
from losses.scores import ObjectiveOutput, ResponseScores
from losses.sdpo import SDPO, sdpo_loss
from losses.selection import (
    AllNegatives,
    EasiestNegatives,
    HardestNegatives,
    NearestNegatives,
    RandomNegatives,
    Selection,
    ThreeMeansBoundary,
)
from losses.selective import DynamicPO, SelectiveObjective
from losses.three_means import three_means_boundary

__all__ = [
    "DMPO",
    "DPO",
    "MPPO",
    "SDPO",
    "AllNegatives",
    "BetaRule",
    "ConstantBeta",
    "DualMarginBeta",
    "DynamicPO",
    "EasiestNegatives",
    "GradientShares",
    "HardestNegatives",
    "NearestNegatives",
    "Objective",
    "ObjectiveOutput",
    "RandomNegatives",
    "ResponseScores",
    "Selection",
    "SelectiveObjective",
    "ThreeMeansBoundary",
    "dmpo_loss",
    "dpo_loss",
    "dual_margin_beta",
    "gradient_shares",
    "gradient_weights",
    "mppo_loss",
    "sdpo_loss",
    "three_means_boundary",
]
