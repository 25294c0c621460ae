"""The calls that `ops.py` measures: every operation of PyTorch's first tier, by name."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Shapes with about `n` elements."""

    n: int
    matrix: tuple[int, int]
    side: int  # of a square matrix
    squares: tuple[int, int]  # a batch of square matrices: how many, and their side
    image: tuple[int, int, int, int]
    sequence: tuple[int, int, int, int]  # batch, heads, steps, width of attention


SIZES = {
    "small": Size(64, (8, 8), 8, (1, 8), (1, 4, 4, 4), (1, 2, 8, 4)),
    "middle": Size(100_000, (100, 1000), 316, (10, 100), (8, 16, 28, 28), (4, 4, 100, 64)),
    "large": Size(4_000_000, (4000, 1000), 2000, (400, 100), (64, 64, 32, 32), (16, 8, 500, 64)),
}


@dataclass(frozen=True)
class Call:
    """An expression over `torch`, `s` (the sizes) and what `setup` defines.

    `wrt` names the tensors whose gradients the backward pass gives; none: there is no backward pass.
    """

    expression: str
    setup: str
    wrt: tuple[str, ...] = ()
    sizes: tuple[str, ...] = tuple(SIZES)


X = "x = torch.randn(s.n)"
POSITIVE = "x = torch.rand(s.n) + 0.1"
XY = "x, y = torch.randn(s.n), torch.randn(s.n) + 3"
M = "x = torch.randn(s.matrix)"
INTEGERS = "x, y = torch.randint(1, 100, (s.n,)), torch.randint(1, 100, (s.n,))"
BOOLEANS = "x, y = torch.randn(s.n) > 0, torch.randn(s.n) > 0"
IMAGE = "x = torch.randn(s.image)"
SQUARE = "x, y = torch.randn(s.side, s.side), torch.randn(s.side, s.side)"
BATCH = "x = torch.randn(s.squares[0], s.squares[1], s.squares[1])"
DEFINITE = f"{BATCH}; x = x @ x.mT / s.squares[1] + 2 * torch.eye(s.squares[1])"
INDEX = f"{M}; i = torch.randint(0, s.matrix[0], (s.matrix[0],)); j = torch.randint(0, s.matrix[0], s.matrix)"

CALLS: dict[str, Call] = {}


def call(names: str, expression: str, setup: str, wrt: str = "", sizes: str = "small middle large") -> None:
    """Note the call for each of `names`, whose name the expression has as ``NAME``."""
    for name in names.split():
        CALLS[name] = Call(expression.replace("NAME", name), setup, tuple(wrt.split()), tuple(sizes.split()))


# ------------------------------------------------------------------------------------------------------- elementwise
call("abs neg square exp expm1 sin cos atan tanh sigmoid erf", "torch.NAME(x)", X, "x")
call("floor ceil round trunc sign", "torch.NAME(x)", X, "x")
call("reciprocal sqrt rsqrt log log1p log2", "torch.NAME(x)", POSITIVE, "x")
call("add sub mul div atan2 maximum minimum", "torch.NAME(x, y)", XY, "x y")
call("remainder floor_divide", "torch.NAME(x, y)", XY)
call("pow", "x ** 3", X, "x")
call("clamp", "x.clamp(-1, 1)", X, "x")
call("clamp_min", "x.clamp_min(0.5)", X, "x")
call("lerp", "torch.lerp(x, y, 0.3)", XY, "x y")
call("addcmul addcdiv", "torch.NAME(x, y, y, value=0.5)", XY, "x y")
call("where", "torch.where(c, x, y)", f"{XY}; c = x > 0", "x y")
call("masked_fill", "x.masked_fill(c, 0.5)", f"{X}; c = x > 0", "x")
call("masked_select", "x.masked_select(c)", f"{X}; c = x > 0", "x")
call("isnan isinf isfinite", "torch.NAME(x)", X)
call("isclose", "torch.isclose(x, y)", XY)
call("allclose equal", "torch.NAME(x, y)", "x = torch.randn(s.n); y = x.clone()")
call("eq ne lt le gt ge", "torch.NAME(x, y)", XY)
call("logical_and logical_or", "torch.NAME(x, y)", BOOLEANS)
call("logical_not", "torch.logical_not(x)", BOOLEANS)
call("bitwise_and bitwise_or", "torch.NAME(x, y)", INTEGERS)
call("bitwise_not", "torch.bitwise_not(x)", INTEGERS)
call("nan_to_num", "torch.nan_to_num(x)", X, "x")

