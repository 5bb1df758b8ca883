"""FlexAttention block masks for packed prompt trees.

On a GPU neither mask nor scores exist in full: memory grows with the row, not with its square. On a CPU the
mask is made without compiling, which costs T x T flags for a moment.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

from moltc.backbone.packing import PackedTrees

MaskMod = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]

compiled_create_block_mask = torch.compile(create_block_mask)
"""Compiled at the first call, and once more for rows of any length."""


def mask_mod(packed: PackedTrees, window: int | None = None) -> MaskMod:
    """The rule of :func:`moltc.backbone.packing.attend` as a FlexAttention ``mask_mod``.

    The function takes a row, a head (which it ignores), a query column and a key column, and says whether the
    query sees the key.
    """
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
    device = packed.tree.device
    create = compiled_create_block_mask if device.type == "cuda" else create_block_mask
    return create(mask_mod(packed, window), rows, None, length, length, device=str(device))
