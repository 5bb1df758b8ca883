"""Votes of training pairs: against a plain sum over them, hidden molecules, and as part of a model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_pairs import build, collator, tiny_config, train_batch

from data_prep.molecules import featurise
from moltc.answering import answer
from moltc.backbone.graphs import GraphBatch
from moltc.model import MolTC
from moltc.neighbours import PRIOR_SHARE, NeighbourVotes, Substructures
from moltc.pair_towers import PAIR, PairHeadConfig
from moltc.stages import continued

HEAD = PairHeadConfig(weight=1.0, hidden=(8,), pair_tokens=2, pair_tokens_see_output=True, neighbours=15.0)


def random_pairs(outputs: int, molecules: int = 9, pairs: int = 25):
    """Molecules, two of them alike, and training pairs among the first ``molecules - 2``."""
    torch.manual_seed(0)
    bits = torch.randint(0, 256, (molecules, 16), dtype=torch.uint8)
    counts = torch.randint(0, 4, (molecules, 12), dtype=torch.uint8)
    counts[: molecules - 2, 5] = 0  # what no molecule of training has
    bits[3], counts[3] = bits[0], counts[0]
    a, b = torch.randint(molecules - 2, (2, pairs))
    return Substructures(bits, counts), a, b, torch.randint(max(outputs, 2), (pairs,))


def alike(bits: list[list[int]]) -> Substructures:
    """Molecules of these packed bits and of the same counts."""
    return Substructures(torch.tensor(bits, dtype=torch.uint8), torch.ones(len(bits), 12, dtype=torch.uint8))


def plain_votes(
    outputs, symmetric, sharpness, molecules, training, pair, hidden=(False, False)
) -> np.ndarray:
    """The same by loops: log-odds [1] or log-probabilities [C] of one pair."""
    a, b, answers = (column.tolist() for column in training)
    unpacked = np.unpackbits(molecules.bits.numpy(), axis=1).astype(bool)
    counts = molecules.counts.numpy()
    seen = sorted(set(a + b))

    gone = [unpacked[m] for m, hide in zip(pair, hidden, strict=True) if hide]
    left = [t for t in seen if not any((unpacked[t] == x).all() for x in gone)]

    def kernel(molecule: int) -> dict[int, float]:
        x, n = unpacked[molecule], counts[molecule]
        by_bits = {t: (x & unpacked[t]).sum() / (x | unpacked[t]).sum() for t in left}
        by_counts = {t: np.minimum(n, counts[t]).sum() / np.maximum(n, counts[t]).sum() for t in left}
        weights = {t: np.exp(sharpness * (by_bits[t] + by_counts[t]) / 2) for t in left}
        return {t: w / sum(weights.values()) for t, w in weights.items()}

    first, second = kernel(pair[0]), kernel(pair[1])
    classes = max(outputs, 2)
    found = np.zeros(classes)
    for i, j, c in zip(a, b, answers, strict=True):
        found[c] += first.get(i, 0) * second.get(j, 0)
        if symmetric:
            found[c] += first.get(j, 0) * second.get(i, 0)
    prior = np.bincount(answers, minlength=classes) / len(answers)
    share = np.log((1 - PRIOR_SHARE) * found / found.sum() + PRIOR_SHARE * prior)
    return share[1:] - share[:1] if outputs == 1 else share


def of_smiles(*smiles: str) -> Substructures:
    graphs = featurise(smiles, workers=1, progress=False, graphs_only=True).table.graphs
    return Substructures.of(GraphBatch.from_arrays(graphs.batch(np.arange(len(smiles)))))


def test_environments_are_atoms_with_their_neighbours():
    """Promise: counted are an atom's element and the elements bound to it, and nothing else."""
    counts = of_smiles("CCO", "CCCO", "CCCCO", "C1CC1", "c1ccccc1", "CC=O", "[Na+].[Cl-]").counts.long()
    ethanol, propanol, butanol, ring, benzene, ethanal, salt = counts
    assert sorted(ethanol[ethanol > 0].tolist()) == [1, 1, 1]
    inner = propanol - ethanol  # C between two C
    assert (inner >= 0).all() and inner.sum() == 1
    assert torch.equal(butanol, propanol + inner)
    assert torch.equal(ring, 3 * inner) and torch.equal(benzene, 6 * inner)
    assert torch.equal(ethanal, ethanol)  # bonds and hydrogens do not matter
    assert sorted(salt[salt > 0].tolist()) == [1, 1]
    assert not (salt * counts[:6]).any()


def test_places_of_environments_stay_what_they_were():
    """Promise: saved counts can be read, so another hash is another format of models."""
    counts = of_smiles("CCO", "C1CC1", "[Na+].[Cl-]").counts
    assert [np.flatnonzero(row).tolist() for row in counts] == [[194, 196, 239], [383], [10, 16]]


def test_environments_of_a_long_chain_are_counted_to_255():
    (counts,) = of_smiles("C" * 200 + "O" + "C" * 200).counts
    assert counts.max() == 255


