"""Every module's forward and backward against PyTorch's, in training and evaluation mode."""

import copy

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")

C1, C2, C3 = (2, 4, 9), (2, 4, 9, 8), (2, 4, 6, 5, 7)
CLASSES = [0, 2, 1, -100]

# (module, arguments, keyword arguments, inputs): a tuple is a shape, "+" means positive, a list the values
CASES = [
    ("AdaptiveAvgPool1d", (5,), {}, [C1]),
    ("AdaptiveAvgPool2d", ((5, None),), {}, [C2]),
    ("AdaptiveAvgPool3d", (3,), {}, [C3]),
    ("AdaptiveMaxPool1d", (5,), {}, [C1]),
    ("AdaptiveMaxPool2d", (5,), {"return_indices": True}, [C2]),
    ("AdaptiveMaxPool3d", (3,), {}, [C3]),
    ("AlphaDropout", (), {}, [C1]),
    ("AvgPool1d", (3, 2, 1), {"count_include_pad": False}, [C1]),
    ("AvgPool2d", (3, 2), {"padding": 1, "ceil_mode": True}, [C2]),
    ("AvgPool3d", (2,), {"divisor_override": 3}, [C3]),
    ("BCELoss", (), {}, ["01", "01"]),
    ("BCEWithLogitsLoss", (), {"pos_weight": [1.0, 2.0, 3.0], "weight": [0.5, 1.0, 2.0]}, [(4, 3), "01"]),
    ("BatchNorm1d", (4,), {}, [C1]),
    ("BatchNorm1d", (4,), {"affine": False, "momentum": None}, [(5, 4)]),
    ("BatchNorm2d", (4,), {"track_running_stats": False}, [C2]),
    ("BatchNorm3d", (4,), {}, [C3]),
    ("Bilinear", (3, 4, 5), {}, [(6, 3), (6, 4)]),
    ("CELU", (1.5,), {}, [C1]),
    ("ChannelShuffle", (2,), {}, [C2]),
    ("CircularPad1d", (2,), {}, [C1]),
    ("CircularPad2d", ((1, 2, 3, 4),), {}, [C2]),
    ("CircularPad3d", (2,), {}, [C3]),
    ("ConstantPad1d", (2, 3.5), {}, [C1]),
    ("ConstantPad2d", ((1, 0, 2, -1), 3.5), {}, [C2]),
    ("ConstantPad3d", (2, 3.5), {}, [C3]),
    ("Conv1d", (4, 6, 3), {"groups": 2, "bias": False, "padding": "same"}, [C1]),
    ("Conv1d", (4, 6, 3), {}, [(4, 9)]),
    ("Conv2d", (4, 6, (3, 2)), {"stride": 2, "padding": (1, 2), "dilation": 2}, [C2]),
    ("Conv2d", (4, 6, 3), {"padding": 1, "padding_mode": "circular"}, [C2]),
    ("Conv2d", (4, 6, (4, 3)), {"padding": "same", "padding_mode": "reflect", "dilation": (1, 2)}, [C2]),
    ("Conv2d", (4, 4, 3), {"groups": 4, "padding_mode": "replicate", "padding": (2, 1)}, [C2]),
    ("Conv3d", (4, 6, 3), {"padding": "valid"}, [C3]),
    ("ConvTranspose1d", (4, 6, 3), {"groups": 2}, [C1]),
    ("ConvTranspose2d", (4, 6, 3), {"stride": 2, "output_padding": 1, "padding": 1}, [C2]),
    ("ConvTranspose2d", (4, 6, 3), {"stride": 2, "dilation": 2}, [C2, (22, 20)]),
    ("ConvTranspose3d", (4, 6, 2), {"bias": False}, [C3]),
    ("CosineEmbeddingLoss", (0.3,), {}, [(4, 3), (4, 3), [1, -1, 1, -1]]),
    ("CosineSimilarity", (), {}, [(4, 3), (4, 3)]),
    ("CrossEntropyLoss", (), {"label_smoothing": 0.1, "weight": [1.0, 2.0, 0.5]}, [(4, 3), CLASSES]),
    ("CrossEntropyLoss", (), {"reduction": "sum"}, [(4, 3), "01"]),
    ("Dropout", (0.3,), {}, [C2]),
    ("Dropout1d", (0.5,), {}, [C1]),
    ("Dropout2d", (0.5,), {}, [C2]),
    ("Dropout3d", (), {}, [C3]),
    ("ELU", (1.5,), {}, [C1]),
    ("Embedding", (5, 3), {"padding_idx": 1}, [[0, 1, 1, 4]]),
    ("Embedding", (5, 3), {"max_norm": 1.0, "scale_grad_by_freq": True}, [[0, 1, 1, 4]]),
    ("EmbeddingBag", (5, 3), {}, [[0, 1, 1, 4], [0, 3]]),
    ("EmbeddingBag", (5, 3), {"mode": "sum", "padding_idx": 1}, [[[0, 1], [1, 4]]]),
    ("EmbeddingBag", (5, 3), {"mode": "max"}, [[[0, 1], [1, 4]]]),
    ("FeatureAlphaDropout", (), {}, [C2]),
    ("Flatten", (), {}, [C2]),
    ("Fold", ((4, 5), (2, 2)), {}, [(2, 12, 12)]),
    ("GELU", (), {}, [C1]),
    ("GELU", ("tanh",), {}, [C1]),
    ("GLU", (1,), {}, [C1]),
    ("GaussianNLLLoss", (), {"full": True}, [(4, 3), (4, 3), "+"]),
    ("GroupNorm", (2, 4), {}, [C2]),
    ("Hardshrink", (), {}, [C1]),
    ("Hardsigmoid", (), {}, [C1]),
    ("Hardswish", (), {}, [C1]),
    ("Hardtanh", (-0.5, 0.7), {}, [C1]),
    ("HingeEmbeddingLoss", (), {}, [(4,), [1, -1, 1, -1]]),
    ("HuberLoss", (), {"delta": 0.5}, [(4, 3), (4, 3)]),
    ("Identity", (), {}, [C1]),
    ("InstanceNorm1d", (4,), {}, [C1]),
    ("InstanceNorm1d", (4,), {"affine": True}, [(4, 9)]),
    ("InstanceNorm2d", (4,), {"affine": True, "track_running_stats": True}, [C2]),
    ("InstanceNorm3d", (4,), {}, [C3]),
    ("KLDivLoss", (), {"reduction": "batchmean"}, [(4, 3), "01"]),
    ("L1Loss", (), {}, [(4, 3), (4, 3)]),
    ("LPPool1d", (2, 3), {}, ["+3"]),
    ("LPPool2d", (3, 2, 2), {}, ["+4"]),
    ("LPPool3d", (2, 2), {"ceil_mode": True}, ["+5"]),
    ("LayerNorm", ((4, 9),), {}, [C1]),
    ("LayerNorm", (9,), {"bias": False}, [C1]),
    ("LeakyReLU", (0.2,), {}, [C1]),
    ("Linear", (9, 4), {}, [C1]),
    ("LocalResponseNorm", (3,), {}, [C2]),
    ("LogSigmoid", (), {}, [C1]),
    ("LogSoftmax", (1,), {}, [C1]),
    ("MSELoss", (), {"reduction": "none"}, [(4, 3), (4, 3)]),
    ("MarginRankingLoss", (0.5,), {}, [(4,), (4,), [1, -1, 1, -1]]),
    ("MaxPool1d", (3,), {}, [C1]),
    ("MaxPool2d", (3,), {"stride": 2, "ceil_mode": True, "padding": 1, "dilation": 2}, [C2]),
    ("MaxPool3d", ((1, 2, 3),), {"return_indices": True}, [C3]),
    ("Mish", (), {}, [C1]),
    ("MultiLabelMarginLoss", (), {}, [(2, 3), [[0, 2, -1], [1, -1, 0]]]),
    ("MultiLabelSoftMarginLoss", (), {}, [(4, 3), "01"]),
    ("MultiMarginLoss", (2, 0.5), {"weight": [1.0, 2.0, 0.5]}, [(4, 3), [0, 2, 1, 1]]),
    ("NLLLoss", (), {"ignore_index": 1}, [(4, 3), [0, 2, 1, 1]]),
    ("PReLU", (4,), {}, [C1]),
    ("PairwiseDistance", (3.0,), {"keepdim": True}, [(4, 3), (4, 3)]),
    ("PixelShuffle", (2,), {}, [C2]),
    ("PixelUnshuffle", (2,), {}, [(2, 1, 4, 6)]),
    ("PoissonNLLLoss", (), {"full": True}, [(4, 3), "+"]),
    ("RMSNorm", (9,), {}, [C1]),
    ("RReLU", (), {}, [C1]),
    ("ReLU", (), {}, [C1]),
    ("ReLU6", (), {}, [C1]),
    ("ReflectionPad1d", (2,), {}, [C1]),
    ("ReflectionPad2d", ((1, 2, 3, 4),), {}, [C2]),
    ("ReflectionPad3d", (2,), {}, [C3]),
    ("ReplicationPad1d", (2,), {}, [C1]),
    ("ReplicationPad2d", ((1, 2, 3, 4),), {}, [C2]),
    ("ReplicationPad3d", (2,), {}, [C3]),
    ("SELU", (), {}, [C1]),
    ("SiLU", (), {}, [C1]),
    ("Sigmoid", (), {}, [C1]),
    ("SmoothL1Loss", (), {"beta": 0.5}, [(4, 3), (4, 3)]),
    ("SoftMarginLoss", (), {}, [(4,), [1, -1, 1, -1]]),
    ("Softmax", (1,), {}, [C1]),
    ("Softmax2d", (), {}, [C2]),
    ("Softmin", (1,), {}, [C1]),
    ("Softplus", (2.0, 3.0), {}, [C1]),
    ("Softshrink", (), {}, [C1]),
    ("Softsign", (), {}, [C1]),
    ("Tanh", (), {}, [C1]),
    ("Tanhshrink", (), {}, [C1]),
    ("Threshold", (0.1, 20.0), {}, [C1]),
    ("TripletMarginLoss", (), {"swap": True}, [(4, 3), (4, 3), (4, 3)]),
    ("TripletMarginWithDistanceLoss", (), {}, [(4, 3), (4, 3), (4, 3)]),
    ("Unflatten", (1, (2, 2)), {}, [C2]),
    ("Unfold", (2,), {"stride": 2, "padding": 1}, [C2]),
    ("Upsample", (), {"scale_factor": 2.0}, [C2]),
    ("Upsample", ((5, 4),), {"mode": "bicubic", "align_corners": False}, [C2]),
    ("Upsample", (7,), {"mode": "linear", "align_corners": True}, [C1]),
    ("Upsample", (), {"scale_factor": (1.5, 2.0, 1.0), "mode": "trilinear"}, [C3]),
    ("UpsamplingBilinear2d", ((3, 4),), {}, [C2]),
    ("UpsamplingNearest2d", (), {"scale_factor": (2, 3)}, [C2]),
    ("ZeroPad1d", (1,), {}, [C1]),
    ("ZeroPad2d", ((1, 2, -1, 0),), {}, [C2]),
    ("ZeroPad3d", (1,), {}, [C3]),
]

