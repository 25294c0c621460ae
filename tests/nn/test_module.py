"""Module itself.  Each scenario runs here and in PyTorch and must leave the same trace, errors included."""

import copy
import pickle
import sys
import warnings
from collections import OrderedDict

import numpy as np
import pytest

import flambeau
from flambeau.nn.modules import module as flambeau_module

torch = pytest.importorskip("torch")


def plain(x):
    """Tensors as lists, so that traces compare."""
    if hasattr(x, "detach"):
        return x.detach().tolist()
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [plain(v) for v in x]
    return x


def outcome(fn):
    """What a call does: its result, or its exception's type and message."""
    try:
        return plain(fn())
    except Exception as e:
        return type(e).__name__, str(e)


def both(scenario):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, theirs = plain(scenario(flambeau)), plain(scenario(torch))
    assert ours == theirs
    return ours


def net(lib):
    lib.manual_seed(0)

    class Net(lib.nn.Module):
        def __init__(self):
            super().__init__()
            self.a = lib.nn.Linear(2, 3)
            self.b = lib.nn.Sequential(lib.nn.Linear(3, 3), lib.nn.BatchNorm1d(3))
            self.shared = self.a
            self.scale = lib.nn.Parameter(lib.ones(1))
            self.register_buffer("offset", lib.zeros(1))
            self.register_buffer("scratch", lib.zeros(2), persistent=False)
            self.register_buffer("nothing", None)
            self.register_parameter("absent", None)

        def forward(self, x):
            return self.b(self.a(x)) * self.scale + self.offset

    return Net()


