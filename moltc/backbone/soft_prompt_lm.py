"""SoftPromptLM = towers + language model: log-probabilities and answers for prompts that hold soft tokens.

    soft = towers(entities) . embeddings = scatter(embed(ids), soft) . hidden = llm(embeddings) . logps = head(hidden)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from moltc.backbone.language_model import LanguageModel
from moltc.backbone.packing import PackedTrees, pack
from moltc.backbone.prompt import PromptTree


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
        """Log-probabilities as [B, K] (K the largest number of completions) and the mask of those that exist."""
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
    towers : module that maps its inputs to an object with ``soft_tokens: {tower key: [M, Q, H]}``, or None for plain text.
    """

    def __init__(self, language_model: LanguageModel, towers: nn.Module | None = None) -> None:
        super().__init__()
        self.language_model = language_model
        self.towers = towers

    @property
    def device(self) -> torch.device:
        return self.language_model.device

    def pack(self, trees: Sequence[PromptTree], row_tokens: int | None = None) -> PackedTrees:
        """Pack trees the way this model's architecture takes them."""
        lm = self.language_model
        pad = lm.tokenizer.pad_token_id
        sharing = lm.sharing
        return pack(trees, sharing=sharing, row_tokens=row_tokens, pad_id=pad if pad is not None else 0)

    def encode(self, inputs: Any) -> Any:
        """Run the towers; None without towers."""
        return None if self.towers is None else self.towers(inputs)

    def embed(self, packed: PackedTrees, encoded: Any) -> Tensor:
        """Input embeddings [R, T, H] with the soft tokens in their places, written by one scatter."""
        embeddings = self.language_model.embed(packed.input_ids)
        if packed.slot_index.numel() == 0:
            return embeddings
        if encoded is None:
            raise ValueError("the prompts hold soft tokens, but no towers encoded them")
        width = embeddings.shape[-1]
        missing = [key for key in packed.entities if key not in encoded.soft_tokens]
        if missing:
            raise ValueError(f"no tower encodes {missing}; the towers are {sorted(encoded.soft_tokens)}")
        soft = torch.cat([encoded.soft_tokens[key].reshape(-1, width) for key in packed.entities])
        flat = embeddings.reshape(-1, width)
        flat = flat.index_copy(0, packed.slot_index, soft[packed.slot_source].to(flat.dtype))
        return flat.view(embeddings.shape)

    def hidden(self, packed: PackedTrees, encoded: Any = None) -> Tensor:
        """Last hidden states [R, T, H] of a packed batch."""
        lm = self.language_model
        return lm.hidden(self.embed(packed, encoded), packed.position_ids, lm.mask(packed))

    def score(self, packed: PackedTrees, encoded: Any = None) -> Completions:
        """Log-probabilities of all completions of a packed batch, given the towers' output."""
        hidden = self.hidden(packed, encoded).flatten(0, 1)[packed.score_from]
        token_logps = self.language_model.label_logps(hidden, packed.score_label)
        logps = token_logps.new_zeros(len(packed.lengths)).index_add(0, packed.score_owner, token_logps)
        return Completions(logps, token_logps, packed.lengths, packed.owner, packed.num_completions)

    def forward(self, packed: PackedTrees, inputs: Any = None) -> Completions:
        """Encode the entities once, then :meth:`score`."""
        return self.score(packed, self.encode(inputs))

    @torch.no_grad()
    def logps(self, trees: Sequence[PromptTree], inputs: Any = None) -> Completions:
        """Log-probabilities of the completions of a few trees, without gradients.

        ``inputs`` are the towers' inputs, with the distinct entities in the order of ``pack(trees).entities``.
        """
        return self(self.pack(trees).to(self.device), inputs)
