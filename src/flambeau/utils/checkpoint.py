"""Trading time for memory: what a function saved for its backward pass is dropped, and computed again when needed.

Griewank and Walther, "Algorithm 799: Revolve", ACM TOMS 26 (2000), section 1; Chen et al., "Training Deep Nets with
Sublinear Memory Cost", arXiv:1604.06174, section 4.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any

from ..autograd.differentiate import backward as run_backward
from ..autograd.function import Function
from ..autograd.grad_mode import enable_grad, no_grad
from ..autograd.graph import saved_tensors_hooks
from ..core.pytree import tree_leaves
from ..core.state import tls
from ..core.tensor import Tensor, storage
from ..ops.random import fork_rng, get_rng_state, set_rng_state

__all__ = [
    "CheckpointError",
    "checkpoint",
    "checkpoint_sequential",
    "get_device_states",
    "noop_context_fn",
    "set_checkpoint_early_stop",
    "set_device_states",
]

Contexts = Callable[[], tuple[AbstractContextManager[Any], AbstractContextManager[Any]]]


class CheckpointError(RuntimeError):
    """The second run of a function did not save what the first one saved."""


class _Stop(Exception):
    """Everything that was asked for has been computed again."""


class _Settings:
    early_stop: bool | None = None


@contextlib.contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """Whether a second run may stop as soon as it has saved all that is needed (it may, by default)."""
    before, _Settings.early_stop = _Settings.early_stop, enable
    try:
        yield
    finally:
        _Settings.early_stop = before


def noop_context_fn() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """Contexts of the first and the second run that do nothing."""
    return contextlib.nullcontext(), contextlib.nullcontext()


def get_device_states(*args: Any) -> tuple[list[int], list[Tensor]]:
    """The numbers of the accelerators that these tensors lie on, and the states of their generators: none."""
    return [], []


def set_device_states(
    devices: Sequence[int], states: Sequence[Tensor], *, device_type: str | None = None
) -> None:
    """Gives accelerators back what `get_device_states` has found.

    Raises: RuntimeError where it names an accelerator, as there is none.
    """
    if devices:
        raise RuntimeError(f"set_device_states: there are no accelerators, but devices is {list(devices)}")


def _casting() -> Callable[[], AbstractContextManager[Any]]:
    """What makes a context with the autocast settings that hold now, for the second run."""
    if tls.autocast is None and "flambeau.amp.autocast_mode" not in sys.modules:  # never set
        return contextlib.nullcontext
    from ..amp.autocast_mode import (
        autocast,
        get_autocast_dtype,
        is_autocast_cache_enabled,
        is_autocast_enabled,
    )

    enabled, cached = is_autocast_enabled("cpu"), is_autocast_cache_enabled()
    return functools.partial(autocast, "cpu", get_autocast_dtype("cpu"), enabled, cached)


class _Slot:
    """Stands in the graph for a tensor that was not saved."""

    __slots__ = ("value", "meta", "__weakref__")

    def __init__(self, x: Tensor) -> None:
        self.value: Tensor | None = None
        self.meta = tuple(x.shape), x.dtype, x.device


class _Frame:
    """One call of a function whose saved tensors are dropped."""

    def __init__(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        again: AbstractContextManager[Any],
        preserve: bool,
        check: bool,
        early_stop: bool,
    ) -> None:
        self.fn, self.args, self.kwargs, self.again = fn, args, kwargs, again
        self.check, self.early_stop = check, early_stop
        self.rng = get_rng_state() if preserve else None
        self.casting = _casting()
        self.completed = False  # the first run
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        self.given = [(t, storage(t), storage(t).version) for t in given]
        self.backward = -1  # the backward pass that the slots' values were computed in
        self.slots: list[
            weakref.ref[_Slot]
        ] = []  # weak: of parts of the graph that are gone nothing is needed

    def pack(self, x: Tensor) -> _Slot:
        slot = _Slot(x)
        self.slots.append(weakref.ref(slot))
        return slot

    def unpack(self, slot: _Slot) -> Tensor:
        if (
            slot.value is None or self.backward != tls.backwards
        ):  # what an earlier pass left may be out of date
            self.run_again()
            self.backward = tls.backwards
        value: Tensor | None = slot.value
        slot.value = None
        if value is None:
            raise CheckpointError(
                "torch.utils.checkpoint: a tensor that was saved in forward was not saved again in the recomputation: "
                "the function did something else the second time"
            )
        return value

    def run_again(self) -> None:
        for t, st, version in self.given:
            if storage(t) is not st or st.version != version:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by an inplace operation: an "
                    f"argument of checkpoint, {t.dtype} of shape {list(t.shape)}, was changed after the call, so the "
                    "function cannot run again. Use an operation that makes a new tensor, or pass a .clone()."
                )
        count = 0
        total = len(self.slots)

        def keep(x: Tensor) -> Tensor:
            nonlocal count
            if count >= total:
                if not self.completed:  # a backward pass within the function: what follows it may save, too
                    return x.detach()  # type: ignore[no-any-return]
                raise CheckpointError(
                    "torch.utils.checkpoint: trying to save more tensors during recomputation than during the original "
                    f"forward pass ({total})"
                )
            slot = self.slots[count]()
            count += 1
            if slot is not None:
                meta = tuple(x.shape), x.dtype, x.device
                if self.check and meta != slot.meta:
                    raise CheckpointError(
                        "torch.utils.checkpoint: Recomputed values for the following tensors have different metadata than "
                        f"during the forward pass.\n  tensor at position {count - 1}: saved {slot.meta}, recomputed {meta}"
                    )
                slot.value = x.detach()
            if count == total and self.early_stop:
                raise _Stop
            return x.detach()  # type: ignore[no-any-return]

        with contextlib.ExitStack() as stack:
            if self.rng is not None:
                stack.enter_context(fork_rng())
                set_rng_state(self.rng)
            stack.enter_context(self.casting())
            stack.enter_context(self.again)
            stack.enter_context(enable_grad())
            stack.enter_context(saved_tensors_hooks(keep, lambda x: x))
            try:
                self.fn(*self.args, **self.kwargs)
            except _Stop:
                return
        if count != total and self.completed:
            raise CheckpointError(
                "torch.utils.checkpoint: A different number of tensors was saved during the original forward and "
                f"recomputation.\nNumber of tensors saved during forward: {total}\nNumber of tensors saved during "
                f"recomputation: {count}."
            )


class _Reentrant(Function):
    """The older form: forward without a graph, and in backward a whole forward and backward of its own."""

    @staticmethod
    def forward(ctx: Any, fn: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        ctx.fn, ctx.rng = fn, get_rng_state() if preserve else None
        ctx.casting = _casting()
        ctx.places = [i for i, a in enumerate(args) if isinstance(a, Tensor)]
        ctx.others = [None if isinstance(a, Tensor) else a for a in args]
        ctx.save_for_backward(*[args[i] for i in ctx.places])
        with no_grad():
            return fn(*args)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        if tls.__dict__.get("partial") == tls.backwards:
            raise RuntimeError(
                "When use_reentrant=True, torch.utils.checkpoint is incompatible with .grad() or passing an `inputs` "
                "parameter to .backward(). To resolve this error, you can either set use_reentrant=False, or call "
                ".backward() without passing the `inputs` argument."
            )
        args = list(ctx.others)
        for i, t in zip(ctx.places, ctx.saved_tensors):
            args[i] = t.detach().requires_grad_(t.requires_grad)
        with contextlib.ExitStack() as stack:
            if ctx.rng is not None:
                stack.enter_context(fork_rng())
                set_rng_state(ctx.rng)
            stack.enter_context(ctx.casting())
            stack.enter_context(enable_grad())
            outs = ctx.fn(*args)
        outs = outs if isinstance(outs, (tuple, list)) else (outs,)
        pairs = [(o, g) for o, g in zip(outs, grads) if isinstance(o, Tensor) and o.requires_grad]
        if not pairs:
            raise RuntimeError("none of output has requires_grad=True, this checkpoint() is not necessary")
        run_backward([o for o, _ in pairs], [g for _, g in pairs])
        return (None, None, *[a.grad if isinstance(a, Tensor) else None for a in args])


def checkpoint(
    function: Callable[..., Any],
    *args: Any,
    use_reentrant: bool | None = None,
    context_fn: Contexts = noop_context_fn,
    determinism_check: str = "default",
    debug: bool = False,
    early_stop: bool = True,
    **kwargs: Any,
) -> Any:
    """``function(*args, **kwargs)``, whose intermediate results are not kept for backward but computed again there.

    With ``use_reentrant=False``, which is the better choice, everything that works without `checkpoint` works with it:
    keyword arguments, nested structures, `autograd.grad`, double backward.  With True the second run has a backward pass
    of its own.  `preserve_rng_state` (default True) gives the second run the first one's random numbers.  `context_fn`
    returns the contexts of the first and of the second run.  `determinism_check` "default" compares the shapes and
    dtypes of what both runs save, "none" nothing.

    Raises: CheckpointError (a RuntimeError) when the second run does not save what the first one saved, RuntimeError in
    backward when an argument was changed in place since; ValueError for
    unknown keyword arguments with ``use_reentrant=True`` and unknown checks.

    >>> import flambeau as torch
    >>> from flambeau.utils.checkpoint import checkpoint
    >>> x = torch.ones(2, requires_grad=True)
    >>> checkpoint(lambda x: x.exp().sin().sum(), x, use_reentrant=False).backward()
    >>> torch.allclose(x.grad, x.exp().cos() * x.exp())
    True
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint: the use_reentrant parameter should be passed explicitly. use_reentrant=False is "
            "recommended, but if you need to preserve the current default behavior, you can pass use_reentrant=True.",
            stacklevel=2,
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if determinism_check not in ("default", "none"):
        raise ValueError(
            f"determinism_check should be one of ['default', 'none'], but got {determinism_check}"
        )
    if use_reentrant:
        if kwargs:
            raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
        if context_fn is not noop_context_fn or debug:
            raise ValueError("Passing `context_fn` or `debug` is only supported when use_reentrant=False.")
        if tls.grad and not any(isinstance(a, Tensor) and a.requires_grad for a in args):
            warnings.warn("None of the inputs have requires_grad=True. Gradients will be None", stacklevel=2)
        return _Reentrant.apply(function, preserve, *args)
    first, second = context_fn()
    if not tls.grad:
        with first:
            return function(*args, **kwargs)
    stop = _Settings.early_stop if _Settings.early_stop is not None else early_stop
    frame = _Frame(function, args, kwargs, second, preserve, determinism_check == "default", stop)
    with first, saved_tensors_hooks(frame.pack, frame.unpack):
        result = function(*args, **kwargs)
    frame.completed = True
    return result