def double_net(lib):
    class Doubler(lib.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = lib.nn.Parameter(lib.tensor([1.0, 2.0]))

        def forward(self, x, *, bonus=0.0):
            return x * self.w + bonus

    return Doubler()


# -------------------------------------------------------------------------------------------------- structure


def test_traversal():
    def scenario(lib):
        m = net(lib)
        return [
            [n for n, _ in m.named_parameters()],
            [n for n, _ in m.named_parameters(remove_duplicate=False)],
            [n for n, _ in m.named_parameters(prefix="p", recurse=False)],
            [n for n, _ in m.named_buffers()],
            [n for n, _ in m.named_modules()],
            [n for n, _ in m.named_modules(prefix="p", remove_duplicate=False)],
            [n for n, _ in m.named_children()],
            len(list(m.parameters())),
            len(list(m.buffers(recurse=False))),
            len(list(m.modules())),
            len(list(m.children())),
            list(m.state_dict()),
            list(m.state_dict(prefix="x.")),
            [n for n in dir(m) if n in ("a", "b", "scale", "offset", "absent", "forward")],
        ]

    both(scenario)


def test_errors():
    def scenario(lib):
        nn = lib.nn
        m, linear, seq, bn = nn.Module(), nn.Linear(2, 2), nn.Sequential(nn.Identity()), nn.BatchNorm1d(2)
        t = lib.zeros(2)

        class NoInit(nn.Module):
            def __init__(self, make):
                self.x = make()

        calls = [
            lambda: m(1),
            lambda: nn.Module(3),
            lambda: nn.Module(a=3),
            lambda: m.register_buffer(3, None),
            lambda: m.register_buffer("a.b", None),
            lambda: m.register_buffer("", None),
            lambda: linear.register_buffer("weight", None),
            lambda: m.register_buffer("w", 3),
            lambda: m.register_parameter(3, None),
            lambda: m.register_parameter("a.b", None),
            lambda: m.register_parameter("", None),
            lambda: m.register_parameter("forward", None),
            lambda: m.register_parameter("w", t),
            lambda: m.register_parameter("w", "text"),
            lambda: m.add_module(3, None),
            lambda: m.add_module("a.b", None),
            lambda: m.add_module("", None),
            lambda: linear.add_module("weight", None),
            lambda: m.add_module("w", 3),
            lambda: m.get_submodule("a.b"),
            lambda: linear.get_submodule("weight"),
            lambda: linear.get_parameter("foo"),
            lambda: linear.get_parameter("training"),
            lambda: linear.get_buffer("foo"),
            lambda: linear.get_buffer("weight"),
            lambda: m.set_submodule("a", 3),
            lambda: m.set_submodule("", linear),
            lambda: m.set_submodule("x.y", linear),
            lambda: seq.set_submodule("x", linear, strict=True),
            lambda: nn.Sequential(linear).set_submodule("0.weight", linear),
            lambda: setattr(linear, "weight", t),
            lambda: setattr(linear, "weight", "a"),
            lambda: setattr(linear, "weight", nn.Identity()),
            lambda: setattr(seq, "0", 3),
            lambda: setattr(bn, "running_mean", 3),
            lambda: linear.foo,
            lambda: delattr(linear, "foo"),
            lambda: linear.train(3),
            lambda: linear.to(lib.int32),
            lambda: linear.load_state_dict(3),
            lambda: linear.load_state_dict({"weight": 1, "x": 2}) and None,
            lambda: linear.load_state_dict({"weight": lib.zeros(1, 2), "bias": lib.zeros(3)}),
            lambda: nn.Sequential(linear).load_state_dict({"1.weight": t, "0.weight.x": t, "z": t}),
            lambda: NoInit(lambda: nn.Identity()),
            lambda: NoInit(lambda: nn.Parameter(t)),
            lambda: NoInit(lambda: nn.Buffer(t)),
            lambda: NoInit(lambda: 3).y,
            lambda: linear.cuda() and None if not torch.cuda.is_available() else None,
            lambda: nn.ParameterList()(1),
            lambda: nn.ParameterDict()(1),
        ]
        results = []
        for i, call in enumerate(calls):
            result = outcome(call)
            if isinstance(result, tuple):
                kind, text = result
                # messages about types name ours or theirs; AssertionError of cuda says more here
                text = text.replace("flambeau.", "torch.").replace("torch.Tensor", "Tensor")
                result = (kind, text.split(":")[0])
            results.append((i, result))
        return results

    for i, result in both(scenario):
        assert isinstance(result, list), (i, result)


def test_attribute_kinds_replace_each_other():
    def scenario(lib):
        m = lib.nn.Module()
        t = lib.ones(1)
        trace = []

        def note():
            tables = [sorted(m._parameters), sorted(m._buffers), sorted(m._modules), "x" in m.__dict__]
            trace.append([*tables, sorted(m._non_persistent_buffers_set)])

        m.x = 3
        note()
        m.x = lib.nn.Parameter(t)
        note()
        m.x = None
        note()
        del m.x
        m.x = lib.nn.Buffer(t, persistent=False)
        note()
        m.x = t * 2
        note()
        m.x = lib.nn.Parameter(t)
        note()
        del m.x
        m.x = lib.nn.Identity()
        note()
        m.x = lib.nn.Parameter(t)
        note()
        del m.x
        note()
        m.x = t
        note()
        return trace

    both(scenario)


def test_train_apply_requires_grad():
    def scenario(lib):
        m = net(lib)
        seen = []
        m.apply(lambda x: seen.append(type(x).__name__))
        m.eval()
        modes = [x.training for x in m.modules()]
        m.b.train()
        modes += [x.training for x in m.modules()]
        m.requires_grad_(False)
        return seen, modes, [p.requires_grad for p in m.parameters()]

    both(scenario)


def test_to_changes_values_but_not_identity():
    def scenario(lib):
        m = net(lib)
        weight = m.a.weight
        m(lib.ones(4, 2)).sum().backward()
        out = []
        for convert in (
            m.double,
            m.half,
            m.bfloat16,
            m.float,
            lambda: m.to(lib.float64),
            lambda: m.to(lib.ones(1)),
        ):
            convert()
            out.append([str(t.dtype) for t in (*m.parameters(), *m.buffers())])
            out.append([str(p.grad.dtype) for p in m.parameters()])
        m.to("cpu", lib.float64)
        m.to(device="cpu", dtype=lib.float32)
        return out, m.a.weight is weight, m.shared.weight is weight, weight.grad

    both(scenario)


def test_zero_grad():
    def scenario(lib):
        m = double_net(lib)
        m(lib.ones(2)).sum().backward()
        m.zero_grad(set_to_none=False)
        zeros = m.w.grad
        m.zero_grad()
        return zeros, m.w.grad is None

    both(scenario)


def test_copies_are_independent():
    m = net(flambeau)
    for other in (copy.deepcopy(m), pickle.loads(pickle.dumps(m.b))):
        assert other.training
    twin = copy.deepcopy(m)
    assert twin.shared is twin.a and twin.a is not m.a
    with flambeau.no_grad():
        twin.a.weight.fill_(7.0)
    assert not (m.a.weight == 7).any()


# ------------------------------------------------------------------------------------------------ state dicts


def test_state_dict_shares_memory_and_detaches():
    m = net(flambeau)
    state = m.state_dict()
    assert not state["a.weight"].requires_grad
    assert m.state_dict(keep_vars=True)["a.weight"] is m.a.weight
    with flambeau.no_grad():
        m.a.weight.fill_(3.0)
    assert (state["a.weight"] == 3).all()


def test_round_trip_with_pytorch():
    ours, theirs = net(flambeau), net(torch)
    state = {k: torch.from_numpy(np.asarray(v.numpy() + 1)) for k, v in ours.state_dict().items()}
    assert repr(theirs.load_state_dict(state)) == "<All keys matched successfully>"
    back = {k: flambeau.from_numpy(v.numpy()) for k, v in theirs.state_dict().items()}
    assert repr(ours.load_state_dict(back)) == "<All keys matched successfully>"
    np.testing.assert_array_equal(ours.a.weight.detach().numpy(), theirs.a.weight.detach().numpy())


def test_load_not_strict():
    def scenario(lib):
        m = net(lib)
        state = m.state_dict()
        del state["a.bias"]
        state["b.7.z"] = lib.zeros(1)
        state["extra"] = lib.zeros(1)
        result = m.load_state_dict(state, strict=False)
        return (
            result.missing_keys,
            result.unexpected_keys,
            repr(result),
            outcome(lambda: m.load_state_dict(state)),
        )

    both(scenario)


def test_failed_load_changes_nothing():
    m = net(flambeau)
    before = {k: v.clone() for k, v in m.state_dict().items()}
    state = {k: v + 1 for k, v in before.items()}
    state["b.0.bias"] = flambeau.zeros(17)
    with pytest.raises(RuntimeError, match="size mismatch for b.0.bias"):
        m.load_state_dict(state)
    with pytest.raises(RuntimeError, match="size mismatch for b.0.bias"):
        m.load_state_dict(state, assign=True)
    del state["b.0.bias"]
    with pytest.raises(RuntimeError, match="Missing key"):
        m.load_state_dict(state)
    for key, value in m.state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[key].numpy())