# --------------------------------------------------------------------------------------------- reductions and scans
call("sum mean var std", "torch.NAME(x, 1)", M, "x")
call("sum.all", "x.sum()", M, "x")
call("sum.first", "x.sum(0)", M, "x")
call("prod", "torch.prod(x, 1)", "x = torch.rand(s.matrix) * 0.2 + 0.9", "x")
call("var_mean", "torch.var_mean(x, 1)[0]", M, "x")
call("all any", "torch.NAME(x, 1)", "x = torch.randn(s.matrix) > 0")
call("amax amin", "torch.NAME(x, 1)", M, "x")
call("max min median", "torch.NAME(x, 1)[0]", M, "x")
call("argmax argmin", "torch.NAME(x, 1)", M)
call("logsumexp", "torch.logsumexp(x, 1)", M, "x")
call("norm", "torch.norm(x, dim=1)", M, "x")
call("count_nonzero", "torch.count_nonzero(x, 1)", M)
call("cumsum", "torch.cumsum(x, 1)", M, "x")
call("cumprod", "torch.cumprod(x, 1)", "x = torch.rand(s.matrix) * 0.2 + 0.9", "x")
call("softmax log_softmax", "torch.NAME(x, 1)", M, "x")

# -------------------------------------------------------------------------------------------------- shapes and views
call("reshape", "x.reshape(-1)", M, "x")
call("view", "x.view(-1)", M, "x")
call("permute", "x.permute(1, 0)", M, "x")
call("transpose", "x.transpose(0, 1)", M, "x")
call("t T", "x.t()", M, "x")
call("squeeze", "x.squeeze()", M, "x")
call("unsqueeze", "x.unsqueeze(0)", M, "x")
call("flatten", "x.flatten()", M, "x")
call("expand", "x.expand(4, *s.matrix)", M, "x")
call("repeat", "x.repeat(2, 1)", M, "x")
call("tile", "x.tile(2)", M, "x")
call("cat stack", "torch.NAME((x, x))", M, "x")
call("split", "x.split(3)[0]", M, "x")
call("chunk", "x.chunk(2)[0]", M, "x")
call("unbind", "x[:8].unbind()[0]", M, "x")
call("narrow", "x.narrow(0, 1, 4)", M, "x")
call("select", "x.select(0, 1)", M, "x")
call("flip", "x.flip(0)", M, "x")
call("roll", "x.roll(3)", M, "x")
call("contiguous", "x.t().contiguous()", M, "x")
call("clone", "x.clone()", M, "x")
call("to", "x.to(torch.float64)", M, "x")
call("diagonal", "x.diagonal()", SQUARE, "x")
call("diag tril triu", "torch.NAME(x)", SQUARE, "x")
call("meshgrid", "torch.meshgrid(x, x, indexing='ij')[0]", "x = torch.randn(s.side)", "x")
call("repeat_interleave", "x.repeat_interleave(2)", X, "x")

