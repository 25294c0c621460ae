"""``backward`` and ``grad``: from tensors to the engine and back."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..core import tape, walk
from ..core.interpreters import Taped, Value
from ..core.meta import is_meta, payload
from ..core.op import dtype_of
from ..core.state import RECORD, tls
from ..core.tape import AccumulateGrad, BaseNode
from ..core.tensor import Tensor, composed, node_of, wrap
from ..prims.base import convert_to, full

ndarray = np.ndarray

TensorOrTensors = Tensor | Sequence[Tensor]


def _as_tuple(x: Any, what: str) -> tuple[Any, ...]:
    if isinstance(x, (Tensor, GradientEdge)) or x is None:
        return (x,)
    try:
        return tuple(x)
    except TypeError:
        raise TypeError(f"{what} must be a Tensor or a sequence of Tensors, not {type(x).__name__}") from None


def _inputs_of(inputs: Any, of: str) -> tuple[Any, ...]:
    """The inputs of `grad` and `backward`: a tensor or an edge, several, or a dict of them.

    Raises: TypeError for other mappings (whose keys would be taken for the inputs), RuntimeError for none at all.
    """
    if type(inputs) is dict:
        inputs = tuple(inputs.values())
    elif isinstance(inputs, Mapping):
        raise TypeError(
            f"`inputs` argument to `{of}()` must be a dict, not {type(inputs).__name__}. Other Mapping types are not "
            "supported."
        )
    found = _as_tuple(inputs, "inputs")
    if not found:
        raise RuntimeError(f"`inputs` argument to `{of}()` cannot be empty.")
    return found


class GradientEdge(NamedTuple):
    """Where a gradient arrives: a node of the graph, and which of its outputs' gradients it is.

    `ownership_token` is for `get_gradient_edge`.
    """

    node: BaseNode
    output_nr: int
    ownership_token: Any = None


def _node_at(edge: GradientEdge) -> BaseNode:
    """The node in which the gradient of the edge's output is summed up."""
    node = edge.node
    if isinstance(edge.ownership_token, tape.OutNode):
        return edge.ownership_token
    many = getattr(node, "n_out", 1) != 1 or getattr(node, "_multiple", False)
    return tape.OutNode(node, edge.output_nr) if many else node


def _node_of(t: Any) -> BaseNode:
    """The node of an input, a tensor or an edge.

    Raises: TypeError for anything else, RuntimeError for a tensor that requires no grad.
    """
    if isinstance(t, GradientEdge):
        return _node_at(t)
    if not isinstance(t, Tensor):
        raise TypeError(f"inputs must be Tensors or GradientEdges, not {type(t).__name__}")
    node = t._node if composed(t) else node_of(t)
    if node is None:
        raise RuntimeError("One of the differentiated Tensors does not require grad")
    return node  # type: ignore[no-any-return]


def _seed(t: Tensor, g: Any, at: int) -> Tensor:
    """The initial cotangent of output number `at`: the one given, checked, or 1 for a scalar."""
    shape = tuple(t._a.shape)
    if g is None:
        if math.prod(shape) != 1:
            raise RuntimeError(
                f"grad can be implicitly created only for scalar outputs, but the output has shape {list(shape)}; "
                "give gradient=, or reduce it first (for example .sum())"
            )
        if t._a.dtype.kind == "c":
            raise RuntimeError(
                f"grad can be implicitly created only for real scalar outputs but got {dtype_of(t)}; give gradient="
            )
        a = t._a
        return (
            wrap(payload(shape, a.dtype))
            if type(a) is not ndarray and is_meta(t)
            else full(shape, 1, a.dtype)
        )
    if not isinstance(g, Tensor):
        raise TypeError(f"gradients can be either Tensors or None, but got {type(g).__name__}")
    have = tuple(g._a.shape)
    _check_shape(have, shape, at)
    if (g._a.dtype.kind == "c") != (t._a.dtype.kind == "c"):
        raise RuntimeError(
            "For complex Tensors, both grad_output and output are required to have the same dtype. Mismatch in dtype: "
            f"grad_output[{at}] has dtype {dtype_of(g)} and output[{at}] has dtype {dtype_of(t)}."
        )
    return g if g._a.dtype == t._a.dtype else convert_to(g, t._a.dtype)


