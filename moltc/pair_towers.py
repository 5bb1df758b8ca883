"""The towers of a pair: both molecules' soft tokens, and what the two make together.

Beside the towers stands an optional head on the two graph-level vectors. Trained with the answer it is a
control: its error says how much reading and writing text costs. Its hidden vector may also enter the prompt
as *pair tokens*, so that the molecules meet before the language model; both are off unless asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from moltc.backbone.batch_norm import BatchNorm
from moltc.backbone.processes import holders
from moltc.backbone.towers import TowerInputs, TowerSet, TowerShares
from moltc.family import FamilyKind
from moltc.neighbours import NeighbourVotes, Substructures

PAIR = "pair"


@dataclass(frozen=True)
class PairHeadConfig:
    """The auxiliary head on both graph-level vectors."""

    weight: float = 0.0
    """Factor of the head's loss (squared error of the standardised label, or cross-entropy); 0: no head."""
    pair_tokens: int = 0
    """Soft tokens made from the head's hidden vector, placed before the question; 0: none."""
    pair_tokens_see_output: bool = False
    """Whether the last pair token is made from the head's own output; then much of the answer is the head's.
    A number is given with its sines and cosines, so that its digits can be read off; the output has a token
    of its own, so that an unusual pair does not drown it."""
    hidden: tuple[int, ...] = (256,)
    """Widths of the head's hidden layers."""
    dropout: float = 0.0
    """After each hidden layer."""
    label_smoothing: float = 0.0
    """Yes/no and typed tasks: the head's targets are drawn this far towards the uniform distribution; helps
    where negatives were sampled."""
    neighbours: float = 0.0
    """Yes/no and typed tasks: the training pairs of similar molecules vote on the head's answer, with this
    sharpness (:mod:`moltc.neighbours`; 20 is a start); 0: they do not. It goes with
    ``pair_tokens_see_output``, by which the language model reads them; the scores of classes are then shown
    as probabilities. In training one molecule of each pair, or both, count as unseen."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", tuple(self.hidden))  # a list after a trip through JSON
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"head.hidden lists the widths of the hidden layers, not {list(self.hidden)}")
        if self.weight < 0 or self.pair_tokens < 0:
            raise ValueError("head.weight and head.pair_tokens must not be negative")
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ValueError(f"head.label_smoothing lies between 0 and 1, not {self.label_smoothing}")
        if self.neighbours < 0:
            raise ValueError(f"head.neighbours must be 0 or a sharpness above it, not {self.neighbours}")
        if self.neighbours and not (self.weight and self.pair_tokens_see_output):
            raise ValueError(
                "votes of neighbours are read off the auxiliary head's output: give head.weight a value "
                "above 0, and set head.pair_tokens_see_output"
            )
        if self.pair_tokens_see_output and not self.pair_tokens:
            raise ValueError("head.pair_tokens_see_output needs pair tokens: give head.pair_tokens a number")
        if self.pair_tokens and not self.weight:
            raise ValueError("pair tokens are made by the auxiliary head: give head.weight a value above 0")


WAVELENGTHS = 16.0 / 2.0 ** torch.arange(10)
"""Of the sines and cosines of a head's output, in standard deviations of the label."""


class HeadSpec(NamedTuple):
    """What one head answers: whether the order of its molecules matters not, and how many outputs it has,
    which are a standardised number, log-odds of yes, or scores of classes."""

    symmetric: bool
    outputs: int
    kind: FamilyKind = "number"


class PairGroup(NamedTuple):
    """Prompts of a batch whose pairs go through one head.

    ``prompts`` (long [n]) are their numbers in the batch; ``row_a`` and ``row_b`` (long [n]) say which member
    of the towers ``key_a`` and ``key_b`` their molecules are. ``shift`` (float32 [n]) says how far an output
    is moved before pair tokens are made of it, in standard deviations or classes; 0 but in training.
    ``hidden`` (bool [n, 2]) says which molecules count as unseen when training pairs vote; None: neither.
    """

    head: str
    key_a: str
    key_b: str
    prompts: Tensor
    row_a: Tensor
    row_b: Tensor
    shift: Tensor
    hidden: Tensor | None = None


