"""Scores of a split as a table: log-probabilities, log-ratios and rewards of every completion."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import torch

from align.objective import Step
from align.preferences import Preferences, concatenate
from align.processes import gathered
from data_prep.tables import write_parquet

if TYPE_CHECKING:
    from align.module import PreferenceModule


def write_predictions(path: Path, scored: Sequence[Preferences], module: PreferenceModule) -> Path | None:
    """Write one row for each completion, examples by their id; the first process writes and gets the path.

    Columns: ``example_id``, ``completion`` (0 is the chosen one), ``tokens``, ``logp``, and where there is a
    reference or a reward ``ref_logp`` and ``reward``.
    """
    whole = concatenate([part for parts in gathered(list(scored)) for part in parts])
    if module.global_rank:
        return None
    assert whole.ids is not None
    whole = whole.rows(whole.ids.argsort())
    assert whole.ids is not None
    row, place = whole.exists.nonzero(as_tuple=True)
    columns = {
        "example_id": whole.ids[row],
        "completion": place,
        "tokens": whole.lengths[row, place],
        "logp": whole.sums()[row, place],
    }
    if whole.reference is not None:
        columns["ref_logp"] = whole.ref_sums()[row, place]
    output = module.loss(whole, module.loss_state, Step(training=False))
    chosen, rejected = output.chosen_rewards, output.rejected_rewards
    whole_rows = whole.desirable is None and len(output.batch) == len(whole)  # not split into pairs
    if chosen is not None and rejected is not None and whole_rows:
        columns["reward"] = torch.cat([chosen[:, None], rejected], 1)[row, place]
    write_parquet(pl.DataFrame({name: value.numpy() for name, value in columns.items()}), path)
    return path
