"""Soft tokens from a recommender's states, spliced into the prompts of a language model.

soft = reader(states) -> prompt = splice(text, begin, soft, end) -> answer = language model(prompt)

RecInterpreter (arXiv 2310.20487) trains the reader and leaves recommender and language model as they are. A
small language model that starts from random weights knows nothing that could be read with, so it is trained
first, on titles alone: it answers the same prompts about digests that are made of the titles' own token
embeddings. These digests pass through a reader of their own, which is then laid aside.

Letters: M histories, N items, L places, d width of the recommender, Q soft tokens, H width of the language
model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from graphrec.recinterpreter.config import RecInterpreterConfig
from graphrec.recinterpreter.prompts import ITEM, SEQUENCE
from graphrec.recinterpreter.reader import StateReader
from moltc.backbone.language_model import LanguageModel
from moltc.backbone.packing import PackedTrees
from moltc.backbone.soft_prompt_lm import Completions, SoftPromptLM

MARKS = 2
"""Vectors around the soft tokens of an entity: where it begins and where it ends."""
MARK_STD = 0.02


@dataclass(frozen=True)
class Evidence:
    """What prompts are about; an entity of a prompt is a row of the one or the other.

    Attributes:
        states: of M histories, the latest place last, ``[M, L, d]``.
        mask: places that have a state, bool ``[M, L]``.
        vectors: of N items, ``[N, d]``.
    """

    states: Tensor
    mask: Tensor
    vectors: Tensor

    @classmethod
    def of_histories(cls, states: Any, mask: Any) -> Evidence:
        """Evidence on histories alone, from arrays ``[M, L, d]`` and ``[M, L]``."""
        states = torch.as_tensor(states)
        return cls(states, torch.as_tensor(mask), states.new_zeros(0, states.shape[2]))

    @classmethod
    def of_items(cls, vectors: Any, length: int) -> Evidence:
        """Evidence on items alone, from an array ``[N, d]``."""
        vectors = torch.as_tensor(vectors)
        states = vectors.new_zeros(0, length, vectors.shape[1])
        return cls(states, torch.zeros(states.shape[:2], dtype=torch.bool), vectors)

    def to(self, device: torch.device | str) -> Evidence:
        """The same on a device."""
        return Evidence(self.states.to(device), self.mask.to(device), self.vectors.to(device))

    def select(self, entities: Mapping[str, Sequence[Any]]) -> Evidence:
        """The rows of some entities by role, in their order."""
        histories, items = (
            torch.tensor(entities.get(role, ()), dtype=torch.long, device=self.states.device)
            for role in (SEQUENCE, ITEM)
        )
        return Evidence(self.states[histories], self.mask[histories], self.vectors[items])


class SoftTokens(NamedTuple):
    """What the language model reads, see :class:`moltc.backbone.soft_prompt_lm.SoftPromptLM`."""

    soft_tokens: dict[str, Tensor]
    """Role -> ``[entities, 2 + Q, H]``."""


class Readers(nn.Module):
    """A reader of histories and one of single items, with marks that both use.

    Args:
        width: of what is read.
        out_dim: H.
        config: sizes and form.
    """

    def __init__(self, width: int, out_dim: int, config: RecInterpreterConfig) -> None:
        super().__init__()
        form: dict[str, Any] = {"soft_tokens": config.soft_tokens, "projector": config.projector}
        self.sequence = StateReader(width, config.length, out_dim, reads=config.reads, **form)
        self.item = StateReader(width, 1, out_dim, reads="last", **form)

    def forward(self, evidence: Evidence) -> dict[str, Tensor]:
        """Soft tokens by role, ``[M, Q, H]`` and ``[N, Q, H]``."""
        each = evidence.mask.new_ones(len(evidence.vectors), 1)
        return {
            SEQUENCE: self.sequence(evidence.states, evidence.mask),
            ITEM: self.item(evidence.vectors.unsqueeze(1), each),
        }


class InterpreterNetwork(nn.Module):
    """Readers of states and of titles, and the language model.

    Args:
        language_model: the text side.
        width: d.
        config: sizes and form; with ``language_steps`` there are readers of title digests too.
    """

    def __init__(self, language_model: LanguageModel, width: int, config: RecInterpreterConfig) -> None:
        super().__init__()
        self.lm = SoftPromptLM(language_model)
        hidden = language_model.hidden_size
        self.readers = Readers(width, hidden, config)
        self.title_readers = Readers(hidden, hidden, config) if config.language_steps else None
        self.marks = nn.ParameterDict(
            {role: nn.Parameter(torch.randn(MARKS, hidden) * MARK_STD) for role in (SEQUENCE, ITEM)}
        )
        self.noise: Tensor
        self.register_buffer("noise", torch.zeros(width))  # of item vectors in training, by dimension
        self.source: Tensor
        self.register_buffer("source", torch.zeros(1, dtype=torch.long))  # names what is read

    @property
    def soft_run(self) -> int:
        """Soft tokens of an entity, marks included."""
        return MARKS + self.readers.sequence.soft_tokens

    @property
    def embeddings(self) -> Tensor:
        """Token embeddings, ``[V, H]``."""
        weight: Tensor = self.lm.language_model.causal_lm.get_input_embeddings().weight
        return weight

    def reading(self) -> list[nn.Parameter]:
        """What reads states, marks included: the adapter."""
        return [*self.readers.parameters(), *self.marks.parameters()]

    def writing(self) -> list[nn.Parameter]:
        """The language model and what it reads title digests with."""
        titles = [] if self.title_readers is None else self.title_readers.parameters()
        return [*self.lm.parameters(), *titles, *self.marks.parameters()]

    def train_only(self, chosen: Sequence[nn.Parameter]) -> None:
        """Let some parameters be trained and no others."""
        wanted = set(map(id, chosen))
        for parameter in self.parameters():
            parameter.requires_grad_(id(parameter) in wanted)

    def soft_tokens(self, evidence: Evidence, *, titles: bool = False) -> SoftTokens:
        """Soft tokens of all rows of the evidence, between their marks.

        Args:
            titles: the evidence is made of title embeddings, and is read as such.
        """
        readers = self.title_readers if titles else self.readers
        if readers is None:
            raise ValueError(
                "this language model was not trained on titles, so that it reads no title digests"
            )
        found = {}
        for role, soft in readers(evidence).items():
            begin, end = (mark.expand(len(soft), 1, -1) for mark in self.marks[role])
            found[role] = torch.cat([begin, soft, end], dim=1)
        return SoftTokens(found)

    def score(self, packed: PackedTrees, evidence: Evidence, *, titles: bool = False) -> Completions:
        """Log-probabilities of the completions of packed prompts.

        Args:
            evidence: its rows are the entities of the prompts, in their order.
        """
        return self.lm.score(packed, self.soft_tokens(evidence, titles=titles))
