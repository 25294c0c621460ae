"""PyTorch's own samples of modules (``torch.testing._internal.common_modules``), run here and there.

A sample is a module's constructor arguments and arguments of a call. Both libraries make the module from the same seed;
then everything that a program could see of the two has to agree.
"""

from __future__ import annotations

import copy
import io
import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import flambeau

TOLERANCE = {
    "float64": (1e-8, 1e-9),
    "float32": (2e-5, 2e-5),
    "complex64": (2e-5, 2e-5),
    "complex128": (1e-8, 1e-9),
    "bfloat16": (3e-2, 3e-2),
    "float16": (5e-3, 5e-3),
}


class Disagreement(AssertionError):
    pass


def array(t: Any) -> Any:
    """The values of a tensor of either library; 16-bit floats as float32."""
    t = t.detach()
    return (t.float() if str(t.dtype).endswith(("bfloat16", "float16")) else t).numpy()


def ours(x: Any) -> Any:
    """The argument of flambeau for one of PyTorch."""
    import torch

    if isinstance(x, torch.nn.Module):
        return _module(x)
    if isinstance(x, torch.Tensor):
        t = flambeau.as_tensor(np.array(array(x))).to(ours(x.dtype))
        if x.dim() and not any(stride == 0 and size > 1 for stride, size in zip(x.stride(), x.shape)):
            t = flambeau.empty_strided(tuple(x.shape), x.stride(), dtype=t.dtype).copy_(t)
        return t.requires_grad_(x.requires_grad)
    if isinstance(x, torch.dtype):
        return getattr(flambeau, str(x).removeprefix("torch."))
    if isinstance(x, torch.nn.LinearCrossEntropyOptions):
        names = ("allow_retain_graph", "batch_chunk_size", "chunking_method", "acc_policy", "acc_dtype")
        return flambeau.nn.LinearCrossEntropyOptions(**{n: ours(getattr(x, n)) for n in names})
    if isinstance(x, torch.nn.utils.rnn.PackedSequence):
        return flambeau.nn.utils.rnn.PackedSequence(*[ours(v) for v in x])
    if isinstance(x, (list, tuple)):
        return type(x)(ours(v) for v in x)
    if isinstance(x, dict):
        return {k: ours(v) for k, v in x.items()}
    if callable(x) and (getattr(x, "__module__", None) or "").startswith("torch"):
        return getattr(flambeau.nn.functional, x.__name__, None) or getattr(flambeau, x.__name__)
    return x


def leaf(x: Any) -> Any:
    """The argument with tensors that have no history, as they are made anew for flambeau."""
    if isinstance(x, (list, tuple)) and not hasattr(x, "_fields"):
        return type(x)(leaf(v) for v in x)
    if isinstance(x, dict):
        return {k: leaf(v) for k, v in x.items()}
    if type(x).__name__ != "Tensor":
        return x
    return x.detach().clone().requires_grad_(x.requires_grad)


def _module(m: Any) -> Any:
    """A TransformerEncoderLayer given to a TransformerEncoder: the one module that is an argument."""
    layer = flambeau.nn.TransformerEncoderLayer(
        m.self_attn.embed_dim,
        m.self_attn.num_heads,
        m.linear1.out_features,
        m.dropout.p,
        ours(m.activation),
        m.norm1.eps,
        m.self_attn.batch_first,
        m.norm_first,
        m.linear1.bias is not None,
        dtype=ours(m.linear1.weight.dtype),
    )
    layer.load_state_dict({k: ours(v) for k, v in m.state_dict().items()})
    return layer


def same(got: Any, want: Any, where: str, exact: bool = False, strides: bool = False) -> None:
    """Raises: Disagreement unless the two have one structure, dtypes, shapes and values."""
    if hasattr(want, "detach"):
        if not hasattr(got, "detach"):
            raise Disagreement(f"{where}: {type(got).__name__} instead of a tensor")
        for name in ("shape", "dtype", "requires_grad"):
            a, b = str(getattr(got, name)), str(getattr(want, name))
            if a.replace("flambeau", "torch") != b:
                raise Disagreement(f"{where}: {name} {a}, not {b}")
        if strides and want.numel() and got.stride() != want.stride():
            raise Disagreement(f"{where}: strides {got.stride()}, not {want.stride()} of {tuple(want.shape)}")
        rtol, atol = (0, 0) if exact else TOLERANCE.get(str(want.dtype).removeprefix("torch."), (0, 0))
        try:
            np.testing.assert_allclose(array(got), array(want), rtol=rtol, atol=atol)
        except AssertionError as e:
            raise Disagreement(f"{where}: {' '.join(str(e).split())[:300]}") from None
    elif isinstance(want, dict):
        if list(got) != list(want):
            raise Disagreement(f"{where}: keys {list(got)}, not {list(want)}")
        for key in want:
            same(got[key], want[key], f"{where}[{key!r}]", exact, strides)
    elif isinstance(want, (list, tuple)):
        if len(got) != len(want):
            raise Disagreement(f"{where}: {len(got)} values, not {len(want)}")
        for i, (a, b) in enumerate(zip(got, want)):
            same(a, b, f"{where}[{i}]", exact, strides)
    elif got != want:
        raise Disagreement(f"{where}: {got!r}, not {want!r}")


def attempt(fn: Callable[[], Any]) -> tuple[Any, Exception | None]:
    try:
        return fn(), None
    except Exception as e:
        return None, e