def _check_shape(have: tuple[int, ...], shape: tuple[int, ...], at: int) -> None:
    if have != shape:
        raise RuntimeError(
            f"Mismatch in shape: grad_output[{at}] has a shape of torch.Size({list(have)}) and output[{at}] has a shape "
            f"of torch.Size({list(shape)})."
        )


def _of_values(t: Any, g: Any, at: int) -> tuple[Any, Any]:
    """An output and its cotangent, one of them sparse: of a sparse output the values, and what falls on them."""
    if not composed(t):
        return t, g
    if g is None:
        if math.prod(t.shape) != 1:
            raise RuntimeError("grad can be implicitly created only for scalar outputs")
        return t._vals, t._vals.detach().clone().fill_(1)
    _check_shape(tuple(g.shape), tuple(t.shape), at)
    mask = t.detach()
    if composed(g) and (g.layout != t.layout or g.sparse_dim() != t.sparse_dim()):
        g = g.to_dense()
    return t._vals, g.sparse_mask(mask)._vals


def check_level(t: Tensor) -> None:
    """Refuse to walk a graph recorded below a transform from inside it: its values there are hidden from it.

    Raises: RuntimeError for outputs of vmap or jvp whose history is on an outer tape.
    """
    a = t._a
    if isinstance(a, Value) and a.interp is tls.stack[-1] and not isinstance(a, Taped):
        raise RuntimeError(
            f"backward() or autograd.grad() inside {a.interp.name} of a graph recorded outside it is not possible: the saved values "
            "belong to the level below. Use flambeau.func.grad or vjp inside the transformed function."
        )


def _run(
    outputs: Sequence[Tensor],
    seeds: Sequence[Any],
    *,
    keep_graph: bool,
    create_graph: bool,
    targets: Sequence[BaseNode] | None,
    accumulate: bool,
) -> dict[BaseNode, Tensor]:
    roots = []
    for at, (t, g) in enumerate(zip(outputs, seeds)):
        if isinstance(t, GradientEdge):
            if not isinstance(g, Tensor):
                raise RuntimeError("the gradient of a GradientEdge has to be given: its shape is not known")
            roots.append((_node_at(t), g))
            continue
        if composed(t) or composed(g):
            t, g = _of_values(t, g, at)
        node = node_of(t)
        if node is not None and tls.stack:
            check_level(t)
        if node is None:
            raise RuntimeError(
                "element 0 of tensors does not require grad and does not have a grad_fn: nothing was recorded for it "
                "(was it made under no_grad, by .detach(), or from tensors without requires_grad=True?)"
            )
        if composed(g):
            _check_shape(tuple(g.shape), tuple(t.shape), at)
            roots.append((node, g if type(node) is AccumulateGrad else g.to_dense()))
            continue
        roots.append((node, _seed(t, g, at)))
    prev = tls.grad
    mode = tls.mode
    try:
        tls.grad = create_graph
        if create_graph or mode != RECORD:
            tls.refresh()
        # else: unpacked values carry no history while `grad` is off, so the rules record nothing in any mode; the engine
        # refreshes the mode before it runs hooks or users' functions
        if targets is not None:
            tls.partial = tls.backwards + 1  # the number of this walk, which visits a part of the graph only
        return walk.run_backward(
            roots, keep_graph=keep_graph, targets=targets, accumulate=accumulate, create_graph=create_graph
        )
    finally:
        tls.grad = prev
        if tls.mode != mode:
            tls.set_grad(prev)


