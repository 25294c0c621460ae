"""Other libraries take our tensors as they are.  Each test is skipped where the library is not installed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flambeau as torch

SOURCE = str(Path(torch.__file__).resolve().parents[1])


def need(name: str) -> Any:
    return pytest.importorskip(name, reason=f"{name} is not installed")


def run(code: str, **environment: str) -> str:
    """What a fresh interpreter prints: SciPy reads its setting once, when it is imported."""
    paths = os.pathsep.join([SOURCE, *(p for p in sys.path if p)])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **environment},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ------------------------------------------------------------------------------------------------------ NumPy


def test_numpy_with_tensors() -> None:
    t = torch.arange(6.0).reshape(2, 3)
    a = t.numpy()
    for name in ("sin", "exp", "sqrt", "floor"):
        found = getattr(np, name)(t)
        assert type(found) is torch.Tensor
        np.testing.assert_array_equal(found.numpy(), getattr(np, name)(a))
    np.testing.assert_array_equal(np.stack([t, t]), np.stack([a, a]))
    np.testing.assert_allclose(np.linalg.norm(t), np.linalg.norm(a))
    np.testing.assert_allclose(t, a)
    assert np.arange(10)[torch.tensor([1, 3])].tolist() == [1, 3]
    assert np.arange(10)[torch.tensor(3)] == 3
    assert type(np.float64(2) * t) is type(np.int64(2) + t) is torch.Tensor
    assert (np.float32(2) * t).dtype is torch.float32
    assert np.shares_memory(np.asarray(t), a)


# ------------------------------------------------------------------------------- SciPy and scikit-learn, by the standard

SCIPY = """
import numpy as np, scipy.special, scipy.stats, scipy.signal, scipy.fft, scipy.integrate, scipy.cluster, scipy.ndimage
import scipy.optimize.elementwise, scipy.differentiate
from scipy.spatial.transform import Rotation
import flambeau as torch

a = np.linspace(0.1, 2.0, 12).reshape(4, 3)
t = torch.from_numpy(a)
calls = {
    "logsumexp": lambda x: scipy.special.logsumexp(x, axis=1),
    "softmax": lambda x: scipy.special.softmax(x, axis=1),
    "erf": scipy.special.erf, "gammaln": scipy.special.gammaln, "expit": scipy.special.expit,
    "xlogy": lambda x: scipy.special.xlogy(x, x),
    "fft": scipy.fft.fft, "rfftn": scipy.fft.rfftn, "dct": scipy.fft.dct,
    "zscore": scipy.stats.zscore, "skew": scipy.stats.skew, "gmean": scipy.stats.gmean,
    "ttest": lambda x: scipy.stats.ttest_ind(x, x + 1).pvalue,
    "pearsonr": lambda x: scipy.stats.pearsonr(x[:, 0], x[:, 1] ** 2).statistic,
    "whiten": scipy.cluster.vq.whiten,
    "linkage": scipy.cluster.hierarchy.linkage,
    "trapezoid": scipy.integrate.trapezoid,
    "cumulative": scipy.integrate.cumulative_trapezoid,
    "tanhsinh": lambda x: scipy.integrate.tanhsinh(lambda v: v**2, x[0, 0], x[0, 1]).integral,
    "fftconvolve": lambda x: scipy.signal.fftconvolve(x, x),
    "detrend": scipy.signal.detrend, "hilbert": scipy.signal.hilbert,
    "gaussian": lambda x: scipy.ndimage.gaussian_filter(x, 1.0),
    "derivative": lambda x: scipy.differentiate.derivative(lambda v: v**3, x).df,
    "root": lambda x: scipy.optimize.elementwise.find_root(lambda v: v**2 - 2, (x[0, 0], x[-1, -1])).x,
    "rotation": lambda x: Rotation.from_rotvec(x).as_matrix(),
}
for name, call in calls.items():
    expected, found = call(a), call(t)
    assert isinstance(found, torch.Tensor), (name, type(found))
    assert tuple(found.shape) == np.shape(expected), name
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-7, atol=1e-10, err_msg=name)
g = t.clone().requires_grad_()
scipy.special.logsumexp(g).backward()
np.testing.assert_allclose(g.grad.numpy(), scipy.special.softmax(a), rtol=1e-12)
print(len(calls))
"""

SKLEARN = """
import numpy as np, sklearn
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge
from sklearn.metrics import accuracy_score, mean_squared_error, r2_score
from sklearn.metrics.pairwise import cosine_similarity, rbf_kernel
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, Normalizer, StandardScaler
import flambeau as torch

