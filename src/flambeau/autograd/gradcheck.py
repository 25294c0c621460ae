"""gradcheck and gradgradcheck: derivatives by rules against central differences, in float64."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..core.eager import raw
from ..core.tensor import Tensor, composed
from ..prims.base import from_value
from . import jacobians
from .differentiate import grad
from .jacobians import tensors

__all__ = ["GradcheckError", "gradcheck", "gradgradcheck"]


class GradcheckError(RuntimeError):
    """Derivatives by rules and by differences differ, or a rule does not do what derivatives do."""


class Case(NamedTuple):
    """What is checked, and how."""

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    places: list[int]  # the inputs that require gradients
    outs: list[Tensor]  # the outputs that do
    keep: list[int]  # their numbers
    eps: float
    atol: float
    rtol: float
    nondet_tol: float
    masked: bool


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
    """Whether the derivatives of `func` at `inputs` (tensors, float64) are those of central differences with step `eps`.

    Inputs with ``requires_grad`` are checked.  Besides the Jacobians: that a backward pass gives the same twice (up to
    `nondet_tol`), is linear in its cotangent, has gradients of the inputs' shapes and layouts (with `check_grad_dtypes`
    their dtypes, too), and that missing cotangents are as good as zeros (`check_undefined_grad`).  `check_forward_ad`
    compares forward mode, `check_batched_grad` and `check_batched_forward_grad` a batch of derivatives under vmap with
    single ones.  `fast_mode` compares both sides along one random direction each instead of element by element.  With
    `masked`, elements that a sparse input has no entries for are not varied.

    Raises: GradcheckError (unless `raise_exception` is False: then False is returned), with both Jacobians; ValueError if
    no input requires grad or an output is sparse; RuntimeError for expanded inputs; AssertionError for outputs whose
    shape or dtype depends on values, and for options that contradict each other.

    >>> import flambeau as torch
    >>> torch.autograd.gradcheck(torch.sin, torch.ones(3, dtype=torch.float64, requires_grad=True))
    True
    """
    if not (check_forward_ad or check_backward_ad):
        raise AssertionError("Expected at least one of check_forward_ad or check_backward_ad to be True")
    if check_batched_grad and not check_backward_ad:
        raise AssertionError("Setting check_batched_grad=True requires check_backward_ad to be True")
    if check_batched_forward_grad and not check_forward_ad:
        raise AssertionError("Setting check_batched_forward_grad=True requires check_forward_ad to be True")
    args = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    places = _check_inputs(args)
    try:
        outs = tensors(func(*args))
        if any(composed(o) for o in outs):
            raise ValueError(
                "Sparse output is not supported at gradcheck yet. Please call to_dense(masked_grad=...) on the output "
                "of fn for gradcheck."
            )
        keep = [
            i
            for i, o in enumerate(outs)
            if o._a.dtype.kind in "fc" and (o.requires_grad or not check_backward_ad)
        ]
        case = Case(
            *(func, args, places, [outs[i] for i in keep], keep),
            *(eps, atol, rtol, nondet_tol, bool(masked)),
        )
        if not keep or not any(outs[i].requires_grad for i in keep) and check_backward_ad:
            _check_constant(case, [i for i, o in enumerate(outs) if o._a.dtype.kind in "fc"])
            return True
        _check_jacobians(case, check_backward_ad, check_forward_ad, fast_mode)
        if check_batched_forward_grad:
            _check_batched_forward(case)
        if check_backward_ad:
            if check_batched_grad:
                _check_batched(case)
            _check_zero_cotangents(case, check_grad_dtypes)
            if check_undefined_grad:
                _check_missing_cotangents(case)
        return True
    except GradcheckError:
        if raise_exception:
            raise
        return False


def _check_inputs(args: Sequence[Any]) -> list[int]:
    places = [i for i, x in enumerate(args) if isinstance(x, Tensor) and x.requires_grad]
    if not places:
        raise ValueError(
            "gradcheck expects at least one input tensor to require gradient, but none of the them have requires_grad=True."
        )
    for i in places:
        x = args[i]
        if x.dtype.numpy not in (np.float64, np.complex128):
            warnings.warn(
                f"Input #{i} requires gradient and is not a double precision floating point or complex. This check will "
                "likely fail if all the inputs are not of double precision floating point or complex. ",
                UserWarning,
                stacklevel=3,
            )
        if not composed(x) and any(s == 0 and n > 1 for s, n in zip(x.stride(), x.shape)):
            raise RuntimeError(
                f"The {i}th input has a dimension with stride 0. gradcheck only supports inputs that are "
                "non-overlapping to be able to compute the numerical gradients correctly. You should call "
                ".contiguous on the input before passing it to gradcheck."
            )
    return places


def _check_constant(case: Case, outputs: list[int]) -> None:
    """Outputs without gradients are right if the function is constant."""
    for at in case.places:
        parts = jacobians.numerical(case.fn, case.args, at, outputs, case.eps, case.masked)
        if any(np.any(j) for pair in parts for j in pair):
            raise GradcheckError("Numerical gradient for function expected to be zero")


# ------------------------------------------------------------------------------------------------------- Jacobians


def _check_jacobians(case: Case, backward: bool, forward: bool, fast: bool) -> None:
    for n, at in enumerate(case.places):
        if fast and _agree_along_directions(case, at, backward, forward):
            continue
        numeric = jacobians.numerical(case.fn, case.args, at, case.keep, case.eps, case.masked)
        for k in range(len(case.outs)):
            if backward:
                _compare_reverse(case, at, n, k, numeric[k])
        for k in range(len(case.outs)):
            if forward:
                _compare_forward(case, at, n, k, numeric[k])
        if fast:
            raise GradcheckError(
                f"Fast gradcheck failed for input {n}, but element-wise differences are all within tolerance: tighten atol "
                "and rtol, or call gradcheck with fast_mode=False"
            )


def _compare_reverse(case: Case, at: int, n: int, k: int, numeric: list[Any]) -> None:
    x, out = case.args[at], case.outs[k]
    real, imag = jacobians.reverse(out, x, case.masked)
    again, _ = jacobians.reverse(out, x, case.masked)
    along = numeric[0]  # (numel(x), numel(out))
    if x.is_complex():
        wanted = along.real + 1j * numeric[1].real, along.imag + 1j * numeric[1].imag
    else:
        wanted = along.real, along.imag
    if imag is not None:
        _assert_close(
            case, imag, wanted[1].T, n, k, "While considering the imaginary part of complex outputs only, "
        )
    prefix = "" if imag is None else "While considering the real part of complex outputs only, "
    _assert_close(case, real, wanted[0].T, n, k, prefix)
    if real.size and np.max(np.abs(real - again)) > case.nondet_tol:
        _raise_not_reentrant(case)


def _raise_not_reentrant(case: Case) -> None:
    raise GradcheckError(
        "Backward is not reentrant, i.e., running backward with same input and grad_output multiple times gives "
        "different values, although analytical gradient matches numerical gradient. "
        f"The tolerance for nondeterminism was {case.nondet_tol}."
    )


def _compare_forward(case: Case, at: int, n: int, k: int, numeric: list[Any]) -> None:
    x = case.args[at]
    for s, block in enumerate(numeric):
        e = np.zeros(x.numel(), x._a.dtype)
        columns = []
        for j in range(x.numel()):
            e[j] = 1j if s else 1
            columns.append(
                jacobians.forward_column(case.fn, case.args, case.places, at, case.keep[k], e).reshape(-1)
            )
            e[j] = 0
        got = np.array(columns).reshape(block.shape)
        _assert_close(case, got, block, n, k, "", "Jacobian computed with forward mode mismatch")


def _assert_close(
    case: Case, got: Any, want: Any, n: int, k: int, prefix: str, what: str = "Jacobian mismatch"
) -> None:
    if not np.allclose(got, want, case.rtol, case.atol, equal_nan=True):
        raise GradcheckError(
            f"{prefix}{what} for output {k} with respect to input {n},\nnumerical:{want}\nanalytical:{got}\n"
        )


def _agree_along_directions(case: Case, at: int, backward: bool, forward: bool) -> bool:
    """Both sides along a random direction u of the input, seen from a random direction v of each output."""
    rng = np.random.default_rng(0)
    x = case.args[at]
    u = _direction(rng, x)
    if composed(x) and case.masked:
        mask = np.zeros(u.size, bool)
        mask[jacobians.elements(x, True)] = True
        u = np.where(mask.reshape(u.shape), u, 0)
    slopes = jacobians.directional(case.fn, case.args, at, case.keep, u, case.eps)
    for k, (out, slope) in enumerate(zip(case.outs, slopes)):
        v = _direction(rng, out)
        near = dict(rtol=case.rtol, atol=case.atol * max(1.0, np.abs(u).sum() * np.abs(v).sum()))
        want = np.sum(np.conj(v) * slope).real
        if backward:
            got = [np.sum(np.conj(jacobians.gradient_of(out, x, v, case.masked)) * u).real for _ in range(2)]
            if not np.allclose(got[0], want, **near):
                return False
            if abs(got[0] - got[1]) > case.nondet_tol:
                _raise_not_reentrant(case)
        if forward:
            t = jacobians.forward_column(case.fn, case.args, case.places, at, case.keep[k], u)
            if not np.allclose(np.sum(np.conj(v) * t).real, want, **near):
                return False
    return True


def _direction(rng: np.random.Generator, t: Tensor) -> Any:
    shape = tuple(t.shape)
    v = rng.uniform(0.1, 1, shape)
    if t.is_complex():
        v = v + 1j * rng.uniform(0.1, 1, shape)
    return v / (np.linalg.norm(v.reshape(-1)) or 1)


# ------------------------------------------------------------------------------------------------ what else is checked


def _inputs(case: Case) -> list[Tensor]:
    return [case.args[i] for i in case.places]


def _zeros(case: Case) -> list[Tensor]:
    return [from_value(np.zeros(tuple(o.shape), o._a.dtype)) for o in case.outs]


def _check_zero_cotangents(case: Case, dtypes: bool) -> None:
    """Gradients are linear in the cotangent: for zeros they are zero; and they look like their inputs."""
    xs = _inputs(case)
    found = grad(case.outs, xs, _zeros(case), retain_graph=True, allow_unused=True)
    for g, x in zip(found, xs):
        if g is None:
            continue
        if g.layout != x.layout and composed(g):
            raise GradcheckError(f"grad is incorrect layout ({g.layout} is not {x.layout})")
        if composed(g) and composed(x):
            for what in ("sparse_dim", "dense_dim"):
                have, want = getattr(g, what)(), getattr(x, what)()
                if have != want:
                    raise GradcheckError(
                        f"grad is sparse tensor, but has incorrect {what} {have}, expected {want}"
                    )
        if tuple(g.shape) != tuple(x.shape):
            raise GradcheckError(f"grad is incorrect size: {tuple(g.shape)} for an input of {tuple(x.shape)}")
        if dtypes and g.dtype != x.dtype:
            raise GradcheckError(f"grad is incorrect type: {g.dtype} for an input of {x.dtype}")
        if np.any(jacobians.dense(g)):
            raise GradcheckError("backward not multiplied by grad_output")


def _check_missing_cotangents(case: Case) -> None:
    """With one of several cotangents missing and zeros for the others, gradients are missing or zero."""
    if len(case.outs) < 2:
        return
    xs, zeros = _inputs(case), _zeros(case)
    for k in range(len(case.outs)):
        others = [i for i in range(len(case.outs)) if i != k]
        try:
            found = grad(
                [case.outs[i] for i in others],
                xs,
                [zeros[i] for i in others],
                retain_graph=True,
                allow_unused=True,
            )
        except RuntimeError as e:
            raise GradcheckError(
                "Expected backward function to handle undefined output grads. Please look at 'Notes about undefined "
                "output gradients' in 'tools/autograd/derivatives.yaml'"
            ) from e
        if any(g is not None and np.any(jacobians.dense(g)) for g in found):
            raise GradcheckError(
                "Expected all input grads to be undefined or zero when all output grads are undefined or zero"
            )


_BATCH = 2


def _check_batched(case: Case) -> None:
    """A batch of cotangents in one pass gives what single passes give."""
    rng = np.random.default_rng(0)
    xs = _inputs(case)
    for out in case.outs:
        shape = (_BATCH, *out.shape)
        rows = rng.standard_normal(shape)
        if out.is_complex():
            rows = rows + 1j * rng.standard_normal(shape)
        rows = np.asarray(rows, out._a.dtype)
        single = [grad(out, xs, from_value(row), retain_graph=True, allow_unused=True) for row in rows]
        try:
            batch = grad(
                *(out, xs, from_value(rows)), retain_graph=True, allow_unused=True, is_grads_batched=True
            )
        except (RuntimeError, NotImplementedError) as e:
            raise GradcheckError(
                "gradcheck or gradgradcheck failed while testing batched gradient computation. If vmap cannot be "
                f"supported here, pass check_batched_grad=False.\n  {e}"
            ) from e
        for n, together in enumerate(batch):
            apart = [row[n] for row in single]
            if together is None or any(g is None for g in apart):
                continue
            if not np.allclose(raw(together), [jacobians.dense(g) for g in apart], case.rtol, case.atol):
                raise GradcheckError(
                    "gradcheck or gradgradcheck failed while testing batched gradient computation: the batched gradients "
                    f"of input {n} are {raw(together)}, and one by one {[jacobians.dense(g) for g in apart]}"
                )


def _check_batched_forward(case: Case) -> None:
    """A batch of tangents in one pass gives what single passes give."""
    from ..func import vmap
    from .forward_ad import dual_level, make_dual, unpack_dual

    rng = np.random.default_rng(0)
    plain = [a.detach() if isinstance(a, Tensor) else a for a in case.args]
    for at in case.places:
        x = plain[at]
        rows = rng.standard_normal((_BATCH, *x.shape))
        if x.is_complex():
            rows = rows + 1j * rng.standard_normal(rows.shape)

        def tangents(t: Tensor, at: int = at) -> Any:
            with dual_level():
                duals = [*plain]
                duals[at] = make_dual(plain[at], t)
                outs = tensors(case.fn(*duals))
                found = [unpack_dual(outs[i]) for i in case.keep]
                return tuple(p * 0 if d is None else d for p, d in found)

        batch = from_value(np.asarray(rows, x._a.dtype))
        single = [tangents(row) for row in batch]
        together = vmap(tangents)(batch)
        for k, ts in enumerate(together):
            if not np.allclose(raw(ts), [raw(row[k]) for row in single], case.rtol, case.atol):
                raise GradcheckError(
                    "gradcheck or gradgradcheck failed while testing batched gradient computation (forward mode): "
                    f"output {k} differs"
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

    `gen_non_contig_grad_outputs` makes them non-contiguous.  The other options, and what is raised, are `gradcheck`'s.

    >>> import flambeau as torch
    >>> torch.autograd.gradgradcheck(torch.sin, torch.ones(2, dtype=torch.float64, requires_grad=True))
    True
    """
    if not (check_fwd_over_rev or check_rev_over_rev):
        raise AssertionError("Expected at least one of check_fwd_over_rev or check_rev_over_rev to be True")
    if check_undefined_grad and not check_rev_over_rev or check_batched_grad and not check_rev_over_rev:
        check_undefined_grad = check_batched_grad = False
    args = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    outs = tensors(func(*args))
    keep = [i for i, o in enumerate(outs) if o._a.dtype.kind in "fc" and o.requires_grad]
    cts = (
        [_cotangent(outs[i], gen_non_contig_grad_outputs) for i in keep]
        if grad_outputs is None
        else [*tensors(grad_outputs)]
    )
    n_in = len(args)
    places = [i for i, x in enumerate(args) if isinstance(x, Tensor) and x.requires_grad]

    def gradient(*both: Any) -> Any:
        from ..func import vjp  # a level of its own, so that forward mode passes through it too

        xs, gs = both[:n_in], both[n_in:]

        def chosen(*values: Any) -> Any:
            full_args = list(xs)
            for i, v in zip(places, values):
                full_args[i] = v
            ys = tensors(func(*full_args))
            return tuple([ys[i] for i in keep])

        if not check_fwd_over_rev:
            found = grad(
                *(chosen(*[xs[i] for i in places]), [xs[i] for i in places], list(gs)),
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
        nondet_tol=nondet_tol,
        check_undefined_grad=check_undefined_grad,
        check_grad_dtypes=check_grad_dtypes,
        check_batched_grad=check_batched_grad,
        check_forward_ad=check_fwd_over_rev,
        check_backward_ad=check_rev_over_rev,
        fast_mode=fast_mode,
        masked=masked,
    )


def _cotangent(out: Tensor, apart: bool) -> Tensor:
    rng = np.random.default_rng(0)
    c = rng.standard_normal(out._a.shape)
    c = np.asarray(c + 1j * rng.standard_normal(out._a.shape) if out.is_complex() else c, out._a.dtype)
    if apart and c.ndim:
        c = np.repeat(c, 2, -1)[..., ::2]
    t: Any = from_value(c)
    return t.requires_grad_()  # type: ignore[no-any-return]