# ------------------------------------------------------------------------------------------------ indexing, ordering
call("__getitem__", "x[i]", INDEX, "x")
call("index_put", "x.index_put((i,), x)", INDEX, "x")
call("index_select", "x.index_select(0, i)", INDEX, "x")
call("index_add", "x.index_add(0, i, x)", INDEX, "x")
call("gather", "x.gather(0, j)", INDEX, "x")
call("scatter scatter_add", "x.NAME(0, j, x)", INDEX, "x")
call("take_along_dim", "x.take_along_dim(j, 0)", INDEX, "x")
call("nonzero", "torch.nonzero(x)", "x = torch.randn(s.n) > 0")
call("topk", "x.topk(5, 1)[0]", M, "x")
call("sort", "x.sort(1)[0]", M, "x")
call("argsort", "x.argsort(1)", M)
call("unique", "torch.unique(x)", "x = torch.randint(0, 1000, (s.n,))")

# ------------------------------------------------------------------------------------------ creation, random, dtypes
call("arange", "torch.arange(s.n)", "pass")
call("linspace", "torch.linspace(0, 1, s.n)", "pass")
call("zeros ones empty", "torch.NAME(s.n)", "pass")
call("full", "torch.full((s.n,), 2.5)", "pass")
call("eye", "torch.eye(s.side)", "pass")
call("zeros_like ones_like empty_like randn_like", "torch.NAME(x)", X)
call("full_like", "torch.full_like(x, 2.5)", X)
call("randn", "torch.randn(s.n)", "pass")
call("randint", "torch.randint(0, 10, (s.n,))", "pass")
call("bernoulli", "torch.bernoulli(x)", "x = torch.rand(s.n)")
call("multinomial", "torch.multinomial(x, 5)", "x = torch.rand(s.matrix)")
call("normal", "torch.normal(x, 1.0)", X)
call("uniform", "x.uniform_()", X)
call("float double half bfloat16 int long bool", "x.NAME()", "x = torch.randn(s.n, dtype=torch.float16)")
CALLS["half"] = Call("x.half()", X)
call("item", "x.item()", "x = torch.randn(1)", sizes="small")

# -------------------------------------------------------------------------------------------------- linear algebra
call("matmul mm", "torch.NAME(x, y)", SQUARE, "x y")
call("bmm", "torch.bmm(x, x)", BATCH, "x")
call("mv", "torch.mv(x, y[0])", SQUARE, "x")
call("dot", "torch.dot(x, y)", XY, "x y")
call("addmm", "torch.addmm(y[0], x, y)", SQUARE, "x y")
call("baddbmm", "torch.baddbmm(x, x, x)", BATCH, "x")
call("outer", "torch.outer(x, x)", "x = torch.randn(s.side)", "x")
call("einsum", "torch.einsum('bij,bjk->bik', x, x)", BATCH, "x")
call("linalg.norm linalg.vector_norm", "torch.NAME(x)", M, "x")
call("linalg.inv linalg.det linalg.cholesky linalg.qr", "torch.NAME(x)", DEFINITE, "x", "small middle")
CALLS["linalg.qr"] = Call("torch.linalg.qr(x)[1]", DEFINITE, ("x",), ("small", "middle"))
call("linalg.solve", "torch.linalg.solve(x, x[..., :1])", DEFINITE, "x", "small middle")
call("linalg.svd", "torch.linalg.svd(x)[1]", BATCH, "x", "small middle")
call("linalg.eigh", "torch.linalg.eigh(x)[0]", DEFINITE, "x", "small middle")
call("linalg.lstsq", "torch.linalg.lstsq(x, x[..., :1])[0]", DEFINITE, "", "small middle")
call("linalg.pinv", "torch.linalg.pinv(x)", DEFINITE, "x", "small middle")
call("fft.fft fft.rfft", "torch.NAME(x).real", M, "x")
call("fft.ifft", "torch.fft.ifft(x).real", "x = torch.randn(s.matrix, dtype=torch.complex64)", "x")
call("fft.irfft", "torch.fft.irfft(x)", "x = torch.randn(s.matrix, dtype=torch.complex64)", "x")
call("complex", "torch.complex(x, y).real", XY, "x y")
call("real imag conj", "torch.NAME(x).abs()", "x = torch.randn(s.n, dtype=torch.complex64)", "x")

