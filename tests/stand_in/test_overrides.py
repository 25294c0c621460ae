"""``__torch_function__`` in classes and modes, as PyTorch runs the same code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import flambeau
from parity import attempt, scenario


def logging_class(torch: Any, log: list[str]) -> Any:
    class Logged(torch.Tensor):  # type: ignore[name-defined,misc]
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            log.append(func.__name__)
            return super().__torch_function__(func, types, args, kwargs or {})

    return Logged


@scenario
def test_subclasses_see_functions_methods_and_operators(torch: Any) -> Any:
    log: list[str] = []
    kind = logging_class(torch, log)
    x = torch.ones(2, 3).as_subclass(kind)
    y = torch.ones(2, 3)
    results = [
        torch.relu(x),
        x.sum(0),
        torch.cat([y, x]),
        torch.nn.functional.relu(x),
        torch.where(x > 0, x, y),
    ]
    yield [type(r) is kind for r in results]
    yield {"relu", "sum", "cat", "where"} <= set(log)
    log.clear()
    yield [type(r) is kind for r in (x + 1, 1 + x, y * x, x @ x.T, -x, x[0], x == y)], len(log) > 6
    yield type(x.detach()) is kind, type(torch.Tensor(x)) is kind, isinstance(x, torch.Tensor)


@scenario
def test_disabled_classes_give_plain_tensors(torch: Any) -> Any:
    class Plain(torch.Tensor):  # type: ignore[name-defined,misc]
        __torch_function__ = torch._C._disabled_torch_function_impl

    x = torch.ones(2).as_subclass(Plain)
    yield type(x) is Plain, type(x + 1) is torch.Tensor, type(torch.relu(x)) is torch.Tensor
    yield torch.overrides.has_torch_function((x,))
    p = torch.nn.Parameter(torch.ones(2))
    yield type(p * 2) is torch.Tensor, torch.overrides.has_torch_function((p,))


@scenario
def test_modes(torch: Any) -> Any:
    class Mode(torch.overrides.TorchFunctionMode):  # type: ignore[name-defined,misc]
        def __init__(self, name: str) -> None:
            super().__init__()
            self.log: list[str] = []

        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.log.append(func.__name__.strip("_"))
            return func(*args, **(kwargs or {}))

    x = torch.ones(2)
    with Mode("outer") as outer:
        x + 1
        with Mode("inner") as inner:
            torch.relu(x)
            x.sum()
        x[0]
    yield inner.log, outer.log
    x * 2
    yield outer.log
    try:
        with outer:
            raise KeyError
    except KeyError:
        pass
    x - 1
    yield outer.log


class Duck:
    """No tensor, but takes part."""

    def __init__(self, value: Any) -> None:
        self.value = value

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args = [a.value if isinstance(a, Duck) else a for a in args]
        return "duck", func.__name__, func(*args, **(kwargs or {}))


@scenario
def test_helpers(torch: Any) -> Any:
    o = torch.overrides
    duck, x = Duck(torch.ones(2)), torch.ones(2)

    def own(a: Any, b: Any) -> Any:
        if o.has_torch_function((a, b)):
            return o.handle_torch_function(own, (a, b), a, b)
        return a + b

    yield own(x, x), own(duck, x)
    yield o.is_tensor_like(duck), o.is_tensor_like(x), o.is_tensor_like(3)
    yield (
        o.has_torch_function_unary(duck),
        o.has_torch_function_unary(x),
        o.has_torch_function_variadic(x, duck),
    )
    yield o.is_tensor_method_or_property(torch.Tensor.add), o.is_tensor_method_or_property(torch.cat)
    yield o.resolve_name(torch.add), o.resolve_name(torch.Tensor.add_)

    @o.wrap_torch_function(lambda a: (a,))
    def wrapped(a: Any) -> Any:
        return a * 2

    yield wrapped(x), wrapped(duck)
    with torch._C.DisableTorchFunctionSubclass():
        yield o.has_torch_function((duck,))


@scenario
def test_functions_are_known_by_identity(torch: Any) -> Any:
    """As in the table of handled functions that PyTorch's documentation recommends."""
    seen: list[Any] = []

    class Seen:
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(func)
            return 0

    class SeenTensor(torch.Tensor):  # type: ignore[name-defined,misc]
        __torch_function__ = Seen.__torch_function__

    x, duck = torch.ones(2, 2), Seen()
    t = x.as_subclass(SeenTensor)
    functions = [torch.add, torch.sub, torch.mul, torch.matmul, torch.eq]
    for f in functions:
        f(duck, x), f(x, duck), f(t, x)
    yield [f is functions[i // 3] for i, f in enumerate(seen)]
    seen.clear()
    single = [torch.sum, torch.relu, torch.exp, torch.mean, torch.softmax]
    for f in single[:-1]:
        f(duck), f(t)
    torch.softmax(duck, dim=0), torch.softmax(t, dim=0)
    yield [f is single[i // 2] for i, f in enumerate(seen)]
    seen.clear()
    t.sum(), t.add(x)
    yield [f is g for f, g in zip(seen, (torch.Tensor.sum, torch.Tensor.add))]


@scenario
def test_classes_that_decline(torch: Any) -> Any:
    class No(torch.Tensor):  # type: ignore[name-defined,misc]
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            return NotImplemented

    x = torch.ones(2).as_subclass(No)
    yield attempt(lambda: torch.relu(x))


@scenario
def test_ducks_in_functions(torch: Any) -> Any:
    duck = Duck(torch.tensor([1.0, -1.0]))
    yield torch.relu(duck)
    yield torch.add(duck, 1)
    yield torch.softmax(duck, dim=0)
    yield torch.sum(duck, dim=0)
    yield torch.matmul(duck, torch.ones(2))


@scenario
def test_modes_see_what_makes_tensors(lib: Any) -> Iterator[Any]:
    seen: list[str] = []

    class Watch(lib.overrides.TorchFunctionMode):  # type: ignore[misc]
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(func.__name__)
            return func(*args, **(kwargs or {}))

    with Watch():
        x = lib.zeros(2)
        (
            lib.ones(size=(2,)),
            lib.rand(2),
            lib.randn(2),
            lib.tensor([1.0]),
            lib.as_tensor([1.0]),
            lib.asarray([1.0]),
        )
        lib.empty(2), lib.full((2,), 1.0), lib.arange(3), lib.eye(2), lib.randperm(3), lib.randint(3, (2,))
        with Watch():
            lib.zeros(1)
    yield x, seen
    lib.zeros(2)
    yield seen


def test_as_subclass_decides_the_class_itself() -> None:
    class Image(flambeau.Tensor):
        def clone(self, *, memory_format: Any = None) -> Any:
            plain = self.as_subclass(flambeau.Tensor)
            assert type(plain) is flambeau.Tensor
            return plain.clone().as_subclass(type(self))

    class Mask(flambeau.Tensor):
        pass

    image = flambeau.ones(2).as_subclass(Image)
    assert type(image.clone()) is Image and type(image.as_subclass(Mask)) is Mask
    image.as_subclass(flambeau.Tensor).zero_()
    assert image.tolist() == [0, 0]