def _plain_scalar(t: Tensor, keep_graph: bool) -> bool:
    """``loss.backward()`` and nothing else: most calls, without the bookkeeping of the others."""
    a, node = t._a, t._node
    if node is None or type(a) is not ndarray or a.size != 1 or a.dtype.kind != "f":
        return False
    seed = np.empty(a.shape, a.dtype)
    seed.fill(1)
    tls.grad = False
    try:
        walk.run_backward(((node, wrap(seed)),), keep_graph=keep_graph)
    finally:
        tls.grad = True
        if tls.mode != RECORD:
            tls.set_grad(True)
    return True


def backward(
    tensors: TensorOrTensors,
    grad_tensors: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    grad_variables: Any = None,
    inputs: Any = None,
) -> None:
    """Accumulate into ``.grad`` of the leaves the gradients of the sum of `tensors`.

    `grad_tensors` are the cotangents, of the tensors' shapes; scalars need none.  `inputs` limits the accumulation to
    the given tensors.  The graph is freed unless `retain_graph` (default: the value of `create_graph`).

    Raises: RuntimeError for non-scalar outputs without cotangents, mismatched shapes, a graph already freed, or a
    saved tensor that was changed in place.

    >>> import flambeau as torch
    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> torch.autograd.backward((x * x).sum())
    >>> x.grad
    tensor([2., 4.])
    """
    if tls.compiled is not None and tls.capture is None:
        compiled, tls.compiled = tls.compiled, None
        options = (tensors, grad_tensors, retain_graph, create_graph, grad_variables, inputs)
        compiled.record(backward, options, {})
        return
    if grad_tensors is None and inputs is None and not create_graph and tls.mode == RECORD:
        if isinstance(tensors, Tensor) and _plain_scalar(tensors, bool(retain_graph)):
            return
    if tls.stack:
        raise RuntimeError(
            f"backward() called inside a function under {tls.stack[-1].name}: it would write .grad from within the "
            "transform. Use flambeau.func.grad or vjp there, or call backward() outside of the transforms."
        )
    outputs = _as_tuple(tensors, "tensors")
    if grad_variables is not None:
        if grad_tensors is not None:
            raise RuntimeError(
                "grad_tensors and grad_variables (deprecated) were both given; give grad_tensors"
            )
        grad_tensors = grad_variables
    seeds = (None,) * len(outputs) if grad_tensors is None else _as_tuple(grad_tensors, "grad_tensors")
    if len(seeds) != len(outputs):
        raise RuntimeError(f"got {len(outputs)} tensors and {len(seeds)} gradients")
    if inputs is not None:
        wanted = _inputs_of(inputs, "backward")
    keep = create_graph if retain_graph is None else retain_graph
    if inputs is None:
        _run(outputs, seeds, keep_graph=keep, create_graph=create_graph, targets=None, accumulate=True)
        return
    nodes = [_node_of(t) for t in wanted]
    for t, node in zip(wanted, nodes):
        if type(node) is not AccumulateGrad and isinstance(t, Tensor):
            t.retain_grad()
    _run(outputs, seeds, keep_graph=keep, create_graph=create_graph, targets=nodes, accumulate=True)