class PairInputs(NamedTuple):
    """What the towers of a batch of B prompts read.

    ``towers`` holds the distinct molecules, ``groups`` the pairs by head; ``pair`` (long) says which prompts
    ask for pair tokens, in packed order. ``molecules`` (long [M]) are the rows of the molecule table that
    ``towers.graphs`` holds, by which processes know what they have in common.
    """

    towers: TowerInputs
    groups: tuple[PairGroup, ...]
    pair: Tensor
    molecules: Tensor | None = None

    def to(self, device: torch.device | str, non_blocking: bool = False) -> PairInputs:
        """The same inputs on another device."""
        towers = TowerInputs(
            self.towers.graphs.to(device, non_blocking=non_blocking),
            {k: v.to(device, non_blocking=non_blocking) for k, v in self.towers.members.items()},
        )  # shares are made where they are used
        molecules = None if self.molecules is None else self.molecules.to(device, non_blocking=non_blocking)

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=non_blocking)

        groups = tuple(
            g._replace(
                prompts=moved(g.prompts),
                row_a=moved(g.row_a),
                row_b=moved(g.row_b),
                shift=moved(g.shift),
                hidden=None if g.hidden is None else moved(g.hidden),
            )
            for g in self.groups
        )
        return PairInputs(towers, groups, self.pair.to(device, non_blocking=non_blocking), molecules)

    def counted_once(self) -> PairInputs:
        """The same inputs with shares by which each molecule counts once over all processes; all of them
        must ask."""
        if self.molecules is None:
            raise ValueError("these inputs do not say which molecules they hold: name them in molecules")
        members = self.towers.members
        shares = TowerShares(
            1.0 / holders(self.molecules),
            {key: 1.0 / holders(self.molecules[members[key]]) for key in sorted(members)},
        )
        return self._replace(towers=self.towers._replace(shares=shares))


class PairOutput(NamedTuple):
    """Soft tokens by tower key, and each group's outputs [n, outputs] (standardised value, log-odds, or
    scores of the classes); no outputs without a head."""

    soft_tokens: dict[str, Tensor]
    predictions: tuple[Tensor, ...] = ()


class InputNorm(BatchNorm):
    """Batch norm in which an input that never varies says nothing, in evaluation as in training.

    With one solvent for all pairs half of the head's inputs are the same in each batch: training sees 0
    there. Evaluation would divide the drift of the running mean by a variance of almost nothing.
    """

    constant_below = 1e-6

    def forward(self, input: Tensor) -> Tensor:
        normed = super().forward(input)
        if self.training:
            return normed
        assert self.running_var is not None
        return torch.where(self.running_var > self.constant_below, normed, self.bias)


