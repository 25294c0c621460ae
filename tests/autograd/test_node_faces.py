"""Nodes as users see them: classes named after the operation, and the tensors that they keep."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau as torch


def leaf() -> torch.Tensor:
    return torch.tensor([1.0, 2.0], requires_grad=True)


def test_the_class_bears_the_name() -> None:
    y = (leaf() * 3).exp()
    node = y.grad_fn
    below = node.next_functions[0][0]
    assert type(node).__name__ == "ExpBackward0" and type(below).__name__ == "MulBackward0"
    assert type(below.next_functions[0][0]).__name__ == "AccumulateGrad"
    assert isinstance(node, torch.autograd.graph.Node)
    assert repr(node).startswith("<ExpBackward0 object at 0x") and node.name() == "ExpBackward0"


def test_names_of_several_outputs_plain_nodes_and_slices() -> None:
    x = leaf()
    assert type(torch.stack([x, x]).unbind()[1].grad_fn).__name__ == "UnbindBackward0"
    assert type((x + x).grad_fn).__name__ == "AddBackward0"
    y = x * 1
    y[0] = 5.0
    assert type(y.grad_fn).__name__ == "CopySlices"


def test_backward_goes_through_nodes_that_were_looked_at() -> None:
    x = leaf()
    y = (x * x + x).sum()
    todo, seen = [y.grad_fn], []
    while todo:
        node = todo.pop()
        seen.append(type(node).__name__)
        todo += [n for n, _ in node.next_functions if n is not None]
    assert seen.count("AccumulateGrad") == 3
    y.backward()
    assert x.grad.tolist() == [3.0, 5.0]


def test_saved_tensors_by_name() -> None:
    x = leaf()
    y = x.exp()
    assert torch.equal(y.grad_fn._saved_result, y)
    assert y.grad_fn._saved_result.grad_fn is y.grad_fn
    z = y * x
    assert z.grad_fn._saved_other is x and torch.equal(z.grad_fn._saved_self, y)
    p = x.pow(2)
    assert p.grad_fn._saved_self is x and p.grad_fn._saved_exponent == 2
    assert {"_saved_self", "_saved_other", "_raw_saved_self"} <= set(dir(z.grad_fn))
    with pytest.raises(AttributeError, match="_saved_weight"):
        _ = y.grad_fn._saved_weight


def test_saved_tensors_are_gone_after_backward() -> None:
    x = leaf()
    y = x.exp()
    y.sum().backward()
    with pytest.raises(RuntimeError, match="second time"):
        _ = y.grad_fn._saved_result
    with pytest.raises(RuntimeError, match="freed"):
        _ = y.grad_fn._raw_saved_result


def test_a_changed_saved_tensor_is_refused() -> None:
    x = leaf()
    y = x * 1
    z = y * y
    y.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        _ = z.grad_fn._saved_self


def test_hooks_of_one_saved_tensor() -> None:
    x = leaf()
    p = x.pow(2)
    raw = p.grad_fn._raw_saved_self
    raw.register_hooks(lambda t: t.numpy() * 2, torch.from_numpy)
    with pytest.raises(RuntimeError, match="existing hooks"):
        raw.register_hooks(lambda t: t, lambda t: t)
    p.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [4.0, 8.0])


def test_as_in_pytorch() -> None:
    reference = pytest.importorskip("torch")
    for make in (
        lambda t, x: (x * x.exp()).sum(),
        lambda t, x: (x.sin() - x.reshape(2, 1).t()).tanh().sum(),
        lambda t, x: x.sin()[0] / x[1] ** 2,
    ):
        names = []
        for t in (torch, reference):
            todo, found = [make(t, t.tensor([1.0, 2.0], requires_grad=True)).grad_fn], []
            while todo:
                node = todo.pop()
                found.append(type(node).__name__)
                todo += [n for n, _ in node.next_functions if n is not None]
            names.append(found)
        assert names[0] == names[1]