rng = np.random.default_rng(0)
a = rng.normal(size=(60, 4))
b = (a[:, 0] + 0.3 * rng.normal(size=60) > 0).astype(np.int64)
t, y = torch.from_numpy(a), torch.from_numpy(b)
calls = {
    "pca": lambda x, c: np.abs(PCA(2, svd_solver="full").fit(x).transform(x)) if x is a
    else abs(PCA(2, svd_solver="full").fit(x).transform(x)),
    "lda": lambda x, c: LinearDiscriminantAnalysis().fit(x, c).predict(x),
    "ridge": lambda x, c: Ridge(solver="svd").fit(x, x[:, 1]).coef_,
    **{s.__name__: (lambda x, c, s=s: s().fit_transform(x)) for s in (StandardScaler, MinMaxScaler, Normalizer, MaxAbsScaler)},
    "cosine": lambda x, c: cosine_similarity(x), "rbf": lambda x, c: rbf_kernel(x),
    "accuracy": lambda x, c: accuracy_score(c, 1 - c), "r2": lambda x, c: r2_score(x, x * 2),
    "mse": lambda x, c: mean_squared_error(x, x + 1),
}
with sklearn.config_context(array_api_dispatch=True):
    for name, call in calls.items():
        expected, found = call(a, b), call(t, y)
        if not isinstance(found, float):
            assert isinstance(found, torch.Tensor), (name, type(found))
            found = found.numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-10, err_msg=name)
