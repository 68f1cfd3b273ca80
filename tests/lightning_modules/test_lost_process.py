"""Which errors say that another process is gone."""

import pytest
import torch.distributed as dist

from lightning_modules.lost_process import tells_of_a_lost_process

_GLOO = "[/pytorch/third_party/gloo/gloo/transport/tcp/"


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(_GLOO + "pair.cc:547] Connection closed by peer [127.0.0.1]:24512"),
        RuntimeError(
            _GLOO + "unbound_buffer.cc:81] Timed out waiting 1800000ms for recv operation to complete"
        ),
        dist.DistNetworkError("Failed to recv, got 0 bytes. Connection was likely closed."),
        dist.DistStoreError("wait timeout after 300000ms, keys: /default_pg/0//cpu//0/1"),
        dist.DistBackendError("NCCL error: ncclRemoteError: A call failed possibly due to a network error"),
        dist.DistBackendError("NCCL communicator was aborted on rank 0."),
    ],
)
def test_another_process_is_gone(error: RuntimeError) -> None:
    assert tells_of_a_lost_process(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)"),
        RuntimeError(
            "[enforce fail at /gloo/gloo/transport/tcp/pair.cc:490] op.preamble.length <= op.nbytes. 8 vs 4"
        ),
        dist.DistBackendError(
            "ncclInvalidUsage: Duplicate GPU detected : rank 0 and rank 1 both on CUDA device 1000"
        ),
    ],
)
def test_the_fault_lies_here(error: RuntimeError) -> None:
    assert not tells_of_a_lost_process(error)
