"""Fully sharded data parallelism: every process keeps its part of the weights, gradients and optimiser state."""

from datetime import timedelta
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.strategies import ModelParallelStrategy, Strategy
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer
from torch.utils._pytree import tree_map
from transformers.modeling_layers import GradientCheckpointingLayer

from datamodules.errors import InputError
from lightning_modules.checkpoints import trained_state
from lightning_modules.recommender import LanguageModelRecommender


class FullySharded(ModelParallelStrategy):
    """FSDP2 (`torch.distributed.fsdp.fully_shard`) of policy and frozen reference, for full fine-tuning.

    Lightning's own FSDPStrategy wraps FSDP1, cannot clip gradients by their norm and refuses CPUs. A checkpoint is one
    file as every other strategy writes and reads it, optimiser state included, so a run may go on under another one.

    A validation gathers the policy once and keeps it whole until it ends: processes evaluate different numbers of
    batches and write answers of different lengths, and would wait for each other for ever if every layer was gathered
    when it is met. Test and prediction shard nothing.

    Args:
        timeout: How long a process waits for the others before it ends with an error.
    """

    def __init__(self, timeout: timedelta = timedelta(minutes=30)) -> None:
        if timeout <= timedelta(0):
            raise ValueError(f"timeout={timeout} must be more than no time")
        super().__init__(tensor_parallel_size=1, save_distributed_checkpoint=False, timeout=timeout)

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        """Weights are loaded before they are sharded, and the data's position before a loader is built."""
        return False

    @property
    def lightning_restore_optimizer(self) -> bool:
        """Lightning calls `load_optimizer_state_dict`."""
        return True

    def setup_environment(self) -> None:
        """Joins the processes; all of them share one copy."""
        self._data_parallel_size = self.num_nodes * self.num_processes
        super().setup_environment()

    def setup(self, trainer: pl.Trainer) -> None:
        """Shards what is trained.

        Raises:
            InputError: It cannot be sharded.
        """
        if trainer.state.fn == TrainerFn.FITTING:
            _require_shardable(self.lightning_module)
            _shard(self.lightning_module, self.device_mesh["data_parallel"])
        super().setup(trainer)

    def on_validation_start(self) -> None:
        """Gathers the policy."""
        for part in self._policy_parts():
            part.set_reshard_after_forward(False, recurse=False)
            part.unshard()

    def on_validation_end(self) -> None:
        """Shards it again."""
        for part in self._policy_parts():
            part.set_reshard_after_forward(part is not self.lightning_module, recurse=False)
            part.reshard()

    def _policy_parts(self) -> list[FSDPModule]:
        module = self.lightning_module
        return [part for part in (module, *module.policy.modules()) if isinstance(part, FSDPModule)]

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """Gathers the trained weights on the first process; the others get nothing."""
        return self._gathered(trained_state(self.lightning_module))

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """Gathers the optimiser's state on the first process."""
        return self._gathered(getattr(optimizer, "_optimizer", optimizer).state_dict())

    def _gathered(self, tree: dict[str, Any]) -> dict[str, Any]:
        """One tensor after the other, so that the device holds one of them whole."""

        def gather(leaf: Any) -> Any:
            whole = leaf.full_tensor() if isinstance(leaf, DTensor) else leaf
            if isinstance(whole, Tensor):
                return whole.cpu() if self.is_global_zero else None
            return whole

        gathered: dict[str, Any] = tree_map(gather, tree)
        return gathered if self.is_global_zero else {}

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        """Reads a file whole, on every process."""
        checkpoint: dict[str, Any] = Strategy.load_checkpoint(self, checkpoint_path, weights_only)
        return checkpoint

    def load_model_state_dict(self, checkpoint: Any, strict: bool = True) -> None:
        """Loads the weights of a checkpoint as every strategy does: they are whole still."""
        Strategy.load_model_state_dict(self, checkpoint, strict)

    def load_optimizer_state_dict(self, checkpoint: Any) -> None:
        """Takes this process's part of the optimisers' states."""
        for optimizer, state in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
            own = {
                index: {name: _part_like(parameters[index], value) for name, value in values.items()}
                for index, values in state["state"].items()
            }
            optimizer.load_state_dict({**state, "state": own})


def require_whole_weights(trainer: pl.Trainer, who: str, remedy: str) -> None:
    """Refuses what reads weights or gradients of a module where every process has a part of them.

    Args:
        trainer: The trainer.
        who: What needs them.
        remedy: What to do instead.

    Raises:
        InputError: The strategy is `FullySharded`.
    """
    if isinstance(trainer.strategy, FullySharded):
        raise InputError(
            f"{who} needs whole weights and FullySharded leaves a part to each process: {remedy}"
        )


def _part_like(parameter: Tensor, value: Any) -> Any:
    """This process's part of a tensor that belongs to a parameter; a count of steps stays as it is."""
    if not isinstance(parameter, DTensor) or not isinstance(value, Tensor) or value.shape != parameter.shape:
        return value
    whole = value.to(parameter.device_mesh.device_type)
    return distribute_tensor(whole, parameter.device_mesh, parameter.placements, src_data_rank=None)


def _shard(module: pl.LightningModule, mesh: DeviceMesh) -> None:
    """A layer at a time: its weights are gathered when it is met, and freed after it."""
    for part in module.modules():
        # What every decoder of transformers makes its layers of.
        if isinstance(part, GradientCheckpointingLayer):
            fully_shard(part, mesh=mesh)
    # Embeddings, the last norm and the vocabulary projection, which may be the embeddings.
    fully_shard(module, mesh=mesh)
    for name in ("training_step", "validation_step"):
        register_fsdp_forward_method(module, name)


def _require_shardable(module: pl.LightningModule) -> None:
    if not isinstance(module, LanguageModelRecommender):
        raise InputError(f"{type(module).__name__} is too small to be sharded: use trainer.strategy ddp")
    if module.lora is not None:
        raise InputError(
            "FullySharded is for full fine-tuning and model.lora is set: use trainer.strategy ddp, or leave lora out"
        )
    if getattr(module, "reference_cache", None) is not None:
        raise InputError(
            "a reference cache cannot be filled from a sharded reference: leave model.reference_cache out, or use "
            "trainer.strategy ddp"
        )