OUTPUT_SIZE = (22, 20)


def make_input(lib, spec, rng):
    if isinstance(spec, tuple):
        return lib.from_numpy(rng.normal(size=spec).astype(np.float32)).requires_grad_()
    if isinstance(spec, str):
        shape = {"01": (4, 3), "+": (4, 3), "+3": C1, "+4": C2, "+5": C3}[spec]
        x = lib.from_numpy((rng.uniform(0.05, 0.95, shape)).astype(np.float32))
        return x.requires_grad_() if spec[0] == "+" and len(spec) > 1 else x
    return lib.tensor(spec)


def run(lib, case, training):
    name, args, kwargs, specs = case
    rng = np.random.default_rng(5)
    kwargs = {k: lib.tensor(v) if isinstance(v, list) else v for k, v in copy.deepcopy(kwargs).items()}
    lib.manual_seed(1)
    m = getattr(lib.nn, name)(*args, **kwargs).train(training)
    inputs = [s if s == OUTPUT_SIZE else make_input(lib, s, rng) for s in specs]
    lib.manual_seed(2)
    y = m(*inputs)
    outputs = list(y) if isinstance(y, tuple) else [y]
    result = [("output", t) for t in outputs]
    if outputs[0].requires_grad:
        out = outputs[0]
        weights = lib.from_numpy(np.cos(np.arange(out.numel(), dtype=np.float32)).reshape(tuple(out.shape)))
        (out * weights).sum().backward()
    result += [("input.grad", t.grad) for t in inputs if hasattr(t, "grad") and t.grad is not None]
    result += [(n + ".grad", p.grad) for n, p in m.named_parameters() if p.grad is not None]
    result += list(m.named_buffers())
    return [(n, np.asarray(t.detach().numpy())) for n, t in result]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{c[0]}" for i, c in enumerate(CASES)])
