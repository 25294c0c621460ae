"""How Functions are called (defaults, keywords, dual tensors), and backward passes to and from edges of the graph."""

import pytest

import flambeau as torch
import flambeau.autograd.forward_ad as fwAD
from flambeau.autograd.graph import GradientEdge, get_gradient_edge


class Power(torch.autograd.Function):
    @staticmethod
    def forward(x, exponent=2, factor=1.0):
        return factor * x**exponent

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, ctx.exponent, ctx.factor = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return ctx.factor * ctx.exponent * x ** (ctx.exponent - 1) * g, None, None


@pytest.mark.parametrize(
    "call, wanted",
    [
        (lambda x: Power.apply(x), 6.0),
        (lambda x: Power.apply(x, 3), 27.0),
        (lambda x: Power.apply(x, factor=2.0), 12.0),
    ],
)
def test_setup_context_sees_the_defaults_of_what_was_left_out(call, wanted):
    x = torch.tensor(3.0, requires_grad=True)
    call(x).backward()
    assert x.grad.item() == wanted


class Cube(torch.autograd.Function):
    """Without setup_context, which is enough for dual tensors."""

    @staticmethod
    def forward(ctx, x):
        y = x**3
        ctx.save_for_backward(x)
        ctx.save_for_forward(x, y)
        return y, x > 0

    @staticmethod
    def backward(ctx, g, _):
        return 3 * ctx.saved_tensors[0] ** 2 * g

    @staticmethod
    def jvp(ctx, t):
        x, y = ctx.saved_tensors
        return 3 * y / x * t, None


def test_dual_tensors_in_a_function_that_keeps_things_in_forward():
    x = torch.tensor([2.0, -1.0], dtype=torch.float64, requires_grad=True)
    with fwAD.dual_level():
        y, positive = Cube.apply(fwAD.make_dual(x, torch.tensor([1.0, 10.0], dtype=torch.float64)))
        assert fwAD.unpack_dual(y).tangent.tolist() == [12.0, 30.0]
        assert fwAD.unpack_dual(positive).tangent is None
        assert positive.tolist() == [True, False]
    y.sum().backward()
    assert x.grad.tolist() == [12.0, 3.0]
    assert torch.autograd.gradcheck(lambda x: Cube.apply(x)[0], x, check_forward_ad=True)


def test_transforms_want_setup_context():
    with pytest.raises(RuntimeError, match="setup_context"):
        torch.func.jvp(lambda x: Cube.apply(x)[0], (torch.ones(2),), (torch.ones(2),))


def test_a_decorated_class_is_made_in_the_mode():
    with pytest.warns(FutureWarning, match="Decorating classes"):

        @torch.no_grad()
        class Holder:
            def __init__(self):
                self.recording = torch.is_grad_enabled()

    assert not Holder().recording


def test_gradients_at_edges():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    middle = x * 3
    edges = get_gradient_edge(x), get_gradient_edge(middle), GradientEdge(middle.grad_fn, 0)
    gx, gm, again = torch.autograd.grad((middle**2).sum(), edges, retain_graph=True)
    assert gx.tolist() == [18.0, 36.0]
    assert gm.tolist() == again.tolist() == [6.0, 12.0]
    torch.autograd.backward(edges[1], torch.ones(2), inputs=[x])
    assert x.grad.tolist() == [3.0, 3.0]


class Both(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2, x * 3

    @staticmethod
    def backward(ctx, a, b):
        return 2 * a + 3 * b


def test_an_edge_of_one_of_several_outputs():
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    double, triple = Both.apply(x)
    edge = get_gradient_edge(triple)
    assert edge.node is triple.grad_fn and edge.output_nr == 1
    (g,) = torch.autograd.grad((double + 5 * triple).sum(), edge, retain_graph=True)
    assert g.tolist() == [5.0, 5.0]
    (g,) = torch.autograd.grad(GradientEdge(edge.node, 1), x, torch.ones(2))
    assert g.tolist() == [3.0, 3.0]


def test_what_edges_cannot_do():
    x = torch.ones(2, requires_grad=True)
    y, z = x * 2, x * 3
    with pytest.raises(RuntimeError, match="materialize_grads cannot be used"):
        torch.autograd.grad(y.sum(), get_gradient_edge(z), materialize_grads=True)
    with pytest.raises(RuntimeError, match="has to be given"):
        torch.autograd.backward(get_gradient_edge(y))
    with pytest.raises(RuntimeError, match="cannot be empty"):
        torch.autograd.grad(y.sum(), ())


@pytest.mark.parametrize("name", ["min", "max", "median", "nanmedian"])
def test_nans_share_the_gradient_of_an_extreme(name):
    x = torch.tensor([float("nan"), float("nan")], requires_grad=True)
    getattr(torch, name)(x).backward()
    assert x.grad.tolist() == [0.5, 0.5]
    mixed = torch.tensor([1.0, float("nan"), 3.0], requires_grad=True)
    getattr(torch, name)(mixed).backward()
    assert mixed.grad.tolist() == ([1.0, 0.0, 0.0] if name == "nanmedian" else [0.0, 1.0, 0.0])
