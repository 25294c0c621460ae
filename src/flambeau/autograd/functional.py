"""Products and matrices of derivatives of a function of tensors: `flambeau.autograd.functional`.

`flambeau.func` has the same as transforms that compose; the functions here take the function together with its inputs,
work on ``.requires_grad`` tensors, and so also see gradients with respect to what the function closes over
(`create_graph`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .. import func as transforms
from ..core.public import FUNCTIONS
from ..core.tensor import Tensor
from ..ops import creation
from . import differentiate
from .grad_mode import enable_grad

__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]

Tensors = tuple[Tensor, ...]


def _as_tuple(values: Any, what: str, caller: str) -> tuple[bool, Tensors]:
    """(whether it was a tuple, the tensors).  Raises: TypeError."""
    several = isinstance(values, tuple)
    found = values if several else (values,)
    for i, x in enumerate(found):
        if not isinstance(x, Tensor):
            start = f"The {what} given to {caller} must be either a Tensor or a tuple of Tensors but the"
            if several:
                raise TypeError(f"{start} value at index {i} has type {type(x)}.")
            raise TypeError(f"{start} given {what} has type {type(values)}.")
    return several, found


def _leaves(inputs: Tensors, create_graph: bool) -> Tensors:
    """The inputs, to be differentiated by: tied to the caller's graph with `create_graph`, apart from it without."""
    return tuple(x.view_as(x) if create_graph and x.requires_grad else _fresh(x) for x in inputs)


def _fresh(x: Tensor) -> Tensor:
    leaf: Any = x.detach()
    return leaf.requires_grad_()  # type: ignore[no-any-return]


def _run(fn: Callable[..., Any], inputs: Tensors, caller: str, strict: bool) -> tuple[bool, Tensors]:
    several, outputs = _as_tuple(fn(*inputs), "outputs of the user-provided function", caller)
    if strict:
        for i, y in enumerate(outputs):
            if not y.requires_grad:
                raise RuntimeError(
                    f"Output {i} of the user-provided function does not require gradients. The outputs must be "
                    "computed in a differentiable manner from the input when running in strict mode."
                )
    return several, outputs


def _grad(outputs: Sequence[Tensor], inputs: Tensors, cotangents: Sequence[Any], create_graph: bool) -> Any:
    """One gradient for each input, None where nothing depends on it."""
    pairs = [(y, g) for y, g in zip(outputs, cotangents) if y.requires_grad]
    if not pairs:
        return (None,) * len(inputs)
    ys, gs = zip(*pairs)
    return differentiate.grad(ys, inputs, gs, create_graph=create_graph, retain_graph=True, allow_unused=True)


def _filled(grads: Any, inputs: Tensors, strict: bool, message: str) -> Tensors:
    """Zeros in place of None.  Raises: RuntimeError, with `message` for the index of the input, when strict."""
    found = []
    for i, (g, x) in enumerate(zip(grads, inputs)):
        if g is None and strict:
            raise RuntimeError(message.format(i))
        found.append(creation.zeros_like(x) if g is None else g)
    return tuple(found)


def _depend(values: Tensors, message: str) -> None:
    """Raise: RuntimeError, with `message` for its index, for a derivative that is not itself a function of the inputs."""
    for i, g in enumerate(values):
        if not g.requires_grad:
            raise RuntimeError(message.format(i))


def _vector(v: Any, like: Tensors, several: bool, where: str, caller: str) -> Tensors:
    """The checked vector, ones for a single number."""
    if v is None:
        if len(like) != 1 or like[0].numel() != 1:
            what = (
                "user-provided function returns"
                if where == "output"
                else "input to the user-provided function is"
            )
            raise RuntimeError(
                f"The vector v can only be None if the {what} a single Tensor with a single element."
            )
        return (creation.ones_like(like[0]),)
    _, values = _as_tuple(v, "v", caller)
    if not several and len(values) != 1:
        raise RuntimeError("The given v should contain a single Tensor.")
    if len(values) != len(like):
        raise RuntimeError(f"v is a tuple of invalid length: should be {len(like)} but got {len(values)}.")
    for i, (x, y) in enumerate(zip(values, like)):
        if x.shape != y.shape:
            entry = f"Entry {i} in v" if several else "v"
            raise RuntimeError(f"{entry} has invalid size: should be {y.shape} but got {x.shape}.")
    return values