def test_load_assign():
    def scenario(lib):
        m = lib.nn.Linear(2, 2)
        m.weight.requires_grad_(False)
        state = {
            "weight": lib.ones(2, 2, dtype=lib.float64),
            "bias": lib.nn.Parameter(lib.ones(2), requires_grad=False),
        }
        bias = state["bias"]
        m.load_state_dict(state, assign=True)
        return (
            str(m.weight.dtype),
            m.weight.requires_grad,
            m.bias is bias,
            m.bias.requires_grad,
            type(m.weight).__name__,
        )

    both(scenario)


def test_old_checkpoints():
    def scenario(lib):
        bn = lib.nn.BatchNorm1d(2)
        state = OrderedDict((k, v) for k, v in bn.state_dict().items() if k != "num_batches_tracked")
        first = bn.load_state_dict(state)
        m = lib.nn.Module()
        m.s = lib.nn.Parameter(lib.tensor(1.0))
        m.load_state_dict({"s": lib.tensor([5.0])})
        inorm = lib.nn.InstanceNorm1d(2)
        bad = outcome(lambda: inorm.load_state_dict({"running_mean": lib.zeros(2)}))
        return repr(first), m.s, bad[0]

    both(scenario)


def test_state_dict_hooks():
    def scenario(lib):
        trace = []
        m = lib.nn.Sequential(lib.nn.Linear(1, 1))
        child = m[0]
        m.register_state_dict_pre_hook(lambda mod, prefix, keep: trace.append(("pre", prefix, keep)))
        child.register_state_dict_pre_hook(lambda mod, prefix, keep: trace.append(("pre", prefix, keep)))

        def post(mod, state, prefix, metadata):
            trace.append(("post", prefix, sorted(state), dict(metadata)))
            state[prefix + "added"] = lib.zeros(1)

        handle = child.register_state_dict_post_hook(post)
        private = child._register_state_dict_hook(lambda mod, state, prefix, metadata: None)
        keys = list(m.state_dict())
        handle.remove()
        private.remove()

        def load_pre(mod, state, prefix, metadata, strict, missing, unexpected, errors):
            trace.append(("load pre", mod is child, prefix, dict(metadata), strict, sorted(state)))

        child.register_load_state_dict_pre_hook(load_pre)

        def load_post(mod, incompatible):
            trace.append(("load post", mod is m, list(incompatible.missing_keys)))
            incompatible.missing_keys.clear()

        m.register_load_state_dict_post_hook(load_post)
        state = m.state_dict()
        del state["0.bias"]
        result = m.load_state_dict(state)
        return trace, keys, repr(result)

    both(scenario)


