"""Where a checkpoint comes from, see :mod:`moltc.backbone.lineage`."""

from moltc.backbone.lineage import Lineage as Lineage
from moltc.backbone.lineage import stored_lineage as stored_lineage
