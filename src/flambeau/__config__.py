"""How this build was made, as text: `flambeau.__config__`."""

from __future__ import annotations

import platform

__all__ = ["parallel_info", "show"]


def show() -> str:
    """The libraries underneath, with their versions.  TORCH_VERSION is that of the PyTorch stood in for."""
    import llvmlite
    import numpy

    from .stand_in.version import VERSION

    lines = [
        f"Python {platform.python_version()} ({platform.machine()})",
        f"NumPy {numpy.__version__}",
        f"llvmlite {llvmlite.__version__}",
        f"Build settings: TORCH_VERSION={VERSION.partition('+')[0]}, USE_CUDA=0, USE_MPI=OFF, USE_NCCL=OFF",
    ]
    return "flambeau:\n" + "".join(f"  - {line}\n" for line in lines)


def parallel_info() -> str:
    """How many threads are in use."""
    from .settings import get_num_interop_threads, get_num_threads

    return f"threads within an operation: {get_num_threads()}\nthreads between operations: {get_num_interop_threads()}\n"
