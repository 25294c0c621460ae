"""What programs that also run under PyTorch's compiler take from it."""

from __future__ import annotations

from ...runtime.absent import names_of

__all__ = ["TransformGetItemToIndex"]


class TransformGetItemToIndex:
    """A block in which PyTorch's tracer sees ``x[i]`` with tensors under ``vmap`` as gathers, which they are here."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass


__getattr__ = names_of(__name__)
