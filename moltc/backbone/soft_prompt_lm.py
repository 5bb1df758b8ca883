"""SoftPromptLM = towers + language model: log-probabilities and answers for prompts that hold soft tokens.

soft = towers(entities) -> embeddings = scatter(embed(ids), soft) -> hidden = llm(embeddings) -> head(hidden)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from moltc.backbone.checkpoint import load_text_model, read_config, save_model
from moltc.backbone.language_model import LanguageModel
from moltc.backbone.packing import PackedTrees, pack
from moltc.backbone.prompt import PromptTree

KIND = "soft-prompt-lm"
CARD = """# Language model: {name}

{type}, {parameters:,} parameters, {trained:,} of them trained.

```python
from moltc.backbone.soft_prompt_lm import SoftPromptLM
model = SoftPromptLM.from_pretrained("this folder")
```
"""


@dataclass
class Completions:
    """Scored completions of a batch.

    Attributes
    ----------
    logps : [C] sum of the token log-probabilities of each completion.
    token_logps : [P] log-probability of each scored token, completions one after the other.
    lengths : long [C] scored tokens, the end token included.
    owner : long [C] the prompt that each completion belongs to.
    num_completions : long [B].
    """

    logps: Tensor
    token_logps: Tensor
    lengths: Tensor
    owner: Tensor
    num_completions: Tensor

    def padded(self) -> tuple[Tensor, Tensor]:
        """Log-probabilities as [B, K] (K the largest number of completions), 0 where there is none, and the
        mask, bool [B, K], of those that exist.
        """
        counts = self.num_completions
        width = int(counts.max()) if len(counts) else 0
        mask = torch.arange(width, device=counts.device) < counts[:, None]
        padded = self.logps.new_zeros(mask.shape).masked_scatter(mask, self.logps)
        return padded, mask


class SoftPromptLM(nn.Module):
    """A language model that reads soft tokens.

    Parameters
    ----------
    language_model : the text side.
    towers : module that maps its inputs to an object with ``soft_tokens: {tower key: [M, Q, H]}``, or None
        for plain text.
    """

    def __init__(self, language_model: LanguageModel, towers: nn.Module | None = None) -> None:
        super().__init__()
        self.language_model = language_model
        self.towers = towers

    @property
    def device(self) -> torch.device:
        """Where the language model is."""
        return self.language_model.device

    def pack(self, trees: Sequence[PromptTree], row_tokens: int | None = None) -> PackedTrees:
        """Pack trees the way this model's architecture takes them; a path too long for it is an error."""
        lm = self.language_model
        return pack(
            trees,
            sharing=lm.sharing,
            row_tokens=row_tokens,
            pad_id=lm.tokenizer.pad_token_id or 0,
            max_positions=lm.max_positions,
        )

    def encode(self, inputs: Any) -> Any:
        """Run the towers; None without towers."""
        return None if self.towers is None else self.towers(inputs)

    def embed(self, packed: PackedTrees, encoded: Any) -> Tensor:
        """Input embeddings [R, T, H] with the soft tokens in their places, written by one scatter.

        Raises
        ------
        ValueError : a soft token of the prompts was not encoded, or the towers' output has another shape.
        """
        embeddings = self.language_model.embed(packed.input_ids)
        if packed.slot_index.numel() == 0:
            return embeddings
        if encoded is None:
            raise ValueError("the prompts hold soft tokens, but no towers encoded them")
        width = embeddings.shape[-1]
        parts = [_checked(encoded.soft_tokens, key, packed, width) for key in packed.entities]
        soft = torch.cat([part.flatten(0, 1) for part in parts])
        flat = embeddings.reshape(-1, width)
        flat = flat.index_copy(0, packed.slot_index, soft[packed.slot_source].to(flat.dtype))
        return flat.view(embeddings.shape)

    def hidden(self, packed: PackedTrees, encoded: Any = None) -> Tensor:
        """Last hidden states [R, T, H] of a packed batch."""
        lm = self.language_model
        return lm.hidden(self.embed(packed, encoded), packed.position_ids, lm.mask(packed))

    def score(self, packed: PackedTrees, encoded: Any = None) -> Completions:
        """Log-probabilities of all completions of a packed batch, given the towers' output."""
        return self.score_hidden(packed, self.hidden(packed, encoded).flatten(0, 1))

    def score_hidden(self, packed: PackedTrees, hidden: Tensor) -> Completions:
        """The same from the batch's last hidden states, flat: [R * T, H]."""
        token_logps = self.language_model.label_logps(hidden[packed.score_from], packed.score_label)
        logps = token_logps.new_zeros(len(packed.lengths)).index_add(0, packed.score_owner, token_logps)
        return Completions(logps, token_logps, packed.lengths, packed.owner, packed.num_completions)

    def forward(self, packed: PackedTrees, inputs: Any = None) -> Completions:
        """Encode the entities once, then :meth:`score`."""
        return self.score(packed, self.encode(inputs))

    @torch.no_grad()
    def logps(self, trees: Sequence[PromptTree], inputs: Any = None) -> Completions:
        """Log-probabilities of the completions of a few trees, without gradients.

        ``inputs`` are the towers' inputs, with the distinct entities in the order of
        ``pack(trees).entities``.
        """
        return self(self.pack(trees).to(self.device), inputs)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a plain text model to a folder, whole or not at all.

        Raises
        ------
        ValueError : the model has towers: what their inputs mean is known to the model around it, which saves
            itself.
        """
        if self.towers is not None:
            raise ValueError(
                "a model with towers is saved by the model that feeds them, not as plain text model"
            )
        card = CARD.format(**self.language_model.describe())
        save_model(folder, self, self.language_model, kind=KIND, settings={}, card=card)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """The mirror of :meth:`save_pretrained`, in evaluation mode; a CheckpointError says what is amiss."""
        return cls(load_text_model(folder, read_config(folder, kind=KIND))).eval()


def _checked(soft_tokens: dict[str, Tensor], key: str, packed: PackedTrees, width: int) -> Tensor:
    """Soft tokens [M, Q, H] of one tower, checked against what the packed prompts need."""
    if key not in soft_tokens:
        raise ValueError(f"no tower encodes {key!r}; the towers are {sorted(soft_tokens)}")
    needed = [len(packed.entities[key]), packed.num_queries[key], width]
    if list(soft_tokens[key].shape) != needed:
        raise ValueError(
            f"tower {key!r} gave soft tokens {list(soft_tokens[key].shape)}, the prompts need {needed} "
            "(entities of the batch, soft tokens of each, width of the language model)"
        )
    return soft_tokens[key]
