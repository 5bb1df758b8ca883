"""GRU4Rec (Hidasi et al., ICLR 2016) as DROS and LLaRA (arXiv 2312.02445) use it: one layer, no dropout."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence


class GRU4Rec(nn.Module):
    """A recurrent layer over the real places; its last state meets an output layer of its own.

    Args:
        num_items: size I of the catalogue; number I pads.
        hidden: width d.
        item_std: standard deviation of the item table at the start.
    """

    def __init__(self, num_items: int, hidden: int = 64, *, item_std: float = 0.01) -> None:
        super().__init__()
        self.num_items, self.hidden = num_items, hidden
        self.item_embeddings = nn.Embedding(num_items + 1, hidden)
        self.gru = nn.GRU(hidden, hidden, batch_first=True)
        self.s_fc = nn.Linear(hidden, num_items)
        nn.init.normal_(self.item_embeddings.weight, std=item_std)

    def encode(self, rows: Tensor, lengths: Tensor) -> Tensor:
        """States after the last real place, ``[B, d]``; rows ``[B, L]`` padded on the right, lengths ``[B]``
        from 1."""
        packed = pack_padded_sequence(
            self.item_embeddings(rows), lengths.cpu(), batch_first=True, enforce_sorted=False
        )
        _, last = self.gru(packed)  # [1, B, d]
        return last[0]

    def forward(self, rows: Tensor, lengths: Tensor) -> Tensor:
        """Scores ``[B, I]``."""
        return self.s_fc(self.encode(rows, lengths))