def test_forward_and_backward(case, training):
    ours, theirs = run(flambeau, case, training), run(torch, case, training)
    assert [n for n, _ in ours] == [n for n, _ in theirs]
    for (name, a), (_, b) in zip(ours, theirs, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape, name
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5, err_msg=name)


def test_unpooling():
    def scenario(lib):
        rng = np.random.default_rng(0)
        out = []
        for n, shape in ((1, C1), (2, C2), (3, C3)):
            x = make_input(lib, shape, rng)
            y, where = getattr(lib.nn, f"MaxPool{n}d")(2, return_indices=True)(x)
            z = getattr(lib.nn, f"MaxUnpool{n}d")(2)(y, where, output_size=x.size())
            z.square().sum().backward()
            out += [z.detach().numpy(), x.grad.numpy()]
        return out

    for a, b in zip(scenario(flambeau), scenario(torch), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_ctc():
    def scenario(lib):
        rng = np.random.default_rng(0)
        x = make_input(lib, (6, 2, 5), rng)
        target = lib.tensor([[1, 2, 2], [3, 4, 0]])
        loss = lib.nn.CTCLoss()(x.log_softmax(2), target, lib.tensor([6, 5]), lib.tensor([3, 2]))
        loss.backward()
        return [loss.detach().numpy(), x.grad.numpy()]

    for a, b in zip(scenario(flambeau), scenario(torch), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_wrong_inputs_raise_pytorchs_exception_types():
    def scenario(lib):
        nn, z = lib.nn, lib.zeros
        calls = [
            lambda: nn.Linear(3, 4)(z(2, 5)),
            lambda: nn.Conv2d(3, 4, 3)(z(2, 5, 8, 8)),
            lambda: nn.Conv2d(3, 4, 3)(z(8, 8)),
            lambda: nn.Conv2d(3, 4, 9)(z(1, 3, 4, 4)),
            lambda: nn.BatchNorm1d(3)(z(2, 3, 4, 5)),
            lambda: nn.BatchNorm2d(3)(z(2, 3)),
            lambda: nn.BatchNorm1d(3)(z(2, 4)),
            lambda: nn.BatchNorm1d(3)(z(1, 3)),
            lambda: nn.LayerNorm(3)(z(2, 4)),
            lambda: nn.GroupNorm(2, 3),
            lambda: nn.GroupNorm(2, 4)(z(2, 6)),
            lambda: nn.Embedding(3, 2)(lib.tensor([5])),
            lambda: nn.Embedding(3, 2)(z(1)),
            lambda: nn.Embedding(3, 2, padding_idx=7),
            lambda: nn.CrossEntropyLoss()(z(2, 3), lib.tensor([0, 5])),
            lambda: nn.CrossEntropyLoss()(z(2, 3), lib.tensor([0])),
            lambda: nn.CrossEntropyLoss(reduction="x")(z(2, 3), lib.tensor([0, 1])),
            lambda: nn.NLLLoss()(z(2, 3), lib.tensor([0.0, 1.0])),
            lambda: nn.MSELoss()(z(2, 3), z(4)),
            lambda: nn.BCELoss()(lib.ones(2) * 2, lib.ones(2)),
            lambda: nn.Dropout(1.5),
            lambda: nn.Conv2d(3, 4, 3, groups=2),
            lambda: nn.Conv2d(3, 4, 3, groups=0),
            lambda: nn.Conv2d(3, 4, 3, padding="x"),
            lambda: nn.Conv2d(3, 4, 3, padding="same", stride=2),
            lambda: nn.Conv2d(3, 4, 3, padding_mode="x"),
            lambda: nn.ConvTranspose2d(3, 4, 3, padding_mode="reflect"),
            lambda: nn.ConvTranspose2d(3, 4, 3)(z(1, 3, 4, 4), output_size=(99, 99)),
            lambda: nn.ConvTranspose2d(3, 4, 3)(z(1, 3, 4, 4), output_size=(6,)),
            lambda: nn.CircularPad1d(1)(z(2, 2, 2, 2)),
            lambda: nn.ReflectionPad1d(5)(z(1, 2, 3)),
            lambda: nn.Softmax2d()(z(2, 2)),
            lambda: nn.InstanceNorm1d(3)(z(2, 2, 2, 2)),
            lambda: nn.InstanceNorm1d(3, affine=True)(z(2, 4, 5)),
            lambda: nn.MaxPool2d(3)(z(1, 2, 2)),
            lambda: nn.MaxPool2d(3, padding=2)(z(1, 1, 8, 8)),
            lambda: nn.Unflatten(1, 3),
            lambda: nn.Unflatten(1, (2.0,)),
            lambda: nn.Hardtanh(1, 0),
            lambda: nn.HuberLoss(delta="x"),
            lambda: nn.MultiMarginLoss(3),
            lambda: nn.TripletMarginLoss(-1),
            lambda: nn.FractionalMaxPool2d(2),
            lambda: nn.FractionalMaxPool2d(2, output_size=1, output_ratio=0.5),
            lambda: nn.FractionalMaxPool2d(2, output_ratio=1.5),
            lambda: nn.Bilinear(0, 1, 1),
            lambda: nn.PReLU(3)(z(2, 4)),
        ]
        out = []
        for i, call in enumerate(calls):
            try:
                call()
                out.append((i, "no error"))
            except Exception as e:
                out.append((i, type(e).__name__))
        return out

    ours, theirs = scenario(flambeau), scenario(torch)
    assert ours == theirs
