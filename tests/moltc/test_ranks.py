"""Answers of batches and processes, put together (several processes: tests/distributed)."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_pairs import data, module, tiny_config, trainer

from moltc.ranks import gathered


def test_answers_are_put_in_order_of_rows_and_none_counts_twice(pairs_folder, tmp_path):
    """Promise: batches in any order give the answers of the split in order; a repeated row is an error."""
    learner, pairs = module(tiny_config()), data(pairs_folder("solvation"), eval_batch_size=3)
    trainer(tmp_path).test(learner, datamodule=pairs, verbose=False)
    rows, found = learner.test_answers[0]["test"]
    parts = [(rows[i], found.take(np.array(i))) for i in ([5, 2], [0, 7, 1], [6, 4, 3])]
    again, joined = gathered(parts)
    np.testing.assert_array_equal(again, rows)
    np.testing.assert_array_equal(joined.value, found.value)
    assert joined.text == found.text
    with pytest.raises(RuntimeError, match="answered twice"):
        gathered([*parts, parts[0]])
