"""Random convolutions, and the three maps by sums over taps in float64."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st


class Case(NamedTuple):
    images: int
    groups: int
    channels: int  # of a group
    outputs: int  # of a group
    size: tuple[int, ...]
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]

    @property
    def out(self) -> tuple[int, ...]:
        return tuple(
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, k, s, p, d in zip(
                self.size, self.kernel, self.stride, self.padding, self.dilation, strict=True
            )
        )

    def arrays(self, dtype: str, seed: int) -> tuple[Any, Any, Any]:
        """An input, weights, and a gradient of the result."""
        r = np.random.default_rng(seed)
        c, o = self.groups * self.channels, self.groups * self.outputs
        shapes = (self.images, c, *self.size), (o, self.channels, *self.kernel), (self.images, o, *self.out)
        x, w, g = (r.standard_normal(s).astype(dtype) for s in shapes)
        return x, w, g

    def taps(self, x: Any) -> Any:
        """(tap, groups of channels of the padded input that it meets for all outputs)."""
        x = np.pad(x, [(0, 0), (0, 0), *[(p, p) for p in self.padding]])
        x = x.reshape(self.images, self.groups, self.channels, *x.shape[2:])
        for tap in itertools.product(*[range(k) for k in self.kernel]):
            where = [
                slice(i * d, i * d + (o - 1) * s + 1, s)
                for i, d, o, s in zip(tap, self.dilation, self.out, self.stride, strict=True)
            ]
            yield tap, x[(..., *where)]

    def forward(self, x: Any, w: Any) -> Any:
        w = w.astype(float).reshape(self.groups, self.outputs, *w.shape[1:])
        y: Any = 0.0
        for tap, part in self.taps(x.astype(float)):
            y = y + np.einsum("ngc...,goc->ngo...", part, w[(..., *tap)])
        return y.reshape(self.images, -1, *self.out)

    def backward(self, x: Any, w: Any, g: Any) -> tuple[Any, Any]:
        """The gradients in the input and in the weights."""
        w = w.astype(float).reshape(self.groups, self.outputs, *w.shape[1:])
        g = g.astype(float).reshape(self.images, self.groups, self.outputs, *self.out)
        padded = [n + 2 * p for n, p in zip(self.size, self.padding, strict=True)]
        of_x, of_w = np.zeros((self.images, self.groups, self.channels, *padded)), np.zeros(w.shape)
        for tap, part in self.taps(x.astype(float)):
            where = [
                slice(i * d, i * d + (o - 1) * s + 1, s)
                for i, d, o, s in zip(tap, self.dilation, self.out, self.stride, strict=True)
            ]
            of_x[(..., *where)] += np.einsum("ngo...,goc->ngc...", g, w[(..., *tap)])
            axes = "xyz"[: len(self.size)]
            of_w[(..., *tap)] = np.einsum(f"ngo{axes},ngc{axes}->goc", g, part)
        inner = [slice(p, p + n) for p, n in zip(self.padding, self.size, strict=True)]
        shape = (self.groups * self.outputs, self.channels, *self.kernel)
        return of_x[(..., *inner)].reshape(x.shape), of_w.reshape(shape)


@st.composite
def cases(draw: Any) -> Case:
    n = draw(st.integers(1, 3))
    kernel = tuple(draw(st.integers(1, 4)) for _ in range(n))
    stride = tuple(draw(st.integers(1, 4)) for _ in range(n))
    dilation = tuple(draw(st.integers(1, 3)) for _ in range(n))
    padding = tuple(draw(st.integers(0, 4)) for _ in range(n))
    size = []
    for k, d, p in zip(kernel, dilation, padding, strict=True):
        size.append(max(1, d * (k - 1) + 1 - 2 * p) + draw(st.integers(0, 5)))
    size[-1] += draw(st.sampled_from([0, 0, 13, 30]))
    return Case(
        draw(st.integers(1, 3)),
        draw(st.integers(1, 3)),
        draw(st.integers(1, 4)),
        draw(st.sampled_from([1, 2, 3, 4, 5, 7, 8, 10, 12])),
        tuple(size),
        kernel,
        stride,
        padding,
        dilation,
    )


def agree(found: Any, wanted: Any, terms: int) -> None:
    """Up to the rounding of sums of so many terms."""
    unit = np.finfo(found.dtype).eps
    np.testing.assert_allclose(found, wanted, rtol=0, atol=8 * unit * terms**0.5 * (1 + np.abs(wanted).max()))
