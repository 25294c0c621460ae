"""Optimizers whose update of a parameter is computed element by element: all but LBFGS, Muon and Adafactor.

A subclass states its mathematics once, as a `rule` over an arithmetic (see `arithmetic`). Here it is run in
the way that suits the parameters: all of them in one launch of a compiled kernel when they are large and
contiguous, with NumPy in cache-sized pieces otherwise, with tensor operations when gradients have to flow.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from .. import ops
from ..autograd.grad_mode import enable_grad
from ..core.inplace import check_writable
from ..core.pending import NO_DATA, Pending, resolve, settle
from ..core.state import defaults as process_defaults
from ..core.state import tls
from ..core.tensor import Storage, Tensor
from ..core.where import Place, user_place
from ..runtime import dtypes
from ..runtime.types import strided
from .arithmetic import CHUNK, Array, Arrays, Cell, Kernel, Tensors
from .optimizer import Optimizer

KERNEL_MIN = 16384  # elements in all from which a compiled kernel is worth its start
_CAPTURABLE_DEVICES = ["cuda", "xpu", "hpu", "privateuseone", "xla"]

Rule = Callable[..., None]
Coefficients = NamedTuple


class Work:
    """The update of one parameter: the tensors that the rule gets, and what its coefficients depend on."""

    __slots__ = ("tensors", "arrays", "state", "key")

    def __init__(self, tensors: list[Tensor], arrays: list[Any], state: dict[str, Any]) -> None:
        self.tensors = tensors  # parameter, gradient, then the state that is updated with it
        self.arrays = arrays  # their payloads
        self.state = state
        self.key: Hashable = None


def scalar_dtype() -> dtypes.dtype:
    """The dtype of step counts."""
    return dtypes.float64 if process_defaults.dtype is dtypes.float64 else dtypes.float32


def number(x: Any) -> Any:
    """A hyperparameter to compute with: a Python float, or for a tensor of one element a scalar of its dtype.

    Arithmetic on the scalar rounds as arithmetic on the tensor does.
    """
    return x._a.reshape(())[()] if isinstance(x, Tensor) else float(x)


def hyperparameter(x: Any) -> Any:
    """A hyperparameter as it is, so that a tensor keeps its history."""
    return x


def _floats(c: Any) -> Any:
    return c._make([v if isinstance(v, bool) else float(v) for v in c])


def check_one_element(lr: Any) -> None:
    """Raises: ValueError for a learning rate that is a tensor of several elements."""
    if isinstance(lr, Tensor) and lr.numel() != 1:
        raise ValueError("Tensor lr must be 1-element")


def check_at_least_zero(what: str, value: Any) -> None:
    """Raises: ValueError for negative values and NaN."""
    if not 0.0 <= value:
        raise ValueError(f"Invalid {what}: {value}")


def check_betas(betas: Sequence[Any]) -> None:
    """Raises: ValueError for betas outside [0, 1)."""
    for i in (0, 1):
        if not 0.0 <= betas[i] < 1.0:
            raise ValueError(f"Invalid beta parameter at index {i}: {betas[i]}")


class ElementwiseOptimizer(Optimizer):
    """Base of the optimizers with an elementwise rule."""

    _added_options = {"foreach": None, "maximize": False, "differentiable": False, "capturable": False}
    _fused_checked = False
    _sparse_update: Callable[..., None] | None = None  # (parameter, sparse gradient, state, group): one step
    _sparse_name = ""  # and the name and the advice in the error where there is none
    _sparse_cure = ""

    # ---- what a subclass states ----

    @staticmethod
    def rule(k: Any, c: Any, p: Any, g: Any, *state: Any) -> None:
        """Update `p` and `state` in place, given the gradient `g`, in the arithmetic `k`."""
        raise NotImplementedError

    def _slots(self, group: dict[str, Any]) -> tuple[str, ...]:
        """The names of the state tensors that the rule updates."""
        raise NotImplementedError

    def _init_state(self, p: Tensor, grad: Tensor, group: dict[str, Any], state: dict[str, Any]) -> None:
        """Fill in the state of a parameter that has none."""
        state["step"] = self._new_step()
        for name in self._slots(group):
            state[name] = self._zeros(p)

    def _advance(self, group: dict[str, Any], work: Work) -> Hashable:
        """Count the step; returns what the coefficients depend on besides the group."""
        step = work.state["step"]._a
        count = step.item() + 1.0
        step.fill(count)
        return count  # type: ignore[no-any-return]

    def _coefficients(self, group: dict[str, Any], key: Any, live: bool) -> Coefficients:
        """The numbers of this step. Floats may change from step to step; bools select the form of the rule.

        With `live` hyperparameters that are tensors stay tensors, so that gradients reach them."""
        raise NotImplementedError

    # ---- helpers for subclasses ----

    @staticmethod
    def _new_step(value: float = 0.0) -> Tensor:
        return ops.tensor(value, dtype=scalar_dtype())  # type: ignore[no-any-return]

    @staticmethod
    def _zeros(p: Tensor) -> Tensor:
        return ops.zeros_like(p.detach())  # type: ignore[no-any-return]

    def _refuse_fused_conflicts(self, fused: Any, foreach: Any, differentiable: bool) -> None:
        if fused:
            if differentiable:
                raise RuntimeError("`fused` does not support `differentiable`")
            if foreach:
                raise RuntimeError("`fused` and `foreach` cannot be `True` together.")

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:  # old checkpoints count steps with Python numbers
            for p in group["params"]:
                values = self.state[p] if p in self.state else {}
                for name in ("step", "eta", "mu"):
                    if name in values and not isinstance(values[name], Tensor):
                        values[name] = self._new_step(float(values[name]))

    # ---- the step ----

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make one step; returns what `closure` returned, which is called first with gradients recorded.

        Raises: RuntimeError for gradients or states that do not fit their parameters; nothing has been
        changed then.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        before = tls.grad
        try:
            tls.set_grad(bool(self.defaults.get("differentiable")) and before)
            settle(tls.capture)  # the update writes memory
            collected = [(group, self._collect(group)) for group in self.param_groups]
            place = user_place(1)
            for group, works in collected:
                if works:
                    self._update(group, works, place)
        finally:
            try:
                tls.set_grad(before)
            except BaseException:  # an interrupt (core/state.py)
                tls.set_grad(before)
                raise
        return loss

    def _collect(self, group: dict[str, Any]) -> list[Work]:
        """The parameters that have gradients, with their state, after every check."""
        works = []
        name = f"{type(self).__name__}.step"
        slots = self._slots(group)
        fused, differentiable = group.get("fused"), group.get("differentiable")
        if group.get("capturable") and not tls.stack and any(p.grad is not None for p in group["params"]):
            raise AssertionError(
                "If capturable=True, params and state_steps must be on supported devices: "
                f"{_CAPTURABLE_DEVICES}."
            )
        states = self.state
        for p in group["params"]:
            grad = getattr(p, "_grad", None)
            if grad is None:
                continue
            if fused and not p.is_floating_point():
                raise RuntimeError(
                    "`fused=True` requires all the params to be floating point Tensors of supported devices: "
                    f"['cpu'] but {p.dtype} and {p.device.type}"
                )
            if type(grad) is not Tensor and grad.layout is not strided:
                works.append(self._of_sparse(p, grad, group))
                continue
            state = states.get(p)
            if not state:
                state = {} if state is None else state
                self._init_state(p, grad, group, state)
                if state:  # SGD without momentum keeps nothing, and has no entry
                    states[p] = state
            tensors = [p, grad, *[state[s] for s in slots]]
            arrays = [
                t._a if type(t._a) is not Pending or t._a.owner is NO_DATA else resolve(t) for t in tensors
            ]
            shape, dtype = arrays[0].shape, arrays[0].dtype
            for i, other in enumerate(arrays):
                if other.shape != shape or other.dtype != dtype:
                    raise RuntimeError(
                        f"{name}: a parameter has shape {list(shape)} and dtype {p.dtype}, but its "
                        f"{['gradient', *slots][i - 1]} has shape {list(other.shape)} and dtype "
                        f"{tensors[i].dtype}"
                    )
            if not differentiable:
                check_writable(p, name)
            works.append(Work(tensors, arrays, state))
        return works

    def _of_sparse(self, p: Tensor, grad: Any, group: dict[str, Any]) -> Work:
        """The update by a gradient that is sparse, of an optimizer that has a `_sparse_update`.

        Raises: RuntimeError for the others, and for a gradient that does not fit.
        """
        if self._sparse_update is None:
            raise RuntimeError(
                f"{self._sparse_name or type(self).__name__} does not support sparse gradients{self._sparse_cure}"
            )
        if group.get("fused"):
            raise RuntimeError(f"`_fused_{type(self).__name__.lower()}` does not support sparse gradients")
        if grad.shape != p.shape or grad.dtype is not p.dtype:
            raise RuntimeError(
                f"{type(self).__name__}.step: a parameter has shape {list(p.shape)} and dtype {p.dtype}, but its gradient "
                f"has shape {list(grad.shape)} and dtype {grad.dtype}"
            )
        check_writable(p, f"{type(self).__name__}.step")
        return Work([p, grad], [], self.state[p])

    def _update(self, group: dict[str, Any], works: list[Work], place: Place) -> None:
        sparse = [w for w in works if not w.arrays]
        if sparse:
            works = [w for w in works if w.arrays]
            for work in sparse:
                assert self._sparse_update is not None
                self._sparse_update(*work.tensors, work.state, group)
        for work in works:
            work.key = self._advance(group, work)
        if group.get("differentiable") or any(type(w.arrays[0]) is not np.ndarray for w in works):
            self._update_tensors(group, works)
            return
        writer = f"{type(self).__name__}.step"
        for key, same in _grouped(works):
            c = _floats(self._coefficients(group, key[0], live=False))
            columns = [list(column) for column in zip(*[w.arrays for w in same], strict=True)]
            _update_arrays(type(self).rule, c, columns)
            for w in same:
                _note_writes(w.tensors, writer, place)

    def _update_tensors(self, group: dict[str, Any], works: list[Work]) -> None:
        k = Tensors()
        for work in works:
            c = self._coefficients(group, work.key, live=True)
            self.rule(k, c, *work.tensors)


def _note_writes(tensors: list[Tensor], writer: str, place: Place) -> None:
    """Count a write to all but the gradient. Tensors without a Storage were never saved for a backward pass."""
    p = tensors[0]
    if p._st is None:
        p._st = Storage()
    for i, t in enumerate(tensors):
        st = t._st
        if st is not None and i != 1:
            st.version += 1
            st.writer = writer
            st.place = place


def _grouped(works: list[Work]) -> Iterable[tuple[Any, list[Work]]]:
    """Updates with the same coefficients and the same dtype."""
    groups: dict[Any, list[Work]] = {}
    for work in works:
        groups.setdefault((work.key, work.arrays[0].dtype.num), []).append(work)
    return groups.items()


# ---- ways to run a rule ----


def _update_arrays(rule: Rule, c: Coefficients, columns: list[list[Array]]) -> None:
    """Run a rule over many parameters: `columns` are the lists of parameters, gradients, and each state."""
    params = columns[0]
    if params[0].dtype.char in "fd" and sum([p.size for p in params]) >= KERNEL_MIN and _apart(params):
        dense = [all([a.flags.c_contiguous for a in row]) for row in zip(*columns, strict=True)]
        if all(dense):
            if _launch(rule, c, columns):
                return
        elif any(dense) and _launch(rule, c, [_chosen(column, dense) for column in columns]):
            rest = [not yes for yes in dense]
            columns = [_chosen(column, rest) for column in columns]
    k: dict[Any, Arrays] = {}
    for row in zip(*columns, strict=True):
        _update_row(k, rule, c, row)


def _chosen(column: list[Array], wanted: list[bool]) -> list[Array]:
    return [a for a, yes in zip(column, wanted, strict=True) if yes]


def _update_row(k: dict[Any, Arrays], rule: Rule, c: Coefficients, row: Sequence[Array]) -> None:
    dtype = row[0].dtype
    if dtype.kind == "c":  # as two real parameters
        _update_row(k, rule, c, [a.real for a in row])
        _update_row(k, rule, c, [a.imag for a in row])
        return
    if dtype.itemsize < 4:  # 16-bit floats are computed in float32 and rounded once
        wide = [a.astype(np.float32) for a in row]
        _update_row(k, rule, c, wide)
        for i, (a, w) in enumerate(zip(row, wide, strict=True)):
            if i != 1:
                a[...] = w.astype(dtype)
        return
    arithmetic = k.get(dtype)
    if arithmetic is None:
        arithmetic = k[dtype] = Arrays(dtype)
    if not all(a.flags.c_contiguous for a in row):
        arithmetic.reset(row[0].shape)
        rule(arithmetic, c, *row)
        return
    flat = [a.reshape(-1) for a in row]
    for start in range(0, flat[0].size, CHUNK):
        piece = [a[start : start + CHUNK] for a in flat]
        arithmetic.reset(piece[0].shape)
        rule(arithmetic, c, *piece)


def _apart(arrays: Sequence[Array]) -> bool:
    """Whether no two arrays share memory, so that they can be updated in any order and at the same time."""
    if len({id(a if a.base is None else a.base) for a in arrays}) == len(arrays):
        return True
    spans = sorted(np.lib.array_utils.byte_bounds(a) for a in arrays if a.size)
    return all(end <= start for (_, end), (start, _) in zip(spans, spans[1:], strict=False))


def _launch(rule: Rule, c: Any, columns: list[list[Array]]) -> bool:
    """Run the rule as one kernel over all parameters; False, and nothing done, without a compiler."""
    options = tuple(
        [(name, value) for name, value in zip(c._fields, c, strict=True) if isinstance(value, bool)]
    )
    kind: Any = type(c)
    kernel = _kernel(rule, kind, options, columns[0][0].dtype.name, len(columns))
    if kernel is None:
        return False
    params, grads, *states = columns
    kernel.table(params, *states, params, *states, grads, *[v for v in c if not isinstance(v, bool)])
    return True


@cache
def _kernel(
    rule: Rule, kind: Hashable, options: tuple[tuple[str, bool], ...], dtype: str, arrays: int
) -> Any:
    # The kernel engine is imported when a step is first worth it: it needs llvmlite, which is slow to load.
    try:
        from ..compiler.pointwise import pointwise_kernel
    except ImportError:
        return None
    fixed = dict(options)
    coefficients: Any = kind
    numbers = [name for name in coefficients._fields if name not in fixed]

    def body(dialect: Any, *values: Any) -> Any:
        p, *states = [Cell(v) for v in values[: arrays - 1]]
        g = Cell(values[arrays - 1])
        c = coefficients(**fixed, **dict(zip(numbers, values[arrays:], strict=True)))
        rule(Kernel(dialect), c, p, g, *states)
        return (p.value, *[s.value for s in states]) if states else p.value

    try:
        return pointwise_kernel(body, [dtype] * arrays, [dtype] * (arrays - 1), len(numbers))
    except ImportError:
        return None
