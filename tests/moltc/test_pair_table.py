"""Tables of pairs: several folders as one, each molecule once, each row with its own question."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tiny_families import CLASSES

from data_prep.molecules import MoleculeTable
from moltc.pair_table import PairTable, joined_molecules
from moltc.task import Task, with_shared_scales


def named(table: PairTable, rows: np.ndarray) -> list[tuple[str, str]]:
    """The SMILES of rows; a single molecule has an empty second one."""
    smiles = table.molecules.smiles
    pairs = zip(table.mol_a[rows], table.mol_b[rows], strict=True)
    return [(smiles[a], "" if b < 0 else smiles[b]) for a, b in pairs]


def test_joined_table_holds_each_molecule_once(pairs):
    """Promise: what several folders hold is encoded once, and every row still names its own molecules."""
    names = ("solvation", "ddi", "caption")
    joined = pairs(*names)
    assert len(set(joined.molecules.smiles)) == len(joined.molecules) == 12
    start = 0
    for number, name in enumerate(names):
        alone = pairs(name)
        rows = np.flatnonzero(joined.task == number)
        np.testing.assert_array_equal(rows, np.arange(start, start + len(alone)))
        assert named(joined, rows) == named(alone, np.arange(len(alone)))
        np.testing.assert_array_equal(joined.label[rows], alone.label)
        np.testing.assert_array_equal(joined.split[rows], alone.split)
        assert joined.asked[number] == alone.asked[0]
        start += len(alone)
    assert (joined.mol_a.dtype, joined.mol_b.dtype, joined.task.dtype) == (np.int32, np.int32, np.int16)


def test_joined_graphs_are_those_of_their_molecules(pairs):
    joined, alone = pairs("solvation", "absorption").molecules, pairs("absorption").molecules
    for row, smiles in enumerate(alone.smiles):
        (place,) = np.flatnonzero(joined.smiles == smiles)
        mine, theirs = joined.graphs.batch(np.array([place])), alone.graphs.batch(np.array([row]))
        np.testing.assert_array_equal(mine.fingerprint, theirs.fingerprint)


def test_first_table_gives_the_text_of_a_molecule():
    first, second = (MoleculeTable.from_smiles(smiles) for smiles in (["CCO", "O"], ["O", "CCN"]))
    told = replace(second, property_text=np.array(["told of water", "told of amine"], dtype=object))
    table, (one, two) = joined_molecules([first, told])
    assert table.smiles.tolist() == ["CCO", "O", "CCN"]
    assert (one.tolist(), two.tolist()) == ([0, 1], [1, 2])
    assert table.property_text.tolist() == [*first.property_text, "told of amine"]


def test_queries_and_answers_stay_with_their_rows(pairs):
    """Promise: what only some tables have is empty in the rows of the others."""
    joined = pairs("side-effect", "caption", "ddi")
    parts = [joined.rows("train", number) for number in range(3)]
    assert set(joined.query[parts[0]]) == {"nausea", "a dry mouth"}
    assert all(text.startswith("It is a kind of") for text in joined.answer[parts[1]])
    for column, empty in ((joined.query, (1, 2)), (joined.answer, (0, 2))):
        for number in empty:
            assert set(column[parts[number]]) == {None}
    assert joined.text(int(parts[0][0])).query in ("nausea", "a dry mouth")
    assert joined.text(int(parts[1][0])).smiles_b == ""


def test_sentences_of_classes_come_with_their_task(pairs):
    joined = pairs("ddi", "typed-ddi")
    assert [asked.classes for asked in joined.asked] == [(), CLASSES]
    tasks = joined.tasks(joined.rows("train"))
    assert [(task.outputs, task.score[0]) for task in tasks] == [(1, "auc"), (3, "accuracy")]


def test_same_question_about_one_data_set_twice_is_refused(pairs):
    with pytest.raises(ValueError, match="two folders ask for interaction of tiny-ddi: leave one out"):
        pairs("ddi", "solvation", "ddi")


def test_no_folder_is_refused():
    with pytest.raises(ValueError, match="at least one folder"):
        PairTable.load([])


def test_task_without_training_rows_is_named(pairs):
    joined = pairs("solvation", "ddi")
    with pytest.raises(ValueError, match="tiny-ddi: the training split has no pairs"):
        joined.tasks(joined.rows("train", 0))


# -- scales --------------------------------------------------------------------------------------------


def test_one_scale_for_all_that_share_a_head(pairs):
    """Promise: two data sets of the same quantity standardise alike, by all of their training labels; the
    range of answers stays each one's own."""
    joined = pairs("solvation", "measured", "absorption")
    train = joined.rows("train")
    first, second, other = joined.tasks(train)
    both = joined.label[train[joined.task[train] < 2]]
    for task in (first, second):
        assert (task.mean, task.std) == pytest.approx((both.mean(), both.std()))
    assert first.low != second.low
    own = joined.label[joined.rows("train", 2)]
    assert (other.mean, other.std) == pytest.approx((own.mean(), own.std()))
    assert [task.head for task in (first, second)] == ["solvation/solvation free energy"] * 2


def test_scale_is_weighted_by_size():
    tasks = [
        Task("solvation", "solvation free energy", name, mean, 0.0, 0.0, 1.0)
        for name, mean in (("small", 0.0), ("large", 4.0))
    ]
    for task in with_shared_scales(tasks, [1, 3]):
        assert (task.mean, task.std) == pytest.approx((3.0, 3**0.5))