def test_post_hook_must_return_none():
    def scenario(lib):
        m = lib.nn.Linear(1, 1)
        m.register_state_dict_post_hook(lambda *a: {})
        return outcome(m.state_dict)

    both(scenario)


def test_extra_state():
    def scenario(lib):
        class WithExtra(lib.nn.Module):
            def __init__(self):
                super().__init__()
                self.count = 3

            def get_extra_state(self):
                return {"count": self.count}

            def set_extra_state(self, state):
                self.count = state["count"]

        m = lib.nn.Sequential(WithExtra())
        state = m.state_dict()
        state["0._extra_state"] = {"count": 8}
        m.load_state_dict(state)
        plain_module = lib.nn.Sequential(lib.nn.Identity())
        return (
            list(state),
            m[0].count,
            outcome(lambda: m.load_state_dict({})),
            outcome(lambda: plain_module.load_state_dict(state)),
        )

    both(scenario)


# ------------------------------------------------------------------------------------------------------ hooks


def test_forward_hooks_order_and_replacement():
    def scenario(lib):
        trace = []
        m = double_net(lib)
        x = lib.ones(2)
        handles = [
            m.register_forward_pre_hook(lambda mod, args: trace.append(("pre 1", args))),
            m.register_forward_pre_hook(lambda mod, args: args[0] + 1),
            m.register_forward_pre_hook(lambda mod, args, kw: (args, {"bonus": 10.0}), with_kwargs=True),
            m.register_forward_pre_hook(lambda mod, args: trace.append(("pre 0", args)), prepend=True),
            m.register_forward_hook(lambda mod, args, y: trace.append(("post", args, y))),
            m.register_forward_hook(lambda mod, args, y: y * 2),
            m.register_forward_hook(
                lambda mod, args, kw, y: trace.append(("kw", args, kw, y)), with_kwargs=True, prepend=True
            ),
        ]
        trace.append(m(x))
        for h in handles:
            h.remove()
        trace.append(m(x))
        flags = [
            m._forward_pre_hooks_with_kwargs,
            m._forward_hooks_with_kwargs,
            m._forward_hooks_always_called,
        ]
        with m.register_forward_hook(lambda mod, args, y: y * 3):
            trace.append(m(x))
        trace.append(m(x))
        return trace, [len(f) for f in flags]

    both(scenario)


