"""Scores: what a model got right, counted the way the field counts it."""

from unmask.metrics.classification import (
    ClassificationReport,
    ClassScores,
    classification_metrics,
    classification_report,
)

__all__ = ["ClassScores", "ClassificationReport", "classification_metrics", "classification_report"]