def both(fn: Callable[[Any], Any], theirs: Any, where: str) -> tuple[Any, Any] | None:
    """The results of ``fn(flambeau)`` and ``fn(torch)`` from one seed, or None where both raise the same.

    Raises: Disagreement where one raises, or the types of the two errors differ.
    """
    results = []
    for lib in (flambeau, theirs):
        lib.manual_seed(3)
        results.append(attempt(lambda lib=lib: fn(lib)))
    (mine, error), (yours, other) = results
    if (
        (error is None) != (other is None)
        or error is not None
        and type(error).__name__ != type(other).__name__
    ):
        raise Disagreement(f"{where}: {type(error).__name__} ({error}), not {type(other).__name__} ({other})")
    return None if error is not None else (mine, yours)


def weighted(lib: Any, output: Any) -> Any:
    """A scalar that all elements of an output count in differently."""
    total = None
    for t in (
        output.values()
        if isinstance(output, dict)
        else output
        if isinstance(output, (list, tuple))
        else [output]
    ):
        if isinstance(t, (list, tuple)):
            t = weighted(lib, t)
        if t is None or not t.requires_grad:
            continue
        t = lib.view_as_real(t) if t.is_complex() else t
        part = (t * lib.linspace(0.5, 1.5, t.numel(), dtype=t.dtype).reshape(t.shape)).sum()
        total = part if total is None else total + part
    return total


def leaves(x: Any) -> Iterator[Any]:
    if isinstance(x, (list, tuple)):
        for v in x:
            yield from leaves(v)
    elif isinstance(x, dict):
        yield from leaves(list(x.values()))
    elif hasattr(x, "detach"):
        yield x


def check(name: str, sample: Any, training: bool, dtype: Any = None) -> None:
    """One sample: construction, printing, a call, gradients, buffers, copies and state dicts.

    Modules are converted to `dtype` if it is given; else one of another dtype than its input meets it so.

    Raises: Disagreement naming what differs.
    """
    import torch

    name = name.removeprefix("nn.")
    made, call = sample.constructor_input, sample.forward_input
    arguments = {torch: (made.args, made.kwargs), flambeau: (ours(made.args), ours(made.kwargs))}

    def construct(lib: Any) -> Any:
        args, kwargs = arguments[lib]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = getattr(lib.nn, name)(*args, **kwargs).train(training)
            return module if dtype is None else module.to(dtype if lib is torch else ours(dtype))

    pair = both(construct, torch, "constructor")
    if pair is None:
        return
    mine, yours = pair
    same(repr(mine), repr(yours), "repr")
    lazy = "Uninitialized" in repr([type(p) for p in yours.parameters()])
    if not lazy:
        same(dict(mine.state_dict()), dict(yours.state_dict()), "new state_dict", exact=True)
    if call is None:
        return
    given = leaf(call.args), leaf(call.kwargs)
    inputs = {torch: given, flambeau: ours(given)}

    def forward(modules: dict[Any, Any]) -> Callable[[Any], Any]:
        def run(lib: Any) -> Any:
            args, kwargs = inputs[lib]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return modules[lib](*args, **kwargs)

        return run

    outputs = both(forward({flambeau: mine, torch: yours}), torch, "forward")
    if outputs is None:
        return
    same(outputs[0], outputs[1], "output", strides=True)
    totals = weighted(flambeau, outputs[0]), weighted(torch, outputs[1])
    if totals[1] is not None:
        for total in totals:
            total.backward()
        same(
            [p.grad for p in mine.parameters()], [p.grad for p in yours.parameters()], "parameters' gradients"
        )
        same(
            [x.grad for x in leaves(inputs[flambeau])],
            [x.grad for x in leaves(inputs[torch])],
            "inputs' gradients",
        )
    same(dict(mine.state_dict()), dict(yours.state_dict()), "state_dict after the call")
    for copied, how in ((copy.deepcopy(mine), "deepcopy"), (pickle.loads(pickle.dumps(mine)), "pickle")):
        same(repr(copied), repr(mine), how)
        again = both(forward({flambeau: copied, torch: yours}), torch, f"forward of a {how}")
        if again is not None:
            same(again[0], again[1], f"output of a {how}")
    _exchange(construct, mine, yours)


def _exchange(construct: Callable[[Any], Any], mine: Any, yours: Any) -> None:
    """Files of state dicts are read by the other library."""
    import torch

    for source, lib, other in ((yours, torch, flambeau), (mine, flambeau, torch)):
        file = io.BytesIO()
        lib.save(source.state_dict(), file)
        file.seek(0)
        state = other.load(file)
        fresh = construct(other)
        result = fresh.load_state_dict(state)
        if result.missing_keys or result.unexpected_keys:
            raise Disagreement(f"state_dict of {lib.__name__}: {result}")
        mine_now, yours_now = (fresh, source) if other is flambeau else (source, fresh)
        same(
            dict(mine_now.state_dict()),
            dict(yours_now.state_dict()),
            f"state_dict of {lib.__name__}",
            exact=True,
        )


def samples(info: Any, dtype: Any, training: bool) -> list[Any]:
    import torch

    torch.manual_seed(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return list(
            info.module_inputs_func(info, device="cpu", dtype=dtype, requires_grad=True, training=training)
        )


def check_error(name: str, sample: Any) -> None:
    """A sample that has to raise, while it is made or called: with PyTorch's type, at the same step."""
    import torch

    made, call = sample.constructor_input, sample.forward_input

    def construct(lib: Any) -> Any:
        args, kwargs = (made.args, made.kwargs) if lib is torch else (ours(made.args), ours(made.kwargs))
        return getattr(lib.nn, name.removeprefix("nn."))(*args, **kwargs)

    pair = both(construct, torch, "constructor")
    if pair is not None and call is not None:
        modules = {flambeau: pair[0], torch: pair[1]}

        def run(lib: Any) -> Any:
            args, kwargs = (call.args, call.kwargs) if lib is torch else (ours(call.args), ours(call.kwargs))
            return modules[lib](*args, **kwargs)

        both(run, torch, "forward")