def checkpoint_sequential(
    functions: Any, segments: int, input: Any, use_reentrant: bool | None = None, **kwargs: Any
) -> Any:
    """The functions (or the children of a Sequential) one after the other, in `segments` parts, of which each but the
    last is a `checkpoint`.

    Raises: ValueError for unknown keyword arguments and for numbers of segments that do not fit.

    >>> import flambeau as torch
    >>> from flambeau.utils.checkpoint import checkpoint_sequential
    >>> x = torch.ones(2, requires_grad=True)
    >>> checkpoint_sequential([torch.exp, torch.sin, torch.exp, torch.cos], 2, x, use_reentrant=False).sum().backward()
    >>> x.grad.shape
    torch.Size([2])
    """
    if use_reentrant is None:
        warnings.warn(
            "torch.utils.checkpoint.checkpoint_sequential: the use_reentrant parameter should be passed explicitly.",
            stacklevel=2,
        )
        use_reentrant = True
    preserve = kwargs.pop("preserve_rng_state", True)
    if kwargs:
        raise ValueError("Unexpected keyword arguments: " + ",".join(kwargs))
    parts = list(functions.children()) if hasattr(functions, "children") else list(functions)

    def run(part: Sequence[Callable[..., Any]]) -> Callable[..., Any]:
        def forward(x: Any) -> Any:
            for f in part:
                x = f(x)
            return x

        return forward

    if not 1 <= segments <= max(1, len(parts)):
        raise ValueError(f"segments must be from 1 to the number of functions, {len(parts)}, not {segments}")
    size = len(parts) // segments
    end = -1
    for start in range(0, size * (segments - 1), size):
        end = start + size - 1
        input = checkpoint(
            run(parts[start : end + 1]), input, use_reentrant=use_reentrant, preserve_rng_state=preserve
        )
    return run(parts[end + 1 :])(input)