class PairHead(nn.Module):
    """The auxiliary head of one question: an MLP on what two graph-level vectors make together.

    Parameters
    ----------
    pooled_dim : width of a graph-level vector.
    config : sizes, and how many pair tokens are made.
    spec : symmetric heads see nothing of the order.
    out_dim : width H of the language model.
    """

    def __init__(self, pooled_dim: int, config: PairHeadConfig, spec: HeadSpec, out_dim: int) -> None:
        super().__init__()
        self.config, self.spec, self.out_dim = config, spec, out_dim
        width = pooled_dim * (3 if spec.symmetric else 4)
        layers: list[nn.Module] = [InputNorm(width)]
        for hidden in config.hidden:
            layers += [nn.Linear(width, hidden), BatchNorm(hidden), nn.ReLU(), nn.Dropout(config.dropout)]
            width = hidden
        self.body = nn.Sequential(*layers)
        self.out = nn.Linear(width, spec.outputs)
        self.hidden_tokens = config.pair_tokens - config.pair_tokens_see_output
        if self.hidden_tokens:
            self.tokens = nn.Linear(width, self.hidden_tokens * out_dim)
        if config.pair_tokens_see_output:
            waves = 2 * len(WAVELENGTHS) if spec.kind == "number" else 0
            self.output_token = nn.Linear(spec.outputs + waves, out_dim)

    def forward(
        self, a: Tensor, b: Tensor, shift: Tensor, votes: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Vectors [n, d] of both molecules, shifts [n], votes [n, outputs] -> outputs [n, outputs], pair
        tokens [n, Q, H] or None.

        Votes are added to what the pair tokens see and to the answers of evaluation, not to what training
        scores: the head must learn from the molecules themselves.
        """
        hidden = self.body(self._join(a, b))
        learnt = self.out(hidden)
        output = learnt if votes is None else learnt + votes
        answer = learnt if self.training else output
        if not self.config.pair_tokens:
            return answer, None
        tokens = []
        if self.hidden_tokens:
            tokens.append(self.tokens(hidden).view(-1, self.hidden_tokens, self.out_dim))
        if self.config.pair_tokens_see_output:
            shown = self._moved(output, shift)
            if self.spec.kind == "class" and votes is not None:
                shown = shown.softmax(1)
            if self.spec.kind == "number":
                shown = torch.cat([shown, _waves(shown)], dim=1)
            tokens.append(self.output_token(shown)[:, None])
        return answer, torch.cat(tokens, dim=1)

    def _moved(self, output: Tensor, shift: Tensor) -> Tensor:
        """Outputs [n, outputs] as of pairs whose answer is ``shift`` [n] further."""
        if self.spec.kind == "number":
            return output + shift[:, None]
        if self.spec.kind == "binary":
            return output * (1 - 2 * shift[:, None])
        classes = torch.arange(self.spec.outputs, device=output.device)
        return output.gather(1, (classes - shift[:, None].long()) % self.spec.outputs)

    def _join(self, a: Tensor, b: Tensor) -> Tensor:
        if self.spec.symmetric:
            return torch.cat([a + b, a * b, (a - b).abs()], dim=-1)
        return torch.cat([a, b, a * b, (a - b).abs()], dim=-1)


def _waves(output: Tensor) -> Tensor:
    """Sines and cosines [n, 2 W] of one number [n, 1] at W wavelengths."""
    angle = output * (2 * torch.pi / WAVELENGTHS.to(output))
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class PairTowers(nn.Module):
    """Towers of the molecules with the optional heads.

    Parameters
    ----------
    towers : encodes molecules.
    config : the auxiliary heads; weight 0 builds none.
    heads : name -> what a head answers.
    out_dim : width H of the language model.
    """

    def __init__(
        self, towers: TowerSet, config: PairHeadConfig, heads: Mapping[str, HeadSpec], out_dim: int
    ) -> None:
        super().__init__()
        self.towers = towers
        self.config = config
        self.heads = nn.ModuleDict(
            {name: PairHead(towers.pooled_dim, config, spec, out_dim) for name, spec in heads.items()}
            if config.weight
            else {}
        )
        self.votes = nn.ModuleDict(
            {
                name: NeighbourVotes(spec.outputs, spec.symmetric, config.neighbours)
                for name, spec in heads.items()
            }
            if config.neighbours
            else {}
        )

    def voting(self) -> Iterator[tuple[str, NeighbourVotes]]:
        """The votes by head, where there are any."""
        for name, votes in self.votes.items():
            assert isinstance(votes, NeighbourVotes)
            yield name, votes

    @staticmethod
    def read_by_heads(name: str) -> bool:
        """Whether a parameter of this name is reached by the loss of a head: encoders and fingerprint
        embeddings, and the heads but for their pair tokens."""
        if name.startswith("heads."):
            return ".tokens." not in name and ".output_token." not in name
        return ".gnn." in name or ".fingerprint." in name

    def forward(self, inputs: PairInputs) -> PairOutput:
        """Encode the molecules once; soft tokens of every tower, and of the pairs that ask for them."""
        output = self.towers(inputs.towers)
        soft = dict(output.soft_tokens)
        if not self.config.weight or not inputs.groups:
            return PairOutput(soft)
        predictions, tokens = [], []
        voting = len(self.votes) and (len(inputs.pair) or not self.training)  # else nothing reads the votes
        molecules = Substructures.of(inputs.towers.graphs) if voting else None
        for group in inputs.groups:
            a = output.pooled[group.key_a][group.row_a]
            b = output.pooled[group.key_b][group.row_b]
            votes = None
            if molecules is not None and group.head in self.votes:
                row_a = inputs.towers.members[group.key_a][group.row_a]
                row_b = inputs.towers.members[group.key_b][group.row_b]
                votes = self.votes[group.head](molecules, row_a, row_b, group.hidden)
            predicted, made = self.heads[group.head](a, b, group.shift, votes)
            predictions.append(predicted)
            if made is not None:
                tokens.append(made)
        if tokens:
            prompts = torch.cat([group.prompts for group in inputs.groups])
            place = torch.full((int(prompts.max()) + 1,), -1, dtype=torch.long, device=prompts.device)
            place[prompts] = torch.arange(len(prompts), device=prompts.device)
            soft[PAIR] = torch.cat(tokens)[place[inputs.pair]]  # [M, Q, H]
        return PairOutput(soft, tuple(predictions))
