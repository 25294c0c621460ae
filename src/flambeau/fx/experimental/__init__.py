"""More that programs do with graphs: simpler models for inference, values computed ahead."""

from __future__ import annotations

from ...runtime.absent import names_of as _names_of

__getattr__ = _names_of(__name__)
