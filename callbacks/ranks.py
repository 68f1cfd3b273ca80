"""State that every process has its own of."""

from typing import TypeVar

import torch.distributed as dist

T = TypeVar("T")


def of_all_ranks(own: T) -> list[T]:
    """Gathers a plain value from every process, in the order of their ranks; every process must call it."""
    if not (dist.is_available() and dist.is_initialized()):
        return [own]
    gathered: list[T] = [own] * dist.get_world_size()
    dist.all_gather_object(gathered, own)
    return gathered


def of_this_rank(states: list[T]) -> list[T]:
    """What this process takes over of the states that `of_all_ranks` gathered.

    With as many processes as then, each takes its own; with fewer, some take several; with more, some none.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return states
    return states[dist.get_rank() :: dist.get_world_size()]
