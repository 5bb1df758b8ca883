"""Checkpoints of a run, see :mod:`moltc.backbone.training`."""

from moltc.backbone.training import AtomicCheckpointIO as AtomicCheckpointIO
from moltc.backbone.training import LastCheckpoint as LastCheckpoint