def test_bad_pre_hook_result():
    def scenario(lib):
        m = lib.nn.Identity()
        m.register_forward_pre_hook(lambda mod, args, kw: 3, with_kwargs=True)
        return outcome(lambda: m(1))

    both(scenario)


def test_always_called_hooks():
    def scenario(lib):
        trace = []

        class Fails(lib.nn.Module):
            def forward(self, x):
                raise ValueError("from forward")

        m = Fails()
        m.register_forward_hook(lambda mod, args, y: trace.append("ordinary"))
        m.register_forward_hook(lambda mod, args, y: trace.append(("always", y)), always_call=True)

        def bad(mod, args, y):
            trace.append("bad")
            raise RuntimeError("silenced")

        m.register_forward_hook(bad, always_call=True)
        return outcome(lambda: m(1)), trace

    both(scenario)


def test_global_hooks():
    def scenario(lib):
        module = flambeau_module if lib is flambeau else torch.nn.modules.module
        trace = []
        m = double_net(lib)
        handles = [
            module.register_module_forward_pre_hook(lambda mod, args: trace.append("global pre")),
            m.register_forward_pre_hook(lambda mod, args: trace.append("own pre")),
            m.register_forward_hook(lambda mod, args, y: trace.append("own post")),
            module.register_module_forward_hook(lambda mod, args, y: trace.append("global post")),
            module.register_module_forward_hook(
                lambda mod, args, kw, y: trace.append(("global kw", kw)), with_kwargs=True
            ),
            module.register_module_full_backward_hook(
                lambda mod, gi, go: trace.append(("global back", gi, go))
            ),
            module.register_module_full_backward_pre_hook(
                lambda mod, go: trace.append(("global back pre", go))
            ),
            module.register_module_parameter_registration_hook(lambda mod, n, p: trace.append(("param", n))),
            module.register_module_buffer_registration_hook(lambda mod, n, b: trace.append(("buffer", n))),
            module.register_module_module_registration_hook(lambda mod, n, c: trace.append(("module", n))),
        ]
        x = lib.ones(2, requires_grad=True)
        m(x, bonus=1.0).sum().backward()
        lib.nn.Sequential(lib.nn.BatchNorm1d(1))
        for h in handles:
            h.remove()
        m(x).sum().backward()
        return trace

    both(scenario)


def test_full_backward_hooks():
    def scenario(lib):
        trace = []
        m = double_net(lib)
        m.register_full_backward_pre_hook(lambda mod, go: trace.append(("pre", go)))
        m.register_full_backward_pre_hook(lambda mod, go: (go[0] * 10,))
        m.register_full_backward_hook(lambda mod, gi, go: trace.append(("hook", gi, go)))
        m.register_full_backward_hook(lambda mod, gi, go: (gi[0] + 1,))
        m.register_full_backward_hook(lambda mod, gi, go: trace.append(("after", gi)))
        x = lib.ones(2, requires_grad=True)
        (m(x) * lib.tensor([1.0, 2.0])).sum().backward()
        return trace, x.grad, m.w.grad

    both(scenario)


def test_backward_hook_with_several_arguments():
    def scenario(lib):
        trace = []

        class Mix(lib.nn.Module):
            def forward(self, x, n, y):
                return x * n + y, x - y, "text"

        m = Mix()
        m.register_full_backward_hook(lambda mod, gi, go: trace.append((gi, go)))
        x = lib.ones(2, requires_grad=True)
        y = lib.ones(2)
        a, b, text = m(x, 3, y)
        (a.sum() + 2 * b.sum()).backward()
        return trace, x.grad, text

    both(scenario)


def test_backward_hook_without_inputs_that_require_grad():
    def scenario(lib):
        trace = []
        m = double_net(lib)
        m.register_full_backward_hook(lambda mod, gi, go: trace.append((gi, go)))
        m(lib.ones(2)).sum().backward()
        m.register_full_backward_hook(lambda mod, gi, go: (lib.ones(1),))
        return trace, m.w.grad, outcome(lambda: m(lib.ones(2)).sum().backward())

    both(scenario)