def _finish(several: bool, values: Tensors, create_graph: bool) -> Any:
    found = values if create_graph else tuple(x.detach() for x in values)
    return found if several else found[0]


def _scalar(outputs: Tensors, caller: str, is_tuple: bool) -> Tensor:
    if is_tuple or not isinstance(outputs[0], Tensor):
        raise RuntimeError(f"The function given to {caller} should return a single Tensor")
    if outputs[0].numel() != 1:
        raise RuntimeError(
            f"The Tensor returned by the function given to {caller} should contain a single element"
        )
    return outputs[0]


_INDEPENDENT = (
    "The output of the user-provided function is independent of input {}. This is not allowed in strict mode."
)
_CONSTANT = (
    "The jacobian of the user-provided function is independent of input {}. This is not allowed in strict mode when "
    "create_graph=True."
)
_NOT_TWICE = (
    "While computing the hessian, found that the jacobian of the user-provided function with respect to input {} is "
    "independent of the input. This is not allowed in strict mode. You should ensure that your function is twice "
    "differentiable and that the jacobian depends on the inputs (this would be violated by a linear function for "
    "example)."
)


def vjp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> Any:
    """``(outputs, v @ J)``: the product of a vector of the outputs' shapes with the Jacobian.

    `inputs` is a tensor or a tuple of tensors, `v` of the outputs' structure (None for one number).  `create_graph`
    makes both differentiable; `strict` raises where an output does not depend on an input, instead of giving zeros.

    Raises: RuntimeError for a wrong `v` or under `strict`, TypeError for what is no tensor.

    >>> import flambeau as torch
    >>> torch.autograd.functional.vjp(lambda x: x**2, torch.tensor([1.0, 2.0]), torch.ones(2))[1]
    tensor([2., 4.])
    """
    with enable_grad():
        in_tuple, given = _as_tuple(inputs, "inputs", "vjp")
        xs = _leaves(given, create_graph)
        out_tuple, ys = _run(func, xs, "vjp", strict)
        cotangents = _vector(v, ys, out_tuple, "output", "vjp")
    with enable_grad():
        grads = _filled(_grad(ys, xs, cotangents, create_graph), xs, strict, _INDEPENDENT)
    if strict and create_graph:
        _depend(grads, _CONSTANT)
    return _finish(out_tuple, ys, create_graph), _finish(in_tuple, grads, create_graph)


def jvp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> Any:
    """``(outputs, J @ v)``: the product of the Jacobian with a vector of the inputs' shapes.

    As `vjp`, with `v` of the inputs' structure.  It is the transpose of the transpose (two backward passes), so it
    needs no forward rules; `flambeau.func.jvp` is faster.

    Raises: as `vjp`.

    >>> import flambeau as torch
    >>> torch.autograd.functional.jvp(lambda x: x**2, torch.tensor([1.0, 2.0]), torch.ones(2))[1]
    tensor([2., 4.])
    """
    with enable_grad():
        in_tuple, given = _as_tuple(inputs, "inputs", "jvp")
        tangents = _vector(v, given, in_tuple, "input", "jvp")
        xs = _leaves(given, create_graph)
        out_tuple, ys = _run(func, xs, "jvp", strict)
        cotangents = tuple(_fresh(creation.zeros_like(y)) for y in ys)
        grads = _filled(_grad(ys, xs, cotangents, True), xs, strict, _INDEPENDENT)
        product = _filled(_grad(grads, cotangents, tangents, create_graph), ys, strict, _INDEPENDENT)
    if strict and create_graph:
        _depend(product, _CONSTANT)
    return _finish(out_tuple, ys, create_graph), _finish(out_tuple, product, create_graph)