def grad(
    outputs: TensorOrTensors,
    inputs: TensorOrTensors | dict[str, Tensor],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    only_inputs: bool = True,
    allow_unused: bool | None = None,
    is_grads_batched: bool = False,
    materialize_grads: bool = False,
) -> Any:
    """Gradients of the sum of `outputs` with respect to `inputs`, without touching any ``.grad``.

    A tuple, or for a dict of inputs a dict with its keys.  `create_graph` makes the result differentiable again.  An
    input that the outputs do not depend on is an error unless `allow_unused` (then None) or `materialize_grads` (then
    zeros).  With `is_grads_batched` the first dim of each cotangent is a batch, and one batched pass gives all the
    vector-Jacobian products.

    An input that is no leaf has the gradient that its own hooks have seen and changed; PyTorch leaves them out where
    the gradient of something before it is asked for, too.

    Raises: RuntimeError, as `backward`, and for unused inputs; TypeError for other mappings than dicts.

    >>> import flambeau as torch
    >>> x = torch.tensor(3.0, requires_grad=True)
    >>> g, = torch.autograd.grad(x ** 3, x, create_graph=True)
    >>> torch.autograd.grad(g, x)
    (tensor(18.),)
    """
    if tls.compiled is not None and tls.capture is None:
        compiled, tls.compiled = tls.compiled, None
        choices = (retain_graph, create_graph, only_inputs, allow_unused, is_grads_batched, materialize_grads)
        found: tuple[Any, ...] = compiled.record(grad, (outputs, inputs, grad_outputs, *choices), {})
        return found
    if type(inputs) is dict:
        options = (retain_graph, create_graph, only_inputs, allow_unused, is_grads_batched, materialize_grads)
        return dict(zip(inputs, grad(outputs, tuple(inputs.values()), grad_outputs, *options)))
    outs = _as_tuple(outputs, "outputs")
    ins = _inputs_of(inputs, "grad")
    if materialize_grads and allow_unused is False:
        raise ValueError(
            "Expected allow_unused to be True or not passed when materialize_grads=True, but got: allow_unused=False."
        )
    unused_ok = materialize_grads if allow_unused is None else allow_unused
    seeds = (None,) * len(outs) if grad_outputs is None else _as_tuple(grad_outputs, "grad_outputs")
    if len(seeds) != len(outs):
        raise RuntimeError(f"got {len(outs)} tensors and {len(seeds)} gradients")
    if is_grads_batched:
        from ..func import vmap

        for at, (t, g) in enumerate(zip(outs, seeds)):
            if isinstance(t, Tensor) and isinstance(g, Tensor) and tuple(g.shape)[1:] != tuple(t.shape):
                raise RuntimeError(
                    "If `is_grads_batched=True`, we interpret the first dimension of each grad_output as the batch "
                    "dimension. The sizes of the remaining dimensions are expected to match the shape of corresponding "
                    f"output, but a mismatch was detected: grad_output[{at}] has a shape of torch.Size({list(g.shape)}) and "
                    f"output[{at}] has a shape of torch.Size({list(t.shape)}). If you only want some tensors in "
                    "`grad_output` to be considered batched, consider using vmap."
                )
        unused: list[bool] = []

        def one(gs: Any) -> Any:
            result = grad(outs, ins, gs, True, create_graph, True, allow_unused, False, materialize_grads)
            unused[:] = [g is None for g in result]
            return tuple(g for g in result if g is not None)

        rows = iter(vmap(one)(tuple(seeds)))
        return tuple(None if is_unused else next(rows) for is_unused in unused)
    keep = create_graph if retain_graph is None else retain_graph
    nodes: list[BaseNode] = []
    for t in ins:
        nodes.append(_node_of(t))
    reached = _run(outs, seeds, keep_graph=keep, create_graph=create_graph, targets=nodes, accumulate=False)
    result: list[Any] = []
    for t, node in zip(ins, nodes):
        g = reached.get(node)
        if g is None:
            if not unused_ok:
                raise RuntimeError(
                    "One of the differentiated Tensors appears to not have been used in the graph. Set allow_unused=True "
                    "if this is the desired behavior."
                )
            if materialize_grads:
                if isinstance(t, GradientEdge):
                    raise RuntimeError(
                        "materialize_grads cannot be used when the given input is a GradientEdge, whose shape is not known"
                    )
                g = full(tuple(t.shape), 0, t.dtype.numpy)
                g = wrap(payload(g._a.shape, g._a.dtype)) if t.is_meta else g
                if create_graph:  # so that it can be differentiated in turn, as if it had been computed
                    g = g.requires_grad_()
        elif composed(t):
            g = t.detach()._with(g)  # the gradient of a sparse tensor's values, in its places
        result.append(g)
    return tuple(result)