def test_backward_hook_errors():
    def scenario(lib):
        m = double_net(lib)
        x = lib.ones(2, requires_grad=True)
        with m.register_full_backward_hook(lambda mod, gi, go: (gi[0], gi[0])):
            first = outcome(lambda: m(x).sum().backward())
        with m.register_full_backward_pre_hook(lambda mod, go: (go[0], go[0])):
            second = outcome(lambda: m(x).sum().backward())
        third = outcome(lambda: m.register_backward_hook(lambda *a: None))
        other = lib.nn.Identity()
        other.register_backward_hook(lambda *a: None)
        return first, second, third, outcome(lambda: other.register_full_backward_hook(lambda *a: None))

    both(scenario)


def test_hooks_are_not_run_without_grad():
    def scenario(lib):
        trace = []
        m = double_net(lib)
        m.register_full_backward_hook(lambda *a: trace.append("hook"))
        with lib.no_grad():
            y = m(lib.ones(2, requires_grad=True))
        return y, trace, y.requires_grad

    both(scenario)


# ------------------------------------------------------------------------------------------------- containers


def names(m):
    return [n for n, _ in m.named_children()]


def test_sequential_api():
    def scenario(lib):
        nn = lib.nn
        s = nn.Sequential(nn.ReLU(), nn.Tanh())
        trace = [len(s), repr(s[-1]), repr(s[0:1]), names(s)]
        s.append(nn.Sigmoid()).insert(0, nn.Identity()).extend([nn.ELU()])
        trace += [repr(s), names(s)]
        s[1] = nn.GELU()
        del s[0]
        trace += [repr(s), names(s)]
        trace += [repr(s.pop(-1)), repr(s + nn.Sequential(nn.Identity())), repr(s * 2), repr(2 * s)]
        s += nn.Sequential(nn.Softsign())
        s *= 2
        trace += [repr(s), names(s)]
        del s[1:4]
        trace += [repr(s), repr(s.pop(slice(0, 2))), repr(s)]
        named = nn.Sequential(OrderedDict(first=nn.ReLU(), second=nn.Tanh()))
        trace += [repr(named[:1]), repr(named[1]), names(named)]
        trace += [
            outcome(lambda: s[99]),
            outcome(lambda: s["x"])[0],
            outcome(lambda: s + 3)[0],
            outcome(lambda: s * 0)[0],
            outcome(lambda: s * "x")[0],
            outcome(lambda: s.insert(99, nn.ReLU())),
            outcome(lambda: s.insert(0, 3))[0],
            outcome(lambda: nn.Sequential(3)),
        ]
        return trace

    both(scenario)


def test_module_list_api():
    def scenario(lib):
        nn = lib.nn
        m = nn.ModuleList([nn.ReLU(), nn.ReLU(), nn.Tanh()])
        trace = [len(m), repr(m), repr(m[-1]), repr(m[:2])]
        m.append(nn.Identity()).extend([nn.ELU()])
        m.insert(1, nn.GELU())
        trace += [repr(m), names(m)]
        m += [nn.Softsign()]
        m[0] = nn.SELU()
        del m[1:3]
        trace += [repr(m), names(m), repr(m.pop(0)), repr(m + nn.ModuleList([nn.CELU()])), repr(list(m))]
        trace += [
            outcome(lambda: m[99]),
            outcome(lambda: m.extend(3)),
            outcome(lambda: m.append(3)),
            outcome(lambda: m(1)),
        ]
        return trace

    both(scenario)


def test_module_dict_api():
    def scenario(lib):
        nn = lib.nn
        m = nn.ModuleDict({"a": nn.ReLU(), "b": nn.Tanh()})
        m["c"] = nn.Identity()
        trace = [repr(m), len(m), list(m), "a" in m, repr(m["b"]), list(m.keys()), repr(list(m.values()))]
        m.update([["d", nn.ELU()], ("a", nn.GELU())])
        m.update(nn.ModuleDict({"e": nn.SELU()}))
        del m["b"]
        trace += [repr(m), repr(m.pop("c")), [k for k, _ in m.items()]]
        trace += [
            outcome(lambda: m["zzz"]),
            outcome(lambda: m.pop("zzz")),
            outcome(lambda: m.update(3)),
            outcome(lambda: m.update([3])),
            outcome(lambda: m.update([(1, 2, 3)])),
            outcome(lambda: nn.ModuleDict({"keys": nn.ReLU()})),
        ]
        m.clear()
        return trace, len(m)

    both(scenario)


