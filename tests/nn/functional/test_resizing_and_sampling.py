"""interpolate, grid_sample, affine_grid, fold, unfold, pixel_shuffle: against PyTorch, adjoints and finite differences."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import flambeau as fl

F = fl.nn.functional


def data(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def close(ours, theirs, tolerance=1e-9):
    assert tuple(ours.shape) == tuple(theirs.shape)
    np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=tolerance, atol=tolerance)


MODES = [
    ("nearest", 3),
    ("nearest", 5),
    ("nearest-exact", 4),
    ("linear", 3),
    ("bilinear", 4),
    ("bicubic", 4),
    ("trilinear", 5),
    ("area", 4),
]


@pytest.mark.parametrize("mode, dims", MODES)
@pytest.mark.parametrize("align", [None, True, False])
def test_interpolate_and_its_gradient_like_pytorch(mode, dims, align):
    torch = pytest.importorskip("torch")
    if align is not None and mode in ("nearest", "nearest-exact", "area"):
        pytest.skip("no corners to align")
    x = data(2, 3, *(4, 5, 6)[: dims - 2])
    for kwargs in (
        {"size": (7, 3, 9)[: dims - 2]},
        {"scale_factor": 1.7},
        {"scale_factor": 0.6, "recompute_scale_factor": True},
    ):
        a, b = torch.tensor(x, requires_grad=True), fl.tensor(x, requires_grad=True)
        ya = torch.nn.functional.interpolate(a, mode=mode, align_corners=align, **kwargs)
        yb = F.interpolate(b, mode=mode, align_corners=align, **kwargs)
        close(yb, ya)
        g = data(*ya.shape, seed=1)
        ya.backward(torch.tensor(g))
        yb.backward(fl.tensor(g))
        close(b.grad, a.grad)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic", "lanczos"])
@pytest.mark.parametrize("size", [(3, 4), (13, 2), (20, 21)])
def test_antialias_like_pytorch(mode, size):
    torch = pytest.importorskip("torch")
    x = data(1, 2, 9, 11)
    a = torch.nn.functional.interpolate(torch.tensor(x), size, mode=mode, antialias=True)
    close(F.interpolate(fl.tensor(x), size, mode=mode, antialias=True), a, 1e-6)


def test_an_infinite_pixel_does_not_reach_distant_ones():
    x = fl.tensor([[[1.0, float("inf"), 2.0, 3.0]]])
    y = F.interpolate(x, 8, mode="linear")[0, 0].numpy()
    assert np.isfinite(y[5:]).all() and np.isinf(y[3])


def test_interpolate_refuses_what_pytorch_refuses():
    x = fl.zeros(1, 1, 4, 4)
    for kwargs, error in (
        ({}, ValueError),
        ({"size": 3, "scale_factor": 2.0}, ValueError),
        ({"size": (3,)}, ValueError),
        ({"size": 3, "mode": "nearest", "align_corners": True}, ValueError),
        ({"size": 3, "mode": "linear"}, NotImplementedError),
        ({"size": 3, "mode": "cubist"}, NotImplementedError),
        ({"size": 0, "mode": "bilinear"}, RuntimeError),
        ({"size": (2.5, 2)}, TypeError),
        ({"size": 3, "mode": "lanczos"}, ValueError),
    ):
        with pytest.raises(error):
            F.interpolate(x, **kwargs)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize("dims", [2, 3])
def test_grid_sample_and_its_gradients_like_pytorch(mode, padding, align, dims):
    torch = pytest.importorskip("torch")
    if mode == "bicubic" and dims == 3:
        pytest.skip("4-d only")
    x, grid = data(2, 3, *(5, 4, 6)[:dims]), 1.3 * data(2, *(3, 4, 2)[:dims], dims, seed=1)
    found = []
    for lib in (torch, fl):
        a, b = lib.tensor(x, requires_grad=True), lib.tensor(grid, requires_grad=True)
        y = lib.nn.functional.grid_sample(a, b, mode, padding, align)
        y.backward(lib.tensor(data(*y.shape, seed=2)))
        found.append((y, a.grad, b.grad))
    for theirs, ours in zip(*found):
        close(ours, theirs, 1e-8)


def test_grid_sample_places_that_are_no_numbers():
    image = fl.ones(1, 1, 2, 2)
    grid = fl.tensor([[[[float("nan"), 0.0], [float("inf"), 0.0], [1e30, -1e30]]]])
    assert F.grid_sample(image, grid, align_corners=False).flatten().tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(RuntimeError, match="batch size"):
        F.grid_sample(fl.ones(2, 1, 2, 2), grid, align_corners=False)
    with pytest.raises(ValueError, match="mode"):
        F.grid_sample(image, grid, "linear")


@pytest.mark.parametrize("align", [True, False])
def test_identity_affine_grid_samples_the_image_itself(align):
    image = fl.tensor(data(1, 2, 4, 5))
    theta = fl.tensor([[[1.0, 0, 0], [0, 1, 0]]], dtype=fl.float64)
    grid = F.affine_grid(theta, (1, 2, 4, 5), align_corners=align)
    close(F.grid_sample(image, grid, align_corners=align), image)


def test_affine_grid_of_volumes_like_pytorch():
    torch = pytest.importorskip("torch")
    theta = data(2, 3, 4)
    for align in (True, False):
        a = torch.nn.functional.affine_grid(torch.tensor(theta), (2, 1, 3, 1, 4), align)
        close(F.affine_grid(fl.tensor(theta), (2, 1, 3, 1, 4), align), a)
    with pytest.raises(ValueError, match="Nx2x3"):
        F.affine_grid(fl.zeros(1, 3, 3), (1, 1, 2, 2), False)


@given(st.integers(1, 3), st.integers(1, 2), st.integers(0, 2), st.integers(1, 3), st.integers(6, 9))
@settings(max_examples=30, deadline=None)
def test_fold_is_the_adjoint_of_unfold(kernel, dilation, padding, stride, size):
    x = fl.tensor(data(2, 3, size, size + 1))
    u = F.unfold(x, kernel, dilation, padding, stride)
    v = fl.tensor(data(*u.shape, seed=1))
    back = F.fold(v, (size, size + 1), kernel, dilation, padding, stride)
    np.testing.assert_allclose((u * v).sum().item(), (x * back).sum().item(), rtol=1e-10)


def test_fold_refuses_columns_that_do_not_fit():
    with pytest.raises(RuntimeError, match="sliding blocks"):
        F.fold(fl.zeros(1, 4, 5), (3, 3), (2, 2))
    with pytest.raises(RuntimeError, match="divisible"):
        F.fold(fl.zeros(1, 5, 4), (3, 3), (2, 2))
    with pytest.raises(RuntimeError, match="at least one"):
        F.unfold(fl.zeros(1, 1, 2, 2), 3)


@given(st.integers(1, 3), st.integers(1, 3), st.lists(st.integers(1, 3), max_size=2))
@settings(max_examples=30, deadline=None)
def test_pixel_shuffle_round_trip(r, c, lead):
    x = fl.tensor(data(*lead, c * r * r, 2, 3))
    y = F.pixel_shuffle(x, r)
    assert tuple(y.shape) == (*lead, c, 2 * r, 3 * r)
    assert fl.equal(F.pixel_unshuffle(y, r), x)


def test_channel_shuffle_interleaves_groups():
    x = fl.arange(6.0).reshape(1, 6, 1)
    assert F.channel_shuffle(x, 2).flatten().tolist() == [0, 3, 1, 4, 2, 5]
    with pytest.raises(RuntimeError, match="divisible"):
        F.channel_shuffle(x, 4)


FAMILIES = {
    "bicubic": lambda x: F.interpolate(x, (3, 5), mode="bicubic"),
    "antialias": lambda x: F.interpolate(x, (2, 3), mode="bilinear", antialias=True),
    "unfold": lambda x: F.unfold(x, 2, padding=1),
    "grid": lambda x: F.grid_sample(x, fl.tensor(data(1, 2, 2, 2, seed=5)), align_corners=False),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients_by_finite_differences(name):
    x = fl.tensor(data(1, 2, 4, 4), requires_grad=True)
    assert fl.autograd.gradcheck(FAMILIES[name], (x,))
    assert fl.autograd.gradgradcheck(FAMILIES[name], (x,))


def test_vmap_equals_a_loop():
    x = fl.tensor(data(3, 1, 2, 4, 4))
    for f in FAMILIES.values():
        close(fl.vmap(f)(x), fl.stack([f(v) for v in x]))


def test_old_names_warn():
    x = fl.zeros(1, 1, 2, 2)
    for f in (F.upsample, F.upsample_nearest, F.upsample_bilinear):
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            f(x, scale_factor=2)
        assert any("deprecated" in str(w.message) for w in seen)


@pytest.mark.parametrize("antialias", [False, True])
def test_bytes_are_resized_as_by_pytorch(antialias):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).integers(0, 256, (2, 3, 9, 11)).astype(np.uint8)
    for size in ((5, 7), (20, 13)):
        a = torch.nn.functional.interpolate(torch.tensor(x), size, mode="bilinear", antialias=antialias)
        assert F.interpolate(fl.tensor(x), size, mode="bilinear", antialias=antialias).tolist() == a.tolist()