def vhp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> Any:
    """``(output, v @ H)``: a vector of the inputs' shapes times the Hessian of a function with one number as result.

    Raises: RuntimeError for results with more elements, and as `vjp`.

    >>> import flambeau as torch
    >>> torch.autograd.functional.vhp(lambda x: (x**3).sum(), torch.tensor([1.0, 2.0]), torch.ones(2))[1]
    tensor([ 6., 12.])
    """
    return _hessian_product("vhp", func, inputs, v, create_graph, strict)


def hvp(
    func: Callable[..., Any], inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False
) -> Any:
    """``(output, H @ v)``: the Hessian is symmetric, so this is `vhp`.

    Raises: as `vhp`.

    >>> import flambeau as torch
    >>> torch.autograd.functional.hvp(lambda x: (x**3).sum(), torch.tensor([1.0, 2.0]), torch.ones(2))[1]
    tensor([ 6., 12.])
    """
    return _hessian_product("hvp", func, inputs, v, create_graph, strict)


def _hessian_product(
    caller: str, fn: Callable[..., Any], inputs: Any, v: Any, create_graph: bool, strict: bool
) -> Any:
    with enable_grad():
        in_tuple, given = _as_tuple(inputs, "inputs", caller)
        vector = _vector(v, given, in_tuple, "input", caller)
        xs = _leaves(given, create_graph)
        out_tuple, ys = _run(fn, xs, caller, strict)
        y = _scalar(ys, caller, out_tuple)
        grads = _filled(_grad((y,), xs, (None,), True), xs, strict, _INDEPENDENT)
        if strict:
            _depend(grads, _NOT_TWICE)
        product = _filled(_grad(grads, xs, vector, create_graph), xs, strict, _NOT_TWICE)
    return _finish(False, (y,), create_graph), _finish(in_tuple, product, create_graph)