@pytest.mark.parametrize(("outputs", "symmetric"), [(1, True), (4, False)], ids=["yes-no", "classes"])
def test_votes_are_the_kernel_sum_over_training_pairs(outputs, symmetric):
    molecules, *training = random_pairs(outputs)
    votes = NeighbourVotes(outputs, symmetric, 7.0)
    votes.remember(molecules, *training)
    row_a, row_b = torch.tensor([0, 7, 8, 2]), torch.tensor([1, 2, 7, 2])
    hidden = torch.tensor([[False, False], [False, True], [False, False], [True, True]])
    found = votes(molecules, row_a, row_b, hidden)
    expected = [
        plain_votes(outputs, symmetric, 7.0, molecules, training, pair, hide)
        for pair, hide in zip(zip(row_a.tolist(), row_b.tolist(), strict=True), hidden.tolist(), strict=True)
    ]
    np.testing.assert_allclose(found, np.stack(expected), rtol=1e-4, atol=1e-5)
    assert torch.equal(votes(molecules, row_a[:1], row_b[:1]), found[:1])


def test_hidden_molecules_leave_no_vote_to_others_of_their_fingerprint():
    """Promise: a training pair cannot vote for itself, nor can its double."""
    molecules, *_ = random_pairs(4)
    votes = NeighbourVotes(4, False, 50.0)
    a, b, answers = torch.tensor([0, 3, 1]), torch.tensor([2, 2, 2]), torch.tensor([1, 1, 3])
    votes.remember(molecules, a, b, answers)
    pair = torch.tensor([0]), torch.tensor([2])
    assert votes(molecules, *pair).argmax() == 1
    assert votes(molecules, *pair, torch.tensor([[True, False]])).argmax() == 3


@pytest.mark.parametrize("hidden", [[True, False], [False, True], [True, True]], ids=["a", "b", "both"])
def test_a_hidden_molecule_casts_no_vote_in_its_partners_place(hidden):
    """Promise: nor does a pair of two analogues vote for itself the other way round."""
    molecules = alike([[255, 255], [254, 255], [15, 15], [240, 240]])  # 0 and 1 differ in one bit
    said = []
    for own in (0, 1):
        votes = NeighbourVotes(1, True, 20.0)
        votes.remember(molecules, torch.tensor([0, 2]), torch.tensor([1, 3]), torch.tensor([own, 1]))
        votes.prior.fill_(0.5)
        said.append(votes(molecules, torch.tensor([0]), torch.tensor([1]), torch.tensor([hidden])))
    assert torch.equal(said[0], said[1])


def test_mixed_precision_leaves_the_votes_alone():
    """Promise: counts above 256 are exact, so that a hidden molecule stays hidden."""
    molecules, *training = random_pairs(4)
    wide = Substructures(molecules.bits.repeat(1, 40), molecules.counts.repeat(1, 40))
    votes = NeighbourVotes(4, False, 30.0)
    votes.remember(wide, *training)
    pair = torch.tensor([0]), torch.tensor([1]), torch.tensor([[True, True]])
    plain = votes(wide, *pair)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(votes(wide, *pair), plain)


def test_where_nobody_is_left_the_frequencies_answer():
    molecules, *_ = random_pairs(3)
    votes = NeighbourVotes(3, False, 5.0)
    votes.remember(molecules, torch.tensor([0, 0, 0]), torch.tensor([1, 1, 1]), torch.tensor([0, 2, 2]))
    hidden = torch.ones(1, 2, dtype=torch.bool)
    votes.bits.copy_(votes.bits[:1].expand_as(votes.bits))  # all alike, all hidden
    one = Substructures(votes.bits[:1], votes.counts[:1])
    found = votes(one, torch.tensor([0]), torch.tensor([0]), hidden).exp()
    torch.testing.assert_close(found[0, [0, 2]], torch.tensor([1 / 3, 2 / 3]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, b, c: (a[:0], b[:0], c[:0]), "got none"),
        (lambda a, b, c: (a, b, c + 4), "run from 0 to 3, found 7"),
    ],
    ids=["no-pairs", "no-class"],
)
def test_pairs_that_cannot_vote_are_refused(change, message):
    molecules, *training = random_pairs(4)
    with pytest.raises(ValueError, match=message):
        NeighbourVotes(4, False, 5.0).remember(molecules, *change(*training))


def test_room_is_made_for_the_pairs_of_a_checkpoint():
    """Promise: votes are those of the checkpoint, however many pairs were remembered before."""
    molecules, *training = random_pairs(4)
    trained, other = NeighbourVotes(4, False, 5.0), NeighbourVotes(4, False, 5.0)
    trained.remember(molecules, *training)
    other.remember(molecules, *(column[:3] for column in training))
    state = {f"votes.{name}": tensor for name, tensor in trained.state_dict().items()}
    other.make_room_for(state, "elsewhere.")
    without_counts = {name: tensor for name, tensor in state.items() if not name.endswith("counts")}
    other.make_room_for(without_counts, "votes.")  # of an older version; loading it says what is missing
    assert len(other.partner) == 3
    other.make_room_for(state, "votes.")
    other.load_state_dict(trained.state_dict())
    pair = torch.tensor([7]), torch.tensor([2])
    assert torch.equal(other(molecules, *pair), trained(molecules, *pair))


