"""Bootstrap intervals, see :mod:`moltc.backbone.bootstrap`."""

from moltc.backbone.bootstrap import Bootstrap as Bootstrap
from moltc.backbone.bootstrap import Floats as Floats
from moltc.backbone.bootstrap import Metric as Metric
from moltc.backbone.bootstrap import Statistic as Statistic
from moltc.backbone.bootstrap import joint_statistic as joint_statistic
from moltc.backbone.bootstrap import mean_statistic as mean_statistic