# ------------------------------------------------------------------------------------------------- neural networks
F = "torch.nn.functional."
LINEAR = "x, w, b = torch.randn(s.matrix), torch.randn(256, s.matrix[1]), torch.randn(256)"
call("nn.functional.linear", f"{F}linear(x, w, b)", LINEAR, "x w b")
call(
    "nn.functional.conv1d", f"{F}conv1d(x.flatten(2), w, b, padding=1)",
    f"{IMAGE}; c = x.shape[1]; w, b = torch.randn(c, c, 3), torch.randn(c)", "x w b",
)  # fmt: skip
WEIGHTS = f"{IMAGE}; c = x.shape[1]; w, b = torch.randn(c, c, 3, 3), torch.randn(c)"
call(
    "nn.functional.conv2d nn.functional.conv_transpose2d", "torch.NAME(x, w, b, padding=1)", WEIGHTS, "x w b"
)
NAMES = "relu gelu silu elu leaky_relu softplus glu"
call(" ".join(f"nn.functional.{n}" for n in NAMES.split()), "torch.NAME(x)", M, "x")
call("nn.functional.dropout", f"{F}dropout(x)", M, "x")
call("nn.functional.embedding", f"{F}embedding(i, x)", INDEX, "x")
NORM = f"{M}; w, b = torch.randn(s.matrix[1]), torch.randn(s.matrix[1])"
call("nn.functional.layer_norm", f"{F}layer_norm(x, w.shape, w, b)", NORM, "x w b")
call("nn.functional.rms_norm", f"{F}rms_norm(x, w.shape, w)", NORM, "x w")
CHANNELS = f"{IMAGE}; c = x.shape[1]; w, b = torch.randn(c), torch.randn(c)"
call("nn.functional.batch_norm", f"{F}batch_norm(x, None, None, w, b, True)", CHANNELS, "x w b")
call("nn.functional.group_norm", f"{F}group_norm(x, 2, w, b)", CHANNELS, "x w b")
call("nn.functional.normalize", f"{F}normalize(x)", M, "x")
call(
    "nn.functional.cosine_similarity", f"{F}cosine_similarity(x, y)", f"{M}; y = torch.randn(s.matrix)", "x y"
)
call("nn.functional.pad", f"{F}pad(x, (1, 2))", M, "x")
call("nn.functional.interpolate", f"{F}interpolate(x, scale_factor=2, mode='bilinear')", IMAGE, "x")
call("nn.functional.max_pool2d nn.functional.avg_pool2d", "torch.NAME(x, 2)", IMAGE, "x")
call("nn.functional.adaptive_avg_pool2d", f"{F}adaptive_avg_pool2d(x, 2)", IMAGE, "x")
call(
    "nn.functional.scaled_dot_product_attention", f"{F}scaled_dot_product_attention(x, x, x)",
    "x = torch.randn(s.sequence)", "x",
)  # fmt: skip
call(
    "nn.functional.multi_head_attention_forward", "m(x, x, x)[0]",
    "b, h, t, d = s.sequence; x = torch.randn(b, t, h * d); m = torch.nn.MultiheadAttention(h * d, h, batch_first=True)",
    "x",
)  # fmt: skip
LABELS = f"{M}; t = torch.randint(0, s.matrix[1], (s.matrix[0],))"
call("nn.functional.cross_entropy nn.functional.nll_loss", "torch.NAME(x, t)", LABELS, "x")
TWO = "x, y = torch.rand(s.matrix), torch.rand(s.matrix)"
LOSSES = "mse_loss l1_loss smooth_l1_loss binary_cross_entropy binary_cross_entropy_with_logits"
call(" ".join(f"nn.functional.{n}" for n in LOSSES.split()), "torch.NAME(x, y)", TWO, "x")
call("nn.functional.kl_div", f"{F}kl_div(x, y, reduction='batchmean')", TWO, "x")
call("nn.functional.one_hot", f"{F}one_hot(t, 10)", "t = torch.randint(0, 10, (s.n,))")