def test_votes_without_pairs_or_kernel_are_refused():
    with pytest.raises(ValueError, match="above 0"):
        NeighbourVotes(4, False, 0.0)
    molecules, a, b, _ = random_pairs(4)
    with pytest.raises(RuntimeError, match="call remember"):
        NeighbourVotes(4, False, 5.0)(molecules, a, b)


# -- in a model --------------------------------------------------------------------------------------


def voting_model(table, head=HEAD) -> MolTC:
    """An untrained model that holds the training pairs of a table."""
    model = build(tiny_config(head=head), table)
    model.remember(table, table.rows("train"))
    return model


def test_heads_answer_with_votes_and_learn_without_them(pairs):
    """Promise: votes are in answers and in what the language model is shown, not in what training scores."""
    table = pairs("ddi")
    model = voting_model(table)
    batch = train_batch(model, table, range(8))
    plain = build(tiny_config(head=replace(HEAD, neighbours=0.0)), table)
    plain.load_state_dict(model.state_dict(), strict=False)
    (group,) = batch.inputs.groups
    assert group.hidden is None
    members, molecules = batch.inputs.towers.members, Substructures.of(batch.inputs.towers.graphs)
    (votes,) = (votes for _, votes in model.pair_towers.voting())
    said = votes(molecules, members[group.key_a][group.row_a], members[group.key_b][group.row_b])
    answered, silent = model.lm.encode(batch.inputs), plain.lm.encode(batch.inputs)
    torch.testing.assert_close(answered.predictions[0], silent.predictions[0] + said)
    assert not torch.equal(answered.soft_tokens[PAIR], silent.soft_tokens[PAIR])
    model.train(), plain.train()
    learning, silent = model.lm.encode(batch.inputs), plain.lm.encode(batch.inputs)
    torch.testing.assert_close(learning.predictions[0], silent.predictions[0])
    assert not torch.equal(learning.soft_tokens[PAIR], silent.soft_tokens[PAIR])


def test_pretraining_asks_for_no_votes(pairs):
    """Promise: where towers and head learn alone, votes, which nothing reads, cost nothing."""
    table = pairs("ddi")
    model = build(tiny_config(head=HEAD), table).train()
    batch = train_batch(model, table, range(8))
    model.tower_losses(batch)["loss"].backward()
    with pytest.raises(RuntimeError, match="call remember"):
        model.losses(batch)
    with pytest.raises(RuntimeError, match="call remember"):  # answers have them
        model.eval().tower_losses(batch)


def test_saved_models_keep_the_pairs_that_vote(pairs, tmp_path):
    table = pairs("ddi")
    model = voting_model(table)
    model.calibration = {name: {"note": 1.0} for name in model.names}
    model.save_pretrained(tmp_path / "export")
    assert "It holds its training pairs" in (tmp_path / "export/README.md").read_text()
    loaded = MolTC.from_pretrained(tmp_path / "export")
    rows = table.rows("test").tolist()
    first, second = (answer(m, collator(m, table)(rows)).head for m in (model, loaded))
    np.testing.assert_array_equal(first, second)
    (votes,) = (votes for _, votes in loaded.pair_towers.voting())
    assert len(votes.partner) == 2 * len(table.rows("train"))


def test_a_stage_with_votes_takes_over_a_head_without(pairs, tmp_path):
    """Promise: votes have no weights, so that the head of an export fits; its own pairs vote."""
    table = pairs("ddi")
    plain = build(tiny_config(head=replace(HEAD, neighbours=0.0)), table, seed=7)
    plain.save_pretrained(tmp_path / "export")
    model = continued(tiny_config(head=HEAD), table.tasks(table.rows("train")), str(tmp_path / "export"))
    (before,), (after,) = plain.pair_towers.heads.values(), model.pair_towers.heads.values()
    assert all(torch.equal(tensor, after.state_dict()[name]) for name, tensor in before.state_dict().items())
    model.remember(table, table.rows("train"))
    assert [len(votes.partner) for _, votes in model.pair_towers.voting()] == [2 * len(table.rows("train"))]


def test_votes_are_for_yes_no_and_types(pairs):
    with pytest.raises(ValueError, match="yes/no and typed tasks"):
        build(tiny_config(head=HEAD), pairs("solvation"))
    with pytest.raises(ValueError, match="give head.weight"):
        PairHeadConfig(neighbours=5.0)
    with pytest.raises(ValueError, match="pair_tokens_see_output"):
        PairHeadConfig(weight=1.0, pair_tokens=2, neighbours=5.0)
    with pytest.raises(ValueError, match="0 or a sharpness"):
        PairHeadConfig(weight=1.0, neighbours=-1.0)
