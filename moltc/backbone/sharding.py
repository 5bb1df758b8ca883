"""Fully sharded training: weights, gradients and optimiser state spread over processes (FSDP2).

The idea is that of ZeRO stage 3 (Rajbhandari et al. 2020, arXiv 1910.02054) and of PyTorch FSDP (Zhao et al.
2023, arXiv 2304.11277): a part's weights are gathered when it runs and dropped behind it. All processes must
then run the same parts equally often. Training does; answering, whose steps depend on what is written, does
not, so weights are held whole while a model answers.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers.modeling_layers import GradientCheckpointingLayer

from moltc.backbone.language_model import LanguageModel


def decoder_layers(language_model: LanguageModel) -> list[nn.Module]:
    """The layers of a language model, as units of sharding.

    Raises
    ------
    ValueError : the architecture does not say which modules they are.
    """
    found = [m for m in language_model.model.modules() if isinstance(m, GradientCheckpointingLayer)]
    if not found:
        kind = language_model.hf_config.model_type
        raise ValueError(f"the layers of {kind} are not known, so it cannot be sharded: train it under DDP")
    return list(found)


def shard(root: nn.Module, parts: Iterable[nn.Module], mesh: DeviceMesh, entries: Iterable[str]) -> None:
    """Spread the weights of ``root`` over the processes of a mesh of one dimension.

    Parameters
    ----------
    parts : modules inside, each gathered when it is called; what is in none of them is gathered by ``root``.
    entries : methods of ``root`` that training calls; no other may run while the weights are spread.
    """
    for part in parts:
        fully_shard(part, mesh=mesh)
    fully_shard(root, mesh=mesh)
    for name in entries:
        register_fsdp_forward_method(root, name)


def is_sharded(module: nn.Module) -> bool:
    """Whether :func:`shard` was called on it."""
    return isinstance(module, FSDPModule)


def hold_whole(root: nn.Module) -> None:
    """Gather all weights in every process until :func:`let_go`; does nothing where none is spread."""
    for part in _units(root):
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()


def let_go(root: nn.Module) -> None:
    """End what :func:`hold_whole` began; in training the root's own weights stay until the backward pass."""
    for part in _units(root):
        part.set_reshard_after_forward(part is not root, recurse=False)
        part.reshard()


def _units(root: nn.Module) -> Iterator[FSDPModule]:
    return (module for module in root.modules() if isinstance(module, FSDPModule))


# -- whole tensors and their parts -------------------------------------------------------------------


def whole(tensor: Tensor) -> Tensor:
    """A tensor, gathered where it is spread; then all processes must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def spread(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor as ``like`` is: this process's part where that is spread."""
    if not isinstance(like, DTensor) or tensor.shape != like.shape:
        return tensor
    local = tensor.to(like.device)
    return distribute_tensor(local, like.device_mesh, like.placements, src_data_rank=None)


def whole_state(module: nn.Module, names: Collection[str]) -> dict[str, Tensor]:
    """The named entries of a module's state; where they are spread, whole and on the CPU in the first process
    and none in the others. All processes must ask."""
    state = {name: tensor for name, tensor in module.state_dict().items() if name in names}
    if not any(isinstance(tensor, DTensor) for tensor in state.values()):
        return state
    first, found = dist.get_rank() == 0, {}
    for name, tensor in state.items():
        gathered = whole(tensor)
        if first:
            found[name] = gathered.cpu()
    return found


def whole_optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The state of an optimiser as one process would have it; all processes must ask."""
    state = optimizer.state_dict()
    state["state"] = {
        number: {key: whole(v).cpu() if isinstance(v, DTensor) else v for key, v in entry.items()}
        for number, entry in state["state"].items()
    }
    return state


def load_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """The mirror of :func:`whole_optimizer_state`, also for what one process or DDP saved."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    parts = {
        number: {key: spread(v, parameters[number]) if isinstance(v, Tensor) else v for key, v in one.items()}
        for number, one in state["state"].items()
    }
    optimizer.load_state_dict(state | {"state": parts})
