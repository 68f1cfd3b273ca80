"""Callbacks: they read what a step returned, log the diagnosis, and never change weights."""

from callbacks.adapter_export import AdapterExport
from callbacks.best_checkpoint import BestCheckpoint
from callbacks.boundary_proportion import BoundaryProportion
from callbacks.collapse_alarm import CollapseAlarm
from callbacks.finite_loss import FiniteLoss
from callbacks.generation_metrics import GenerationMetrics
from callbacks.gradient_suppression import GradientSuppression
from callbacks.last_checkpoint import LastCheckpoint
from callbacks.metrics_csv import MetricsCSV
from callbacks.prediction_writer import PredictionWriter
from callbacks.progress import ProgressBar
from callbacks.recommendation_writer import RecommendationWriter
from callbacks.rng_state import RNGState
from callbacks.throughput import Throughput
from callbacks.training_metrics import TrainingMetrics
from callbacks.validation_line import ValidationLine

__all__ = [
    "AdapterExport",
    "BestCheckpoint",
    "BoundaryProportion",
    "CollapseAlarm",
    "FiniteLoss",
    "GenerationMetrics",
    "GradientSuppression",
    "LastCheckpoint",
    "MetricsCSV",
    "PredictionWriter",
    "ProgressBar",
    "RNGState",
    "RecommendationWriter",
    "Throughput",
    "TrainingMetrics",
    "ValidationLine",
]