print(len(calls))
"""


def test_scipy() -> None:
    need("scipy")
    version = tuple(int(v) for v in __import__("scipy").__version__.split(".")[:2])
    if version < (1, 16):
        pytest.skip("SciPy before 1.16 knows fewer of its functions by the standard")
    assert int(run(SCIPY, SCIPY_ARRAY_API="1")) == 26


def need_scikit_learn() -> None:
    """The one for Python 3.10 is older."""
    need("sklearn")
    if tuple(map(int, __import__("sklearn").__version__.split(".")[:2])) < (1, 8):
        pytest.skip("scikit-learn before 1.8 hands NumPy's dtypes to the array's namespace (issue 6)")


def test_scikit_learn() -> None:
    need_scikit_learn()
    assert int(run(SKLEARN, SCIPY_ARRAY_API="1")) == 12


def test_without_dispatch_they_compute_with_arrays() -> None:
    need("scipy")
    linalg = pytest.importorskip("scipy.linalg")
    m = torch.tensor([[2.0, 1.0], [1.0, 3.0]], dtype=torch.float64)
    np.testing.assert_allclose(linalg.inv(m), np.linalg.inv(m.numpy()))


# ------------------------------------------------------------------------------------------------ plots, data frames


def test_matplotlib(tmp_path: Path) -> None:
    matplotlib = need("matplotlib")
    matplotlib.use("agg")
    plt = pytest.importorskip("matplotlib.pyplot")
    x, m = torch.linspace(0, 1, 6), torch.arange(6.0).reshape(2, 3)
    fig, ax = plt.subplots()
    np.testing.assert_array_equal(ax.plot(x, x**2)[0].get_ydata(), (x**2).numpy())
    assert len(ax.plot(m)) == 3
    ax.scatter(x, x, c=x, s=x * 10)
    ax.imshow(m)
    np.testing.assert_array_equal(ax.hist(x)[0], np.histogram(x.numpy())[0])
    ax.bar(x, x)
    ax.contourf(m)
    ax.errorbar(x, x, yerr=x)
    ax.fill_between(x, x - 1, x + 1)
    ax.axhline(x[2])
    assert len(ax.boxplot(m)["boxes"]) == 3
    ax.set_xlim(x[0], x[3])
    with pytest.raises(RuntimeError, match="requires grad"):
        ax.plot(torch.ones(3, requires_grad=True))
    fig.savefig(tmp_path / "plot.png")
    plt.close(fig)


def test_pandas() -> None:
    pd = need("pandas")
    t = torch.arange(6.0).reshape(2, 3)
    assert pd.Series(t[0]).tolist() == [0.0, 1.0, 2.0]
    frame = pd.DataFrame(t, columns=["a", "b", "c"])
    np.testing.assert_array_equal(frame.to_numpy(), t.numpy())
    frame["d"] = torch.tensor([True, False])
    assert frame["d"].tolist() == [True, False]
    assert pd.DataFrame({"a": t[:, 0], "b": t[:, 1]})["b"].tolist() == [1.0, 4.0]
    assert torch.tensor(frame["a"]).tolist() == torch.as_tensor(frame["a"].to_numpy()).tolist() == [0.0, 3.0]
    assert torch.tensor(frame[["a", "b"]].values).shape == (2, 2)


# ------------------------------------------------------------------------------------------------- einsum and shapes


def test_einops() -> None:
    einops = need("einops")
    t = torch.arange(24.0).reshape(2, 3, 4)
    a = t.numpy()
    assert einops.rearrange(t, "a b c -> c (a b)").equal(t.permute(2, 0, 1).reshape(4, 6))
    for operation in ("min", "max", "sum", "mean", "prod"):
        found = einops.reduce(t, "a b c -> b", operation)
        assert type(found) is torch.Tensor
        np.testing.assert_allclose(found.numpy(), einops.reduce(a, "a b c -> b", operation))
    assert einops.reduce(t > 3, "a b c -> a", "any").tolist() == [True, True]
    np.testing.assert_array_equal(einops.repeat(t, "a b c -> a (b r) c n", r=2, n=3), einops.repeat(a, "a b c -> a (b r) c n", r=2, n=3))  # fmt: skip
    packed, shapes = einops.pack([t, t[:, 0]], "a * c")
    assert [x.shape for x in einops.unpack(packed, shapes, "a * c")] == [(2, 3, 4), (2, 4)]
    np.testing.assert_allclose(einops.einsum(t, t, "a b c, a d c -> b d"), np.einsum("abc,adc->bd", a, a))
    assert einops.rearrange([t, t], "n a b c -> a n b c").shape == (2, 2, 3, 4)
    x = t.clone().requires_grad_()
    einops.reduce(x, "a b c -> c", "mean").sum().backward()
    assert x.grad.unique().tolist() == [pytest.approx(1 / 6)]
    assert einops.parse_shape(t, "a _ c") == {"a": 2, "c": 4}
    assert isinstance(einops.asnumpy(t), np.ndarray)
    with pytest.raises(einops.EinopsError):
        einops.rearrange(t, "a b -> b a")


@pytest.mark.parametrize("first", ["einops", "flambeau"])
def test_einops_in_either_order_of_import(first: str) -> None:
    need("einops")
    second = {"einops": "flambeau", "flambeau": "einops"}[first]
    code = f"import sys\nimport {first}\nassert '{second}' not in sys.modules\nimport {second}\n"
    code += "print(*einops.rearrange(flambeau.zeros(2, 3), 'a b -> b a').shape)\n"
    code += "assert not [f for f in sys.meta_path if type(f).__module__.startswith('flambeau')]"
    assert run(code).split() == ["3", "2"]


def test_opt_einsum() -> None:
    oe = need("opt_einsum")
    generator = np.random.default_rng(0)
    arrays = [generator.normal(size=s) for s in ((3, 4), (4, 5), (5, 2), (3, 2))]
    tensors = [torch.from_numpy(a) for a in arrays]
    for equation in ("ab,bc,cd,ad->", "ab,bc,cd,ad->ad", "ab,bc,cd,ad->da"):
        found = oe.contract(equation, *tensors)
        assert type(found) is torch.Tensor
        np.testing.assert_allclose(found.numpy(), oe.contract(equation, *arrays))
    expression = oe.contract_expression("ab,bc->ca", (3, 4), (4, 5))
    x = tensors[0].clone().requires_grad_()
    expression(x, tensors[1]).sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.broadcast_to(arrays[1].sum(1), (3, 4)))


def test_jaxtyping() -> None:
    jaxtyping = need("jaxtyping")
    t = torch.zeros(2, 3)
    for kind, value in (
        *(("Float", t), ("Float32", t), ("BFloat16", t.bfloat16()), ("Int", t.long()), ("UInt8", t.byte())),
        *(("Bool", t > 0), ("Complex", t + 0j), ("Shaped", t), ("Float", torch.array_api.asarray(t))),
    ):
        assert isinstance(value, getattr(jaxtyping, kind)[torch.Tensor, "rows 3"])
    assert not isinstance(t, jaxtyping.Int[torch.Tensor, "..."])
    assert not isinstance(t, jaxtyping.Float[torch.Tensor, "rows 4"])

    @jaxtyping.jaxtyped(typechecker=None)
    def width(x: jaxtyping.Float[torch.Tensor, "rows columns"]) -> int:  # noqa: F722
        return x.shape[1]  # type: ignore[no-any-return]

    assert width(t) == 3


# ------------------------------------------------------------------------------------- with flambeau standing in for torch


@pytest.mark.parametrize(
    ("library", "code"),
    [
        (
            "safetensors",
            """
