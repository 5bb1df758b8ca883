"""How several processes train: data parallel (DDP), or with weights spread over them (FSDP2).

Lightning's strategies do the work. Added here: DDP is told when a step leaves parameters out, and ``fsdp2``
writes the checkpoints that one process writes, so that a run may go on, be tested and exported anywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import (
    DDPStrategy,
    FSDPStrategy,
    ModelParallelStrategy,
    ParallelStrategy,
    Strategy,
    StrategyRegistry,
)
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh

from moltc.backbone.sharding import load_optimizer_state, spread, whole_optimizer_state, whole_state

FSDP2 = "fsdp2"


class Stored(Protocol):
    """A Lightning module that says what of its state belongs in a checkpoint."""

    def stored_names(self) -> list[str]:
        """Names of entries of ``state_dict``."""
        ...


def tell_of_unused_parameters(strategy: Strategy, some: bool) -> None:
    """Let DDP look for parameters without gradients where steps leave some out, unless it was configured to
    (not to); it must be told before it wraps the model."""
    if isinstance(strategy, DDPStrategy):
        strategy._ddp_kwargs.setdefault("find_unused_parameters", some)


class ShardedStrategy(ModelParallelStrategy):
    """FSDP2 over all processes, on any device: ``trainer.strategy: fsdp2``.

    The Lightning module spreads its weights in ``configure_model``, over :attr:`data_mesh`.

    Parameters
    ----------
    process_group_backend : nccl, gloo, ...; None: what suits the device.
    """

    def __init__(self, process_group_backend: str | None = None) -> None:
        super().__init__(save_distributed_checkpoint=False, process_group_backend=process_group_backend)

    @property
    def data_mesh(self) -> DeviceMesh:
        """All processes, in one dimension."""
        return self.device_mesh["data_parallel"]

    def setup_environment(self) -> None:
        self._data_parallel_size, self._tensor_parallel_size = self.num_nodes * self.num_processes, 1
        super().setup_environment()

    @property
    def lightning_restore_optimizer(self) -> bool:
        return True

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """What belongs in a checkpoint, whole; empty in all processes but the first."""
        learner = self.lightning_module
        assert learner is not None
        return whole_state(learner, set(cast(Stored, learner).stored_names()))

    def optimizer_state(self, optimizer: Any) -> dict[str, Any]:
        inner = optimizer._optimizer if isinstance(optimizer, LightningOptimizer) else optimizer
        return whole_optimizer_state(inner)

    def save_checkpoint(self, checkpoint: dict[str, Any], filepath: Any, storage_options: Any = None) -> None:
        ParallelStrategy.save_checkpoint(self, checkpoint, filepath, storage_options)

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        return ParallelStrategy.load_checkpoint(self, checkpoint_path, weights_only)

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        learner = self.lightning_module
        assert learner is not None
        places: dict[str, Tensor] = learner.state_dict()
        state = {name: spread(tensor, places[name]) for name, tensor in checkpoint["state_dict"].items()}
        learner.load_state_dict(state, strict=strict)

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            load_optimizer_state(optimizer, state)


def check_parallel(strategy: Any, sync_batchnorm: bool | None) -> None:
    """Refuse options of a trainer that would not do here what they say.

    Raises
    ------
    ValueError : with what to give instead.
    """
    if sync_batchnorm:
        raise ValueError("batch norm takes the rows of all processes by itself: leave sync_batchnorm out")
    other = isinstance(strategy, (FSDPStrategy, ModelParallelStrategy))
    if strategy in ("fsdp", "fsdp_cpu_offload") or (other and not isinstance(strategy, ShardedStrategy)):
        raise ValueError(f"weights are spread by trainer.strategy {FSDP2}: give that")


if FSDP2 not in StrategyRegistry:
    StrategyRegistry.register(FSDP2, ShardedStrategy, description="FSDP2 over all processes")