def test_parameter_list_api():
    def scenario(lib):
        nn = lib.nn
        m = nn.ParameterList([lib.ones(2), nn.Parameter(lib.zeros(1)), "text"])
        trace = [repr(m), len(m), [n for n, _ in m.named_parameters()], type(m[0]).__name__, m[-1]]
        m.append(lib.ones(1)).extend([3, lib.zeros(2)])
        m += [lib.ones(3)]
        m[0] = lib.zeros(4)
        trace += [repr(m), repr(m[1:3]), list(m.state_dict())]
        trace += [
            outcome(lambda: m[99]),
            outcome(lambda: m.extend(lib.ones(2))),
            outcome(lambda: m.extend(3)),
        ]
        return trace

    both(scenario)


def test_parameter_dict_api():
    def scenario(lib):
        nn = lib.nn
        m = nn.ParameterDict({"b": lib.ones(2), "a": nn.Parameter(lib.zeros(1))})
        m["c"] = lib.ones(1)
        m["t"] = "text"
        trace = [repr(m), len(m), list(m), list(reversed(m)), "a" in m, m["t"], m.get("zzz", 5)]
        m.update(OrderedDict(z=lib.ones(1), y=lib.ones(1)))
        m.update([("w", lib.zeros(1))])
        trace += [list(m.keys()), [n for n, _ in m.named_parameters()], m.setdefault("q", lib.ones(2))]
        other = nn.ParameterDict({"b": lib.zeros(3), "new": lib.ones(1)})
        trace += [
            repr(m | other),
            repr(m.copy()),
            m.popitem()[0],
            m.pop("z"),
            repr(m.fromkeys(["k"], lib.ones(1))),
        ]
        m |= other
        del m["a"]
        trace += [repr(m), list(m.state_dict())]
        trace += [
            outcome(lambda: m[3])[0],
            outcome(lambda: m["zzz"]),
            outcome(lambda: m.update(3)),
            outcome(lambda: m.update([3])),
            outcome(lambda: m.update([(1, 2, 3)])),
        ]
        m.clear()
        return trace, len(m)

    both(scenario)


def test_parameter():
    def scenario(lib):
        t = lib.ones(2)
        p = lib.nn.Parameter(t)
        with lib.no_grad():
            p.mul_(3)
        q = copy.deepcopy(p)
        r = pickle.loads(pickle.dumps(lib.nn.Parameter(t, requires_grad=False)))
        b = lib.nn.Buffer(t)
        return (
            t,
            p.requires_grad,
            p.is_leaf,
            type(q).__name__,
            q,
            q is p,
            type(p * 2).__name__,
            type(p.detach()).__name__,
            type(p.data).__name__,
            (type(r).__name__, r.requires_grad, r),
            isinstance(b, lib.nn.Buffer),
            isinstance(t, lib.nn.Buffer),
            isinstance(p, lib.nn.Parameter),
            isinstance(t, lib.nn.Parameter),
            lib.nn.Parameter().shape == (0,),
            repr(p),
        )

    both(scenario)


def test_classes_say_that_they_are_where_pytorch_has_them() -> None:
    torch = pytest.importorskip("torch")
    other = {"LinearCrossEntropyOptions"}  # a dataclass beside its function
    for name in torch.nn.modules.__all__:
        if name not in other:
            ours = getattr(flambeau.nn, name)
            assert ours.__module__.replace("flambeau", "torch") == getattr(torch.nn, name).__module__, name
            assert getattr(sys.modules[ours.__module__], name) is ours