import os, tempfile
import safetensors, safetensors.torch as st
tensors = {
    "a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(3).to(torch.bfloat16), "e": torch.zeros(0, 2),
    "f": torch.ones(2).to(torch.float8_e4m3fn), "i": torch.arange(3), "s": torch.tensor(3.0),
}
folder = tempfile.TemporaryDirectory()
path = os.path.join(folder.name, "x.safetensors")
st.save_file(tensors, path, {"by": "us"})
for back in (st.load_file(path), st.load(st.save(tensors)), torch.serialization.load_safetensors(path)):
    for name, t in tensors.items():
        assert back[name].dtype is t.dtype and back[name].shape == t.shape and bool((back[name] == t).all()), name
with safetensors.safe_open(path, "pt") as f:
    assert f.get_slice("a")[:, 1:].tolist() == [[1, 2], [4, 5]] and f.metadata() == {"by": "us"}
model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
model[1].weight = model[0].weight
st.save_model(model, path)
assert st.load_model(model, path) == (set(), [])
try:
    st.save_file({"a": tensors["a"], "v": tensors["a"][0]}, path)
except RuntimeError as e:
    assert "share memory" in str(e)
print("done")
""",
        ),
        (
            "einops",
            """
from einops.layers.torch import EinMix, Rearrange, Reduce
x = torch.randn(2, 6, requires_grad=True)
layers = torch.nn.Sequential(Rearrange("b (c d) -> b d c", c=2), Reduce("b d c -> b c", "mean"), EinMix("b c -> b e", weight_shape="c e", c=2, e=5))
layers(x).sum().backward()
assert layers(x).shape == (2, 5) and x.grad.shape == (2, 6)
print("done")
""",
        ),
        (
            "opt_einsum",
            """
import opt_einsum
assert opt_einsum.contract("ab,bc,cd->da", torch.ones(2, 3), torch.ones(3, 4), torch.ones(4, 5)).tolist() == [[12.0] * 2] * 5
print("done")
""",
        ),
        (
            "sklearn",
            """
import sklearn
from sklearn.preprocessing import StandardScaler
with sklearn.config_context(array_api_dispatch=True):
    assert type(StandardScaler().fit_transform(torch.randn(9, 3))) is torch.Tensor
print("done")
""",
        ),
    ],
)
def test_standing_in_for_torch(library: str, code: str) -> None:
    need(library) if library != "sklearn" else need_scikit_learn()
    found = run(f"import flambeau.as_torch\nimport torch\n{code}", SCIPY_ARRAY_API="1")
    assert found == "done\n"
