"""Callbacks: they read what a step returned, log the diagnosis, and never change weights."""

from callbacks.adapter_export import AdapterExport
from callbacks.best_checkpoint import BestCheckpoint
from callbacks.boundary_proportion import BoundaryProportion
from callbacks.collapse_alarm import CollapseAlarm
from callbacks.difficulty_rewards import DifficultyRewards
from callbacks.extension import Extension
from callbacks.finite_loss import FiniteLoss
from callbacks.generation_metrics import GenerationMetrics
from callbacks.gradient_suppression import GradientSuppression
from callbacks.hardest_examples import HardestExamples
from callbacks.last_checkpoint import LastCheckpoint
from callbacks.metrics_csv import MetricsCSV
from callbacks.prediction_writer import PredictionWriter
from callbacks.preference_histograms import PreferenceHistograms
from callbacks.progress import ProgressBar, ProgressLines
from callbacks.recommendation_writer import RecommendationWriter
from callbacks.results_table import ResultsTable
from callbacks.rng_state import RNGState
from callbacks.throughput import Throughput
from callbacks.training_metrics import TrainingMetrics
from callbacks.validation_due import ValidationDue
from callbacks.validation_line import ValidationLine
from callbacks.whole_steps import WholeSteps

__all__ = [
    "AdapterExport",
    "BestCheckpoint",
    "BoundaryProportion",
    "CollapseAlarm",
    "DifficultyRewards",
    "Extension",
    "FiniteLoss",
    "GenerationMetrics",
    "GradientSuppression",
    "HardestExamples",
    "LastCheckpoint",
    "MetricsCSV",
    "PredictionWriter",
    "PreferenceHistograms",
    "ProgressBar",
    "ProgressLines",
    "RNGState",
    "RecommendationWriter",
    "ResultsTable",
    "Throughput",
    "TrainingMetrics",
    "ValidationDue",
    "ValidationLine",
    "WholeSteps",
]