def jacobian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    strategy: str = "reverse-mode",
) -> Any:
    """The Jacobian: for each output and input a tensor of shape ``(*output.shape, *input.shape)``.

    A tensor when `inputs` and outputs are tensors, else tuples: over outputs, then over inputs.  `vectorize` computes
    the rows in one batch, ``strategy="forward-mode"`` (which needs it) the columns.

    Raises: RuntimeError under `strict` (see `vjp`), TypeError for what is no tensor, NotImplementedError for
    forward mode without `vectorize`, AssertionError for unknown strategies.

    >>> import flambeau as torch
    >>> torch.autograd.functional.jacobian(lambda x: x**2, torch.tensor([1.0, 2.0]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    if strategy not in ("forward-mode", "reverse-mode"):
        raise AssertionError(
            'Expected strategy to be either "forward-mode" or "reverse-mode": the former suits functions with more '
            f"outputs than inputs, the latter others; got {strategy!r}"
        )
    if strict and vectorize:
        raise RuntimeError(
            "torch.autograd.functional.jacobian: `strict=True` and `vectorize=True` are not supported together. "
            "Please either set `strict=False` or `vectorize=False`."
        )
    in_tuple, given = _as_tuple(inputs, "inputs", "jacobian")
    if strategy == "forward-mode":
        if not vectorize:
            raise NotImplementedError(
                "Computing Jacobian using forward-AD or forward-over-reverse Hessian is "
                "only implemented for `vectorize=True`."
            )
        out_tuple, rows = _forward(func, given, create_graph)
    else:
        with enable_grad():
            xs = _leaves(given, create_graph)
            out_tuple, ys = _run(func, xs, "jacobian", strict)
            rows = [_rows(i, y, xs, create_graph, strict, vectorize) for i, y in enumerate(ys)]
    found = tuple(_finish(in_tuple, row, create_graph) for row in rows)
    return found if out_tuple else found[0]


def _rows(index: int, y: Tensor, xs: Tensors, create_graph: bool, strict: bool, batched: bool) -> Tensors:
    """The Jacobians of one output with respect to all inputs."""
    n = y.numel()
    basis = creation.eye(n, dtype=y.dtype).reshape((n, *y.shape))
    independent = f"Output {index} of the user-provided function is independent of input {{}}. This is not allowed in strict mode."
    if n == 0 or not y.requires_grad:
        return tuple(creation.zeros((*y.shape, *x.shape), dtype=x.dtype) for x in xs)
    if batched:
        grads = differentiate.grad(
            (y,),
            xs,
            (basis,),
            create_graph=create_graph,
            retain_graph=True,
            allow_unused=True,
            is_grads_batched=True,
        )
        return tuple(
            creation.zeros((*y.shape, *x.shape), dtype=x.dtype)
            if g is None
            else g.reshape((*y.shape, *x.shape))
            for g, x in zip(grads, xs)
        )
    stacked = []
    for row in basis:
        grads = _filled(_grad((y,), xs, (row,), create_graph), xs, strict, independent)
        if strict and create_graph:
            _depend(grads, _CONSTANT)
        stacked.append(grads)
    return tuple(FUNCTIONS["stack"](gs).reshape((*y.shape, *x.shape)) for gs, x in zip(zip(*stacked), xs))


def _forward(fn: Callable[..., Any], inputs: Tensors, create_graph: bool) -> tuple[bool, list[Tensors]]:
    """As `_rows`, one batch of columns for each input."""
    several = False

    def outputs(*xs: Tensor) -> Tensors:
        nonlocal several
        several, ys = _as_tuple(fn(*xs), "outputs of the user-provided function", "jacobian")
        return ys

    xs = inputs if create_graph else tuple(x.detach() for x in inputs)
    by_input = []
    for i, x in enumerate(xs):

        def column(t: Tensor, i: int = i) -> Any:
            def of_one(z: Tensor) -> Any:
                return outputs(*xs[:i], z, *xs[i + 1 :])

            return transforms.jvp(of_one, (xs[i],), (t,))[1]

        n = x.numel()
        columns = transforms.vmap(column)(creation.eye(n, dtype=x.dtype).reshape((n, *x.shape)))
        by_input.append([c.movedim(0, -1).reshape((*c.shape[1:], *x.shape)) for c in columns])
    return several, [tuple(row) for row in zip(*by_input)]


def hessian(
    func: Callable[..., Any],
    inputs: Any,
    create_graph: bool = False,
    strict: bool = False,
    vectorize: bool = False,
    outer_jacobian_strategy: str = "reverse-mode",
) -> Any:
    """The Hessian of a function with one number as result: a tensor, or for a tuple of inputs a tuple of tuples.

    Entry ``[i][j]`` has the shape ``(*inputs[i].shape, *inputs[j].shape)``; see `jacobian` for the options.

    Raises: RuntimeError for results with more elements, and as `jacobian`.

    >>> import flambeau as torch
    >>> torch.autograd.functional.hessian(lambda x: (x**3).sum(), torch.tensor([1.0, 2.0]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    if strict and vectorize:
        raise RuntimeError(
            "torch.autograd.functional.hessian: `strict=True` and `vectorize=True` are not supported together. "
            "Please either set `strict=False` or `vectorize=False`."
        )
    in_tuple, given = _as_tuple(inputs, "inputs", "hessian")

    def gradient(*xs: Tensor) -> Tensors:
        def value(*zs: Tensor) -> Tensor:
            out_tuple, ys = _run(func, zs, "hessian", strict)
            total: Tensor = _scalar(ys, "hessian", out_tuple).reshape(())
            return total

        if outer_jacobian_strategy == "forward-mode":
            grads = transforms.grad(value, argnums=tuple(range(len(xs))))(*xs)
            return grads  # type: ignore[no-any-return]
        grads = jacobian(value, xs, create_graph=True, strict=False)
        if strict:
            _depend(grads, _NOT_TWICE)
        return grads  # type: ignore[no-any-return]

    found = jacobian(
        gradient, given, create_graph=create_graph, vectorize=vectorize, strategy=outer_jacobian_strategy
    )
    return found if in_tuple else found[0][0]
