"""A process of a run that ended or cannot be reached, as the others notice it."""

import re

from torch.distributed import DistBackendError, DistNetworkError, DistStoreError

_NCCL = re.compile(r"ncclRemoteError|ncclSystemError|communicator was aborted|timed out", re.IGNORECASE)


def tells_of_a_lost_process(error: RuntimeError) -> bool:
    """Returns whether an error of torch says that another process of the run is gone.

    An error in this process, such as tensors of different shapes, is none of these.

    Args:
        error: What was raised.
    """
    if isinstance(error, DistNetworkError | DistStoreError):
        return True
    message = str(error)
    if isinstance(error, DistBackendError):
        return bool(_NCCL.search(message))
    # gloo raises plain errors that begin with the place in its source; "enforce fail" tells of a wrong call.
    return "gloo/transport" in message and "enforce fail" not in message
