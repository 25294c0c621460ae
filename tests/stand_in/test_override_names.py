"""What a mode, or a class with a ``__torch_function__``, is told of attributes, operators, initialisers and functional forms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import flambeau
from parity import scenario


def name_of(fn: Any) -> str:
    name: str = getattr(fn, "__name__", str(fn))
    return f"{fn.__self__.__name__}.{name}" if name in ("__get__", "__set__", "__delete__") else name


def recording(lib: Any) -> Any:
    class Mode(lib.overrides.TorchFunctionMode):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.log: list[str] = []

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.log.append(name_of(func))
            return func(*args, **(kwargs or {}))

    return Mode()


def recording_class(lib: Any, log: list[str]) -> Any:
    class Recorded(lib.Tensor):  # type: ignore[name-defined,misc]
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            log.append(name_of(func))
            return super().__torch_function__(func, types, args, kwargs or {})

    return Recorded


READ = """shape grad requires_grad T mT H data dtype device layout is_leaf grad_fn ndim itemsize nbytes output_nr is_sparse is_cuda
    is_quantized is_cpu real mH _version""".split()
F = "lib.nn.functional."
CALLS = [
    *(f"x.{name}" for name in READ),
    *("x.grad = y", "x.data = y", "x.requires_grad = True", "del x.grad"),
    *(
        "x[0]",
        "x[0] = 1",
        "x + 1",
        "1 - x",
        "x @ x",
        "x == x",
        "x < 1",
        "x += 1",
        "x.add_(1)",
        "repr(x)",
        "x.where(x > 0, x)",
    ),
    *("x.size()", "float(x[0, 0])", "x.view(4)", "x.transpose(0, 1)", "x.to(lib.float64)"),
    *(f"lib.nn.init.{name}(x)" for name in ("uniform_", "normal_", "kaiming_uniform_")),
    "lib.nn.init.constant_(x, 1.0)",
    *(f"{F}{name}(x)" for name in ("dropout", "gelu", "normalize", "relu", "silu", "glu")),
    *(
        f"{F}layer_norm(x, (2,))",
        f"{F}mse_loss(x, x)",
        f"{F}softmax(x, -1)",
        f"{F}linear(x, x)",
        f"{F}pad(x, (1, 1))",
    ),
    *(f"{F}interpolate(x[None], scale_factor=2)", f"{F}cosine_similarity(x, x)", f"{F}embedding(i, x)"),
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.filterwarnings("ignore")
def test_names(call: str) -> None:
    torch = pytest.importorskip("torch")
    logs = []
    for lib in (flambeau, torch):
        x, y, i = lib.ones(2, 2), lib.zeros(2, 2), lib.tensor([0])
        with recording(lib) as mode:
            exec(call, {"lib": lib, "x": x, "y": y, "i": i})
        log: list[str] = []
        z = lib.ones(2, 2).as_subclass(recording_class(lib, log))
        log.clear()
        exec(call, {"lib": lib, "x": z, "y": y, "i": i})
        logs.append((mode.log, log))
    assert logs[0] == logs[1]


@scenario
def test_functions_are_what_programs_look_up(lib: Any) -> Iterator[Any]:
    attributes = lib.Tensor
    known = {
        attributes.add: "add",
        attributes.shape.__get__: "shape",
        attributes.grad.__set__: "grad",
        attributes.__getitem__: "item",
    }
    seen = []

    class Mode(lib.overrides.TorchFunctionMode):  # type: ignore[name-defined,misc]
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(known.get(func))
            seen.append(func == lib.Tensor.shape.__get__)  # while the mode is active, too
            return func(*args, **(kwargs or {}))

    x = lib.ones(2)
    with Mode():
        x.shape  # noqa: B018
        x.add(1)
        x.grad = lib.ones(2)
        x[0]
    yield seen


@scenario
def test_attributes_of_subclasses(lib: Any) -> Iterator[Any]:
    kind = recording_class(lib, [])
    x = lib.ones(2, 3).as_subclass(kind)
    yield type(x.T) is kind, type(x.data) is kind, type(x.shape) is lib.Size, x.shape[0]
    y = lib.ones(2, requires_grad=True).as_subclass(kind)
    y.retain_grad()
    (y * 2).sum().backward()
    yield type(y.grad) is lib.Tensor, y.grad

    class Answers(lib.Tensor):  # type: ignore[name-defined,misc]
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func == lib.Tensor.shape.__get__:
                return "a shape"
            return super().__torch_function__(func, types, args, kwargs or {})

    yield lib.ones(2).as_subclass(Answers).shape


def test_plain_tensors_do_not_ask_after_a_mode() -> None:
    before = {name: vars(flambeau.Tensor)[name] for name in ("shape", "add", "__getitem__", "grad")}
    with recording(flambeau), recording(flambeau):
        assert flambeau.ones(2).shape == (2,)
    assert {name: vars(flambeau.Tensor)[name] for name in before} == before


@scenario
def test_names_of_functions(lib: Any) -> Iterator[Any]:
    name = lib.overrides.resolve_name
    yield name(lib.Tensor.add), name(lib.Tensor.shape.__get__), name(lib.add), name(lib.nn.functional.relu)
    yield name(lib.nn.init.uniform_), name(lib.linalg.det), name(len)
    assert lib.overrides.is_tensor_method_or_property(lib.Tensor.grad.__get__)
    yield lib.zeros in lib.overrides.get_ignored_functions(), lib.add in lib.overrides.get_ignored_functions()
    answers = lib.overrides.get_testing_overrides()
    yield answers[lib.add](1, 2), answers[lib.nn.functional.relu](1), answers[lib.Tensor.sum](1)
    yield lib.Tensor.grad.__get__ in lib.overrides.get_default_nowrap_functions()


@scenario
def test_device_contexts(lib: Any) -> Iterator[Any]:
    from_context = __import__(f"{lib.__name__}.utils._device", fromlist=["DeviceContext"])
    with from_context.DeviceContext("cpu"):
        yield str(lib.ones(2).device), lib.arange(3)
    yield from_context.set_device("cpu")(lambda: lib.zeros(1))()
    with lib.device("cpu"):
        yield str(lib.tensor([1.0]).device)
    lib.set_default_device("cpu")
    yield str(lib.get_default_device())
    lib.set_default_device(None)
