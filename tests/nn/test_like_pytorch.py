"""Every module, made with the same arguments and seed here and in PyTorch: repr, state, attributes."""

import copy
import pickle
from collections import OrderedDict

import numpy as np
import pytest

import flambeau
from flambeau import nn

torch = pytest.importorskip("torch")

CASES = [
    ("AdaptiveAvgPool1d", (5,), {}),
    ("AdaptiveAvgPool2d", ((5, None),), {}),
    ("AdaptiveAvgPool3d", (5,), {}),
    ("AdaptiveMaxPool1d", (5,), {}),
    ("AdaptiveMaxPool2d", (5,), {"return_indices": True}),
    ("AdaptiveMaxPool3d", (5,), {}),
    ("AdaptiveLogSoftmaxWithLoss", (8, 20, [5, 10], 2.0), {"head_bias": True}),
    ("AlphaDropout", (), {}),
    ("AvgPool1d", (3,), {}),
    ("AvgPool2d", (3, 2), {"padding": 1}),
    ("AvgPool3d", (3,), {}),
    ("BCELoss", (), {}),
    ("BCEWithLogitsLoss", (), {"pos_weight": [1.0, 2.0]}),
    ("BatchNorm1d", (4,), {}),
    ("BatchNorm1d", (4,), {"affine": False, "momentum": None}),
    ("BatchNorm1d", (4,), {"bias": False}),
    ("BatchNorm2d", (4,), {"track_running_stats": False}),
    ("BatchNorm3d", (4,), {}),
    ("Bilinear", (3, 4, 5), {}),
    ("Bilinear", (3, 4, 5, False), {}),
    ("CELU", (), {"inplace": True}),
    ("CTCLoss", (), {}),
    ("ChannelShuffle", (2,), {}),
    ("CircularPad1d", (2,), {}),
    ("CircularPad2d", ((1, 2, 3, 4),), {}),
    ("CircularPad3d", (2,), {}),
    ("ConstantPad1d", (2, 3.5), {}),
    ("ConstantPad2d", (2, 3.5), {}),
    ("ConstantPad3d", (2, 3.5), {}),
    ("Conv1d", (4, 6, 3), {}),
    ("Conv1d", (4, 6, 3), {"groups": 2, "bias": False, "padding": "same"}),
    ("Conv2d", (4, 6, (3, 5)), {"stride": 2, "padding": (1, 2), "dilation": 2}),
    ("Conv2d", (4, 6, 3), {"padding": "valid", "padding_mode": "circular"}),
    ("Conv2d", (4, 6, 4), {"padding": "same", "padding_mode": "reflect"}),
    ("Conv3d", (4, 6, 3), {}),
    ("ConvTranspose1d", (4, 6, 3), {"groups": 2}),
    ("ConvTranspose2d", (4, 6, 3), {"stride": 2, "output_padding": 1}),
    ("ConvTranspose3d", (4, 6, 3), {"bias": False}),
    ("CosineEmbeddingLoss", (), {}),
    ("CosineSimilarity", (), {}),
    ("CrossEntropyLoss", (), {}),
    ("Dropout", (), {}),
    ("Dropout1d", (0.2,), {}),
    ("Dropout2d", (0.2, True), {}),
    ("Dropout3d", (), {}),
    ("ELU", (), {}),
    ("ELU", (), {"inplace": True}),
    ("Embedding", (10, 3), {}),
    (
        "Embedding",
        (10, 3),
        {"padding_idx": -1, "max_norm": 1.0, "norm_type": 1.0, "scale_grad_by_freq": True},
    ),
    ("EmbeddingBag", (10, 3), {}),
    ("EmbeddingBag", (10, 3), {"mode": "sum", "padding_idx": 2, "max_norm": 2.0}),
    ("FeatureAlphaDropout", (), {}),
    ("Flatten", (), {}),
    ("Fold", ((4, 5), (2, 2)), {}),
    ("FractionalMaxPool2d", (2,), {"output_ratio": 0.5}),
    ("FractionalMaxPool3d", (2,), {"output_size": 3}),
    ("GELU", (), {}),
    ("GELU", ("tanh",), {}),
    ("GLU", (), {}),
    ("GRU", (3, 4), {}),
    ("GRU", (3, 4, 2), {"bidirectional": True, "batch_first": True, "dropout": 0.1}),
    ("GRUCell", (3, 4), {}),
    ("GaussianNLLLoss", (), {}),
    ("GroupNorm", (2, 4), {}),
    ("GroupNorm", (2, 4), {"affine": False}),
    ("Hardshrink", (), {}),
    ("Hardsigmoid", (True,), {}),
    ("Hardswish", (True,), {}),
    ("Hardtanh", (-2, 2), {}),
    ("HingeEmbeddingLoss", (), {}),
    ("HuberLoss", (), {}),
    ("Identity", (1, 2), {"x": 3}),
    ("InstanceNorm1d", (4,), {}),
    ("InstanceNorm2d", (4,), {"affine": True, "track_running_stats": True}),
    ("InstanceNorm3d", (4,), {}),
    ("KLDivLoss", (), {"log_target": True}),
    ("L1Loss", (), {}),
    ("LPPool1d", (2, 3), {}),
    ("LPPool2d", (2, 3, 2), {}),
    ("LPPool3d", (2, 3), {"ceil_mode": True}),
    ("LSTM", (3, 4), {}),
    ("LSTM", (3, 4, 2), {"bidirectional": True, "proj_size": 2, "bias": False}),
    ("LSTMCell", (3, 4), {"bias": False}),
    ("LayerNorm", (4,), {}),
    ("LayerNorm", ((3, 4),), {"bias": False}),
    ("LayerNorm", ([4],), {"elementwise_affine": False}),
    ("LeakyReLU", (0.2, True), {}),
    ("Linear", (3, 4), {}),
    ("Linear", (3, 4, False), {}),
    ("LocalResponseNorm", (2,), {}),
    ("LogSigmoid", (), {}),
    ("LogSoftmax", (1,), {}),
    ("MSELoss", (), {}),
    ("MarginRankingLoss", (), {}),
    ("MaxPool1d", (3,), {}),
    ("MaxPool2d", (3,), {"stride": 2, "ceil_mode": True}),
    ("MaxPool3d", ((1, 2, 3),), {"return_indices": True}),
    ("MaxUnpool1d", (3,), {}),
    ("MaxUnpool2d", (3, 2), {}),
    ("MaxUnpool3d", (3,), {}),
    ("Mish", (), {}),
    ("MultiLabelMarginLoss", (), {}),
    ("MultiLabelSoftMarginLoss", (), {}),
    ("MultiMarginLoss", (), {}),
    ("MultiheadAttention", (8, 2), {}),
    ("MultiheadAttention", (8, 2), {"kdim": 6, "vdim": 4, "add_bias_kv": True, "batch_first": True}),
    ("MultiheadAttention", (8, 2), {"bias": False}),
    ("NLLLoss", (), {}),
    ("PReLU", (3,), {}),
    ("PairwiseDistance", (), {}),
    ("PixelShuffle", (2,), {}),
    ("PixelUnshuffle", (2,), {}),
    ("PoissonNLLLoss", (), {}),
    ("RMSNorm", (4,), {}),
    ("RNN", (3, 4), {}),
    ("RNN", (3, 4), {"nonlinearity": "relu", "num_layers": 2}),
    ("RNNCell", (3, 4), {"nonlinearity": "relu"}),
    ("RReLU", (), {}),
    ("ReLU", (True,), {}),
    ("ReLU6", (True,), {}),
    ("ReflectionPad1d", (2,), {}),
    ("ReflectionPad2d", (2,), {}),
    ("ReflectionPad3d", (2,), {}),
    ("ReplicationPad1d", (2,), {}),
    ("ReplicationPad2d", (2,), {}),
    ("ReplicationPad3d", (2,), {}),
    ("SELU", (), {}),
    ("SiLU", (True,), {}),
    ("Sigmoid", (), {}),
    ("SmoothL1Loss", (), {}),
    ("SoftMarginLoss", (), {}),
    ("Softmax", (1,), {}),
    ("Softmax2d", (), {}),
    ("Softmin", (), {}),
    ("Softplus", (), {}),
    ("Softshrink", (), {}),
    ("Softsign", (), {}),
    ("Tanh", (), {}),
    ("Tanhshrink", (), {}),
    ("Threshold", (0.1, 20), {}),
    ("Transformer", (8, 2, 2, 1, 16), {"batch_first": True}),
    ("TransformerDecoderLayer", (8, 2, 16), {"norm_first": True}),
    ("TransformerEncoderLayer", (8, 2, 16), {"activation": "gelu"}),
    ("TripletMarginLoss", (), {}),
    ("TripletMarginWithDistanceLoss", (), {}),
    ("Unflatten", (1, (2, 3)), {}),
    ("Unfold", (2,), {}),
    ("Upsample", (), {"scale_factor": 2}),
    ("UpsamplingBilinear2d", ((3, 4),), {}),
    ("UpsamplingNearest2d", (), {"scale_factor": (2, 3)}),
    ("ZeroPad1d", (1,), {}),
    ("ZeroPad2d", (1,), {}),
    ("ZeroPad3d", (1,), {}),
]

