"""A language model that reads titles and item vectors, in the shape that every method of the package shares.

Prompts are pieces of text and soft tokens of items; titles are completions. All of it stands on
:class:`moltc.backbone.soft_prompt_lm.SoftPromptLM`, so preference losses and decoding work on it unchanged.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from graphrec.histories import Histories
from graphrec.language.config import ItemForm
from graphrec.language.constrained import decode_tries
from graphrec.language.titles import end_mark, title_tokens
from graphrec.language.tokenizer import KnownText
from graphrec.language.towers import ITEM, Entity, ItemInputs, ItemTower, SoftTokens, States, item_inputs
from graphrec.language.windows import TitleBatch, history_tree, title_windows
from moltc.backbone.decoding import generate
from moltc.backbone.language_model import LanguageModel
from moltc.backbone.packing import PackedTrees
from moltc.backbone.prompt import Piece, PromptTree
from moltc.backbone.soft_prompt_lm import Completions, SoftPromptLM
from moltc.backbone.trie import TokenTrie

NEW_TOKENS = 64


@dataclass(frozen=True)
class Reading:
    """How items are shown.

    Attributes:
        form: what of an item is shown.
        end: "end" or "newline", what ends a title.
    """

    form: ItemForm = "hybrid"
    end: str = "end"


class ItemLanguageModel(SoftPromptLM):
    """Titles and soft tokens of items before a language model.

    Args:
        language_model: with its tokenizer.
        tower: soft tokens of items.
        titles: of every item.
        reading: how items are shown.
        dropout: share of embedded features dropped while training.

    Attributes:
        builder: turns pieces of text into ids, each distinct text once.
        titles: token ids of each item's title with the end mark, one row for each item.
        states: gives the states that soft tokens hold; None: they hold none.
    """

    towers: ItemTower
    states: States | None

    def __init__(
        self,
        language_model: LanguageModel,
        tower: ItemTower,
        titles: Sequence[str],
        reading: Reading,
        *,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(language_model, tower)
        self.reading = reading
        self.states = None
        self.dropout = nn.Dropout(dropout)
        self.builder = KnownText(language_model.tokenizer, _one_tower, num_queries=1)
        self.end = end_mark(self.builder, reading.end)
        self.titles: Histories = title_tokens(titles, self.builder, self.end)

    @property
    def start_id(self) -> int:
        """The token that a prompt of items begins with."""
        tokenizer = self.language_model.tokenizer
        bos = tokenizer.bos_token_id
        return int(tokenizer.eos_token_id if bos is None else bos)

    @property
    def pad_id(self) -> int:
        """What fills places that nothing reads."""
        return int(self.language_model.tokenizer.pad_token_id or 0)

    # -- prompts ---------------------------------------------------------------------------------------------

    def windows(self, rows: Histories) -> TitleBatch:
        """Windows of items whose every title is a target, see :mod:`graphrec.language.windows`."""
        return title_windows(
            rows,
            self.titles,
            start_id=self.start_id,
            pad_id=self.pad_id,
            form=self.reading.form,
            states=self._states,
        )

    def history(self, items: Sequence[int], completions: Sequence[np.ndarray] = ()) -> PromptTree:
        """The prompt of a history, as :meth:`windows` shows it."""
        return history_tree(
            items,
            self.titles,
            start_id=self.start_id,
            pad_id=self.pad_id,
            form=self.reading.form,
            with_states=self._states is not None,
            completions=completions,
        )

    def prompt(
        self,
        pieces: Sequence[Piece],
        entities: Mapping[int, Entity] | None = None,
        completions: Sequence[str | np.ndarray] = (),
    ) -> PromptTree:
        """The prompt of some pieces of text and soft marks.

        Args:
            entities: slot number -> what its soft token stands for.
            completions: texts, which get the end mark, or token ids.
        """
        ids = [self.completion(text) if isinstance(text, str) else text for text in completions]
        return self.builder.layout(pieces).tree(entities or {}, ids)

    def completion(self, text: str) -> np.ndarray:
        """Ids of a text that follows a prompt, with the end mark."""
        return np.concatenate([self.builder.following(text), self.end])

    def title(self, item: int) -> np.ndarray:
        """Ids of an item's title, with the end mark."""
        end = int(self.titles.ends[item])
        start = int(self.titles.ends[item - 1]) if item else 0
        return self.titles.items[start:end]

    @property
    def _states(self) -> States | None:
        return None if self.reading.form == "text" else self.states

    # -- soft tokens -----------------------------------------------------------------------------------------

    def inputs(self, entities: Mapping[str, Sequence[Hashable]], *, shown: bool | None = None) -> ItemInputs:
        """The tower's inputs for ``packed.entities``.

        Args:
            shown: whether soft tokens are shown; None: unless the form is "text".
        """
        shows = self.reading.form != "text" if shown is None else shown
        return item_inputs(entities.get(ITEM, ()), self._states, shown=shows).to(self.device)

    def encode(self, inputs: ItemInputs | None) -> SoftTokens | None:
        """Soft tokens, or None where a batch has none."""
        return None if inputs is None or not len(inputs.items) else self.towers(inputs)

    def embed(self, packed: PackedTrees, encoded: SoftTokens | None) -> Tensor:
        """Input embeddings ``[R, T, D]`` with the soft tokens in their places, some features dropped."""
        embedded: Tensor = self.dropout(super().embed(packed, encoded))
        return embedded

    # -- what is asked ---------------------------------------------------------------------------------------

    def batch(
        self, trees: Sequence[PromptTree], row_tokens: int | None = None
    ) -> tuple[PackedTrees, ItemInputs]:
        """Pack trees and gather what their soft tokens stand for."""
        packed = self.pack(trees, row_tokens)
        return packed.to(self.device), self.inputs(packed.entities)

    def log_probs(self, trees: Sequence[PromptTree], *, shown: bool | None = None) -> Completions:
        """Log-probabilities of all completions, sums over tokens, with gradients where they are on.

        Args:
            shown: as in :meth:`inputs`.
        """
        packed = self.pack(trees)
        return self(packed.to(self.device), self.inputs(packed.entities, shown=shown))

    def generate(
        self,
        trees: Sequence[PromptTree],
        *,
        max_new_tokens: int = NEW_TOKENS,
        shown: bool | None = None,
    ) -> list[str]:
        """The text that follows each prompt, greedily, up to the end mark."""
        stops = {int(self.end[0]), int(self.language_model.tokenizer.eos_token_id)}
        written = generate(
            self, trees, self._encoded(trees, shown), max_new_tokens=max_new_tokens, stop=sorted(stops)
        )
        return [self.text(ids) for ids in written]

    def constrained(
        self, trees: Sequence[PromptTree], tries: Sequence[TokenTrie], *, shown: bool | None = None
    ) -> np.ndarray:
        """Which sequence of its trie follows each prompt, greedily, int64 ``[B]``.

        Args:
            tries: one for each prompt, or one for all.
        """
        return decode_tries(self, trees, tries, self._encoded(trees, shown))

    def _encoded(self, trees: Sequence[PromptTree], shown: bool | None) -> SoftTokens | None:
        entities = {ITEM: list(dict.fromkeys(run.entity for tree in trees for run in tree.slots))}
        return self.encode(self.inputs(entities, shown=shown))

    def text(self, ids: Sequence[int] | np.ndarray) -> str:
        """Text of generated ids, up to the end mark."""
        stops = np.flatnonzero(np.isin(ids, [self.end[0], self.language_model.tokenizer.eos_token_id]))
        kept = ids[: stops[0]] if len(stops) else ids
        return str(self.language_model.tokenizer.decode(kept, skip_special_tokens=True)).strip()

    def hidden_of(self, texts: Sequence[str], *, adapter: bool = True) -> Tensor:
        """Last hidden state of the last token of each text, ``[N, D]``.

        Args:
            adapter: False: LoRA adapters are switched off, so that the base model reads.
        """
        trees = [self.prompt([text]) for text in texts]
        packed = self.pack(trees).to(self.device)
        with nullcontext() if adapter else self.without_adapter():
            states = self.hidden(packed).flatten(0, 1)
        return states[packed.prompt_end]

    def without_adapter(self) -> AbstractContextManager[None]:
        """The base model within; a model that has no adapter is itself its base."""
        disable: Callable[[], AbstractContextManager[None]] | None = getattr(
            self.language_model.model, "disable_adapter", None
        )
        if self.language_model.config.training != "lora" or disable is None:
            return nullcontext()
        return disable()


def _one_tower(role: str, slot: int) -> str:
    """Every soft mark of a prompt is an item, whatever its role."""
    return ITEM
