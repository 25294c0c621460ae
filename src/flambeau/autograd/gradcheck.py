"""gradcheck and gradgradcheck: analytical against numerical derivatives, in float64.

The numerical Jacobian is a central difference; for complex inputs the convention is Wirtinger's, as in PyTorch
("Gradcheck mechanics" in its notes): L is real, and the gradient is dL/d conj(z).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..core.eager import raw
from ..core.tensor import Tensor
from ..prims.base import from_value
from .differentiate import grad

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """Analytical and numerical derivatives differ."""


def _tensors(x: Any) -> tuple[Tensor, ...]:
    if isinstance(x, Tensor):
        return (x,)
    return tuple(t for t in x if isinstance(t, Tensor))


def _differentiable(outs: Sequence[Tensor]) -> list[Tensor]:
    return [o for o in outs if o._a.dtype.kind in "fc" and o.requires_grad]


def _evaluate(fn: Callable[..., Any], inputs: Sequence[Any], keep: Sequence[int]) -> list[Any]:
    outs = _tensors(fn(*inputs))  # grad mode stays on: fn may itself differentiate
    return [np.array(raw(outs[i])) for i in keep]


def _numerical(
    fn: Callable[..., Any], inputs: Sequence[Any], x: Tensor, keep: Sequence[int], eps: float
) -> list[Any]:
    """[d out_k / d x_j] for real and, if x is complex, imaginary steps: arrays (numel(x), numel(out)) each."""
    a = raw(x)
    steps = (eps, eps * 1j) if a.dtype.kind == "c" else (eps,)
    columns: list[list[list[Any]]] = [[] for _ in steps]
    for j in range(a.size):
        where = np.unravel_index(j, a.shape)
        old = a[where].copy()
        for s, step in enumerate(steps):
            a[where] = old + step
            up = _evaluate(fn, inputs, keep)
            a[where] = old - step
            down = _evaluate(fn, inputs, keep)
            a[where] = old
            columns[s].append([((u - d) / (2 * eps)).reshape(-1) for u, d in zip(up, down)])
    result = []
    for k in range(len(keep)):
        result.append([np.array([c[k] for c in columns[s]]) for s in range(len(steps))])
    return result


def _analytical(outs: Sequence[Tensor], x: Tensor, k: int, allow_unused: bool = True) -> tuple[Any, Any]:
    """(gradients for cotangent e_i, and for i * e_i of complex outputs): (numel(out), numel(x)) arrays."""
    out = outs[k]
    shape = out._a.shape
    n = int(np.prod(shape))
    rows = []
    kinds = (1, 1j) if out._a.dtype.kind == "c" else (1,)
    for kind in kinds:
        block = []
        for i in range(n):
            e = np.zeros(n, out._a.dtype)
            e[i] = kind
            g = grad(out, x, from_value(e.reshape(shape)), retain_graph=True, allow_unused=True)[0]
            block.append(np.zeros(x._a.size, x._a.dtype) if g is None else np.array(raw(g)).reshape(-1))
            if g is not None and tuple(g._a.shape) != tuple(x._a.shape):
                raise GradcheckError(
                    f"Analytical gradient has incorrect size: {list(g._a.shape)} for an input of {list(x._a.shape)}"
                )
        rows.append(np.array(block).reshape(n, x._a.size))
    return rows[0], rows[1] if len(rows) > 1 else None


def gradcheck(
    func: Callable[..., Any],
    inputs: Any,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool = False,
    masked: bool | None = None,
) -> bool:
    """Whether the analytical gradients of `func` at `inputs` (tensors, float64) equal central differences.

    `check_forward_ad` compares jvp as well.  `fast_mode` is accepted; the full Jacobian is compared all the same.

    Raises: GradcheckError (unless raise_exception is False) with both Jacobians; ValueError if no input requires grad.

    >>> import flambeau as torch
    >>> torch.autograd.gradcheck(torch.sin, torch.ones(3, dtype=torch.float64, requires_grad=True))
    True
    """
    args = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    checked = [x for x in args if isinstance(x, Tensor) and x.requires_grad]
    if not checked:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of the them have requires_grad=True."
        )
    for x in checked:
        if x._a.dtype not in (np.float64, np.complex128):
            warnings.warn(
                f"Input of dtype {x.dtype} requires gradient and is not a double precision floating point or complex. This check will "
                "likely fail if all the inputs are not of double precision floating point or complex.",
                UserWarning,
                stacklevel=2,
            )
    try:
        outs = _tensors(func(*args))
        live = _differentiable(outs)
        keep = [i for i, o in enumerate(outs) if any(o is v for v in live)]
        if not live:  # as PyTorch: right if the function is constant
            keep = [i for i, o in enumerate(outs) if o._a.dtype.kind in "fc"]
            for n, x in enumerate(checked):
                if any(np.any(j) for parts in _numerical(func, args, x, keep, eps) for j in parts):
                    raise GradcheckError(f"Numerical gradient for function expected to be zero (input {n})")
        for n, x in enumerate(checked):
            numeric = _numerical(func, args, x, keep, eps)
            for k, out in enumerate(live):
                if check_backward_ad:
                    _compare_reverse(live, x, k, numeric[k], n, atol, rtol)
                if check_forward_ad:
                    _compare_forward(func, args, x, keep[k], numeric[k], n, atol, rtol)
                del out
        return True
    except GradcheckError:
        if raise_exception:
            raise
        return False


def _compare_reverse(
    live: Sequence[Tensor], x: Tensor, k: int, numeric: Any, n: int, atol: float, rtol: float
) -> None:
    real_row, imag_row = _analytical(live, x, k)
    along_real = numeric[0]  # (numel(x), numel(out))
    if x._a.dtype.kind != "c":
        wanted = np.real(along_real).T
        _assert_close(np.real(real_row), wanted, n, k, atol, rtol, "")
        if imag_row is not None:
            _assert_close(np.real(imag_row), np.imag(along_real).T, n, k, atol, rtol, "imaginary part of ")
        return
    along_imag = numeric[1]
    # gradient for cotangent v: conj-Wirtinger, Re(conj(v) dy/dx_re) + i Re(conj(v) dy/dx_im)
    _assert_close(real_row, (np.real(along_real) + 1j * np.real(along_imag)).T, n, k, atol, rtol, "")
    if imag_row is not None:
        _assert_close(
            imag_row,
            (np.imag(along_real) + 1j * np.imag(along_imag)).T,
            n,
            k,
            atol,
            rtol,
            "imaginary part of ",
        )


def _compare_forward(
    fn: Any, args: Any, x: Tensor, k: int, numeric: Any, n: int, atol: float, rtol: float
) -> None:
    from .forward_ad import dual_level, make_dual, unpack_dual

    at = next(i for i, a in enumerate(args) if a is x)
    size = x._a.size
    for s, block in enumerate(numeric):
        for j in range(size):
            e = np.zeros(size, x._a.dtype)
            e[j] = 1j if s else 1
            with dual_level():  # as users do, so that Functions without setup_context can be checked
                v = make_dual(x.detach(), from_value(e.reshape(x._a.shape)))
                y, t = unpack_dual(_tensors(fn(*args[:at], v, *args[at + 1 :]))[k])
                got = np.zeros(y.numel()) if t is None else np.array(raw(t)).reshape(-1)
            _assert_close(got, block[j], n, k, atol, rtol, "forward mode, ")


def _assert_close(got: Any, want: Any, n: int, k: int, atol: float, rtol: float, what: str) -> None:
    if not got.size and not want.size:
        return
    if got.shape != want.shape or not np.allclose(got, want, rtol, atol, equal_nan=True):
        raise GradcheckError(
            f"Jacobian mismatch for output {k} with respect to input {n} ({what}analytical against central differences),\n"
            f"numerical:{want}\nanalytical:{got}"
        )


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Any,
    grad_outputs: Any = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = False,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool = False,
    masked: bool = False,
) -> bool:
    """Whether the second derivatives are right: gradcheck of the gradient, with random cotangents unless given.

    >>> import flambeau as torch
    >>> torch.autograd.gradgradcheck(torch.sin, torch.ones(2, dtype=torch.float64, requires_grad=True))
    True
    """
    args = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    outs = _tensors(func(*args))
    live = _differentiable(outs)
    keep = [i for i, o in enumerate(outs) if any(o is v for v in live)]
    rng = np.random.default_rng(0)
    if grad_outputs is None:
        cts = []
        for o in live:
            c = rng.standard_normal(o._a.shape)
            c = c + 1j * rng.standard_normal(o._a.shape) if o._a.dtype.kind == "c" else c
            cts.append(from_value(np.asarray(c, o._a.dtype)).requires_grad_())
    else:
        cts = list(_tensors(grad_outputs))
    n_in = len(args)

    def gradient(*both: Any) -> Any:
        from ..func import vjp  # a level of its own, so that forward mode passes through it too

        xs, gs = both[:n_in], both[n_in:]
        places = [i for i, x in enumerate(args) if isinstance(x, Tensor) and x.requires_grad]

        def chosen(*values: Any) -> Any:
            full_args = list(xs)
            for i, v in zip(places, values):
                full_args[i] = v
            ys = _tensors(func(*full_args))
            return tuple([ys[i] for i in keep])

        if not check_fwd_over_rev:
            found = grad(
                chosen(*[xs[i] for i in places]),
                [xs[i] for i in places],
                list(gs),
                create_graph=True,
                allow_unused=True,
            )
            return tuple(g for g in found if g is not None and g.requires_grad)
        _, pull = vjp(chosen, *[xs[i] for i in places])
        return pull(tuple(gs))

    return gradcheck(
        gradient,
        (*args, *cts),
        eps=eps,
        atol=atol,
        rtol=rtol,
        raise_exception=raise_exception,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
    )
