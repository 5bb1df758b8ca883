"""What the validated score is, and what it decides (see :mod:`moltc.backbone.selection`)."""

from __future__ import annotations

import numpy as np

from moltc.answering import Answers
from moltc.backbone.selection import BestCheckpoint as BestCheckpoint
from moltc.backbone.selection import StopEarly as StopEarly
from moltc.metrics import binary_metrics
from moltc.task import Task


def validation_score(task: Task, labels: np.ndarray, found: Answers) -> float:
    """The score of a task that validation watches, from labels [n] and answers."""
    if task.is_number:
        return float(np.sqrt(np.mean((found.value - labels) ** 2)))
    if task.kind.kind == "class":
        return float(np.mean(found.best == labels))
    return binary_metrics(labels, found.log_odds, resamples=1)["auc_roc"].value
