"""FlexAttention block masks for packed prompt trees: memory grows with the row, not with its square."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

from moltc.backbone.packing import PackedTrees


def mask_mod(packed: PackedTrees, window: int | None = None) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """The rule of :func:`moltc.backbone.packing.attend` as a FlexAttention ``mask_mod``."""
    tree, branch, position = packed.tree, packed.branch, packed.position_ids

    def allowed(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        seen = (tree[row, query] == tree[row, key]) & (key <= query)
        seen = seen & ((branch[row, key] == 0) | (branch[row, query] == branch[row, key]))
        if window is not None:
            seen = seen & ((position[row, query] - position[row, key] < window) | (query == key))
        return seen

    return allowed


def block_mask(packed: PackedTrees, window: int | None = None) -> BlockMask:
    """Block-sparse mask of a packed batch, [R, 1, T, T]."""
    rows, length = packed.tree.shape
    return create_block_mask(mask_mod(packed, window), rows, None, length, length, device=str(packed.tree.device))