# Attributes that only PyTorch's implementation needs.
PRIVATE = {"_flat_weight_refs", "_flat_weights", "use_nested_tensor"}


def build(lib, name, args, kwargs):
    kwargs = {k: lib.tensor(v) if isinstance(v, list) else v for k, v in kwargs.items()}
    lib.manual_seed(3)
    return getattr(lib.nn, name)(*args, **kwargs)


def pair(name, args, kwargs):
    return build(flambeau, name, args, kwargs), build(torch, name, args, kwargs)


IDS = [f"{i}-{c[0]}" for i, c in enumerate(CASES)]


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_repr(case):
    ours, theirs = pair(*case)
    assert repr(ours) == repr(theirs)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_same_seed_gives_the_same_state(case):
    ours, theirs = pair(*case)
    a, b = ours.state_dict(), theirs.state_dict()
    assert list(a) == list(b)
    assert dict(a._metadata) == dict(b._metadata)
    for key in a:
        assert str(a[key].dtype) == str(b[key].dtype)
        np.testing.assert_array_equal(a[key].numpy(), b[key].numpy(), err_msg=key)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    assert [n for n, _ in ours.named_buffers()] == [n for n, _ in theirs.named_buffers()]


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_attributes(case):
    ours, theirs = pair(*case)
    for a, b in zip(ours.modules(), theirs.modules(), strict=False):
        assert set(a.__dict__) - PRIVATE == set(b.__dict__) - PRIVATE
        for key, value in b.__dict__.items():
            if isinstance(value, (bool, int, float, str, tuple)) and key not in PRIVATE:
                assert a.__dict__[key] == value, key


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_copy_and_pickle(case):
    name, args, kwargs = case
    ours = build(flambeau, name, args, kwargs)
    for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert repr(other) == repr(ours)
        assert type(other) is type(ours)
        state = ours.state_dict()
        for key, value in other.state_dict().items():
            assert value is not state[key]
            np.testing.assert_array_equal(value.numpy(), state[key].numpy())


def test_nested_repr():
    def make(n):
        return n.Sequential(
            OrderedDict(
                body=n.Sequential(n.Linear(2, 3), n.ReLU(), n.ModuleList([n.Tanh(), n.Tanh(), n.ReLU()])),
                heads=n.ModuleDict({"a": n.Linear(3, 1), "b": n.Identity()}),
            )
        )

    assert repr(make(nn)) == repr(make(torch.nn))


def test_parameter_containers_repr():
    def make(lib):
        z = lib.zeros(2, 3)
        return [
            lib.nn.ParameterList([z, lib.nn.Parameter(z), "text"]),
            lib.nn.ParameterDict({"b": z, "a": 3}),
            lib.nn.ParameterList(),
            lib.nn.ModuleList(),
            lib.nn.ModuleDict(),
            lib.nn.Sequential(),
        ]

    for ours, theirs in zip(make(flambeau), make(torch), strict=False):
        assert repr(ours) == repr(theirs)
