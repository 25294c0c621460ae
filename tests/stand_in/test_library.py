"""Operations that programs define themselves, and the imports of libraries that define some.

Annotations are evaluated: PyTorch makes a schema of them.
"""

import importlib
import itertools
from typing import Any

import pytest

import flambeau
from flambeau.stand_in import standing_in
from parity import attempt, scenario

_count = itertools.count()  # a name is registered once a process


def _square(torch: Any) -> Any:
    @torch.library.custom_op(f"flambeautest{next(_count)}::square", mutates_args=())
    def square(x: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
        return scale * x * x

    return square


@scenario
def test_an_operation_with_a_derivative(torch: Any) -> Any:
    square = _square(torch)
    square.register_fake(lambda x, scale=1.0: torch.empty_like(x))

    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, ctx.scale = inputs
        ctx.save_for_backward(x)

    square.register_autograd(
        lambda ctx, g: (2 * ctx.scale * ctx.saved_tensors[0] * g, None), setup_context=setup_context
    )
    x = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    y = square(x, scale=2.0)
    y.sum().backward()
    yield y, x.grad, square(x)
    yield torch.autograd.gradcheck(square, x.detach().double().requires_grad_())


@scenario
def test_an_operation_without_a_derivative(torch: Any) -> Any:
    square = _square(torch)
    x = torch.ones(2, requires_grad=True)
    yield square(x.detach())
    yield attempt(lambda: square(x).sum().backward())


@scenario
def test_an_operation_that_writes(torch: Any) -> Any:
    name = f"flambeautest{next(_count)}::fill"

    @torch.library.custom_op(name, mutates_args={"x"})
    def fill(x: torch.Tensor, value: float) -> None:
        x.fill_(value)

    x = torch.zeros(3)
    yield fill(x, 2.0), x, x._version
    namespace, op = name.split("::")
    yield getattr(getattr(torch.ops, namespace), op)(x, 3.0), x


@scenario
def test_batches(torch: Any) -> Any:
    square = _square(torch)
    square.register_vmap(lambda info, in_dims, x, scale=1.0: (square(x, scale), in_dims[0]))
    yield torch.vmap(square)(torch.arange(6.0).reshape(2, 3))


@scenario
def test_names(torch: Any) -> Any:
    yield attempt(lambda: torch.ops.flambeautest.nothing)
    yield attempt(lambda: torch.ops.load_library("/nowhere/library.so"))


def test_returning_an_input_is_refused() -> None:
    @flambeau.library.custom_op("flambeautest::same", mutates_args=())
    def same(x: flambeau.Tensor) -> flambeau.Tensor:
        return x

    with pytest.raises(RuntimeError, match="may not return one of its inputs"):
        same(flambeau.ones(2))
    with pytest.raises(ValueError, match="namespace::name"):
        flambeau.library.custom_op("same", same, mutates_args=())
    with pytest.raises(RuntimeError, match="does not exist"):
        flambeau.library.register_autograd("flambeautest::absent", lambda ctx, g: g)


def test_schemas_and_kernels() -> None:
    library = flambeau.library.Library("flambeautest", "DEF")
    assert library.define("thrice(Tensor x) -> Tensor") == "thrice"
    library.impl("thrice", lambda x: 0 * x, "CUDA")
    library.impl("thrice", lambda x: 3 * x, "CPU")
    assert flambeau.ops.flambeautest.thrice(flambeau.ones(2)).tolist() == [3, 3]
    library.impl("twice", lambda x: 2 * x)
    x = flambeau.ones(2, requires_grad=True)
    flambeau.ops.flambeautest.twice(x).sum().backward()  # derived from what is inside
    assert x.grad.tolist() == [2, 2]


def test_what_vision_libraries_import() -> None:
    """They mark operations for tools that are absent here, and can do without them."""
    with standing_in():
        for module, names in {
            "torch.library": ["register_fake", "Library"],
            "torch._custom_ops": [],
            "torch.fx": ["wrap"],
            "torch.hub": ["_get_torch_home", "tqdm", "urlparse", "HASH_REGEX", "load_state_dict_from_url"],
            "torch.utils.model_zoo": ["tqdm", "load_url"],
            "torch.jit.annotations": ["BroadcastingList2"],
            "torch.onnx": ["symbolic_opset11", "register_custom_op_symbolic"],
            "torch.onnx.symbolic_helper": ["parse_args"],
            "torch.ao.quantization": ["QuantStub", "DeQuantStub"],
            "torch._dynamo.utils": ["is_compile_supported"],
        }.items():
            found = importlib.import_module(module)
            assert all(hasattr(found, name) for name in names), module
        torch = importlib.import_module("torch")
        keys = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCPU)
        assert len(keys | torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastCUDA)) == 2
        assert torch.ao.quantization.QuantStub()(torch.ones(2)).tolist() == [1, 1]
        with pytest.raises(AttributeError, match="prepare_qat"):
            torch.ao.quantization.prepare_qat  # noqa: B018
        assert list(torch.hub.tqdm([1, 2], disable=True)) == [1, 2]


@scenario
def test_optimizers_of_other_packages(torch: Any) -> Any:
    optimizer = importlib.import_module(f"{torch.__name__}.optim.optimizer")

    class Plain(torch.optim.Optimizer):
        def __init__(self, params: optimizer.ParamsT, differentiable: bool = False) -> None:
            super().__init__(params, {"lr": 0.1, "differentiable": differentiable})

        @optimizer._use_grad_for_differentiable
        def step(self) -> Any:
            for group in self.param_groups:
                for p in group["params"]:
                    p.add_(p.grad, alpha=-optimizer._get_value(group["lr"]))
            return torch.is_grad_enabled()

    p = torch.ones(3, requires_grad=True)
    p.grad = torch.arange(3.0)
    yield Plain([p]).step(), p
    q = p.detach() * 1
    q.grad = torch.ones(3)
    yield Plain([q], differentiable=True).step(), q
    yield optimizer._default_to_fused_or_foreach([p], False, use_fused=True)
    yield optimizer._default_to_fused_or_foreach([p], False)
    yield optimizer._default_to_fused_or_foreach([p], True)
    lists = [torch.ones(2, dtype=torch.complex64)], [torch.zeros(2, dtype=torch.complex64)]
    optimizer._view_as_real(*lists)
    yield [t[0].shape for t in lists]
    yield attempt(lambda: torch._assert(False, "no")), torch._assert(torch.tensor(True), "yes")
    transformer = importlib.import_module(f"{torch.__name__}.nn.modules.transformer")
    yield transformer._get_activation_fn("relu")(torch.tensor(-1.0))
