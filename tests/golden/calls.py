"""Calls whose results PyTorch has given once: `tools/write_golden.py` wrote them to `values.json`.

A call is an expression over `torch`, `F` (nn.functional) and the inputs below.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# name: (values, dtype, whether gradients are taken)
_r = np.random.RandomState(7)


def _real(*shape: int) -> Any:
    return np.round(_r.uniform(-2, 2, shape), 2)


INPUTS: dict[str, tuple[Any, str, bool]] = {
    "x": (np.array([[0.5, -1.25, 2.0], [-0.75, 1.5, 0.25]]), "float32", True),
    "y": (np.array([[1.5, 0.5, -1.0], [2.0, -0.5, 1.25]]), "float32", True),
    "p": (np.array([[0.5, 1.25, 2.0], [0.75, 1.5, 3.25]]), "float32", True),  # positive
    "u": (np.array([[0.1, 0.4, 0.7], [0.2, 0.55, 0.9]]), "float32", True),  # in (0, 1)
    "v": (np.array([0.5, -1.5, 2.0]), "float32", True),
    "s": (np.array(0.75), "float32", True),
    "d": (np.array([[0.5, -1.25], [1.5, 0.75]]), "float64", True),
    "z": (np.array([[0.5 + 1j, -1.5 - 0.5j], [2 - 1j, 0.25 + 0.75j]]), "complex64", True),
    "m": (np.array([[2.0, 0.5, -1.0], [0.25, 1.5, 0.75], [-0.5, 1.0, 3.0]]), "float32", True),
    "q": (
        np.array([[4.0, 1.0, 0.5], [1.0, 3.0, -0.5], [0.5, -0.5, 2.0]]),
        "float32",
        True,
    ),  # positive definite
    "t": (_real(2, 3, 4), "float32", True),
    "w": (_real(2, 4, 3), "float32", True),
    "a": (_real(1, 2, 6), "float32", True),  # a signal of two channels
    "k": (_real(3, 2, 3), "float32", True),  # its filters
    "b2": (_real(1, 2, 5, 4), "float32", True),  # an image
    "k2": (_real(2, 2, 3, 2), "float32", True),
    "b3": (_real(1, 1, 3, 4, 3), "float32", True),
    "k3": (_real(1, 1, 2, 2, 2), "float32", True),
    "bias": (np.array([0.5, -0.25]), "float32", True),
    "i": (np.array([[3, -7, 2], [5, 0, -4]]), "int64", False),
    "j": (np.array([[2, 3, -1], [1, 4, 2]]), "int64", False),
    "n": (np.array([[3, 200, 2], [5, 0, 14]]), "uint8", False),
    "e": (np.array([[3, -7, 2], [5, 0, -4]]), "int32", False),
    "g": (np.array([[True, False, True], [False, False, True]]), "bool", False),
    "at": (np.array([[2, 0], [1, 2]]), "int64", False),
    "c": (np.array([2, 0]), "int64", False),
    "h": (np.array([[0.5, -1.25, 2.0], [-0.75, 1.5, 0.25]]), "float16", True),
    "bf": (np.array([[0.5, -1.25, 2.0], [-0.75, 1.5, 0.25]]), "bfloat16", True),
}

_EACH = """
abs acos acosh asin asinh atan atanh ceil cos cosh deg2rad digamma erf erfc erfinv exp exp2 expm1 floor frac lgamma log
log10 log1p log2 logit neg positive rad2deg reciprocal round rsqrt sgn sigmoid sign sin sinc sinh sqrt square tan tanh
trunc nan_to_num i0 relu isnan isinf isfinite isposinf isneginf signbit logical_not angle
""".split()
_DOMAIN = {"acosh": "p + 1", "acos": "u", "asin": "u", "atanh": "u", "erfinv": "u", "logit": "u"}
_POSITIVE = {"digamma", "lgamma", "log", "log10", "log1p", "log2", "rsqrt", "sqrt"}
_PAIRS = """
add sub mul div pow atan2 copysign fmax fmin fmod remainder hypot maximum minimum logaddexp logaddexp2 ldexp xlogy eq ne
lt le gt ge logical_and logical_or logical_xor floor_divide true_divide nextafter heaviside
""".split()
_SPECIAL = """
entr erfcx i0e i1 i1e log_ndtr ndtr bessel_j0 bessel_j1 bessel_y0 bessel_y1 modified_bessel_i0 modified_bessel_i1
modified_bessel_k0 modified_bessel_k1 scaled_modified_bessel_k0 scaled_modified_bessel_k1 spherical_bessel_j0 airy_ai
""".split()
_ACTIVATIONS = """
celu elu gelu hardshrink hardsigmoid hardswish hardtanh leaky_relu logsigmoid mish relu relu6 selu silu softplus
softshrink softsign tanhshrink sigmoid tanh
""".split()

CALLS: list[str] = [
    *[f"torch.{f}({_DOMAIN.get(f, 'p' if f in _POSITIVE else 'x')})" for f in _EACH],
    *[f"torch.{f}(p, {'y' if f != 'ldexp' else 'p'})" for f in _PAIRS],
    *[f"torch.special.{f}(p)" for f in _SPECIAL],
    *[f"F.{f}(x)" for f in _ACTIVATIONS],
    *[f"torch.{f}(h)" for f in ("exp", "log1p", "sigmoid", "tanh", "sum", "mean")],
    *[f"torch.{f}(bf)" for f in ("exp", "sigmoid", "sin", "sum")],
    *[
        f"torch.{f}(z)"
        for f in ("abs", "angle", "exp", "log", "sqrt", "sin", "conj_physical", "reciprocal", "sgn", "tanh")
    ],
    *[f"torch.{f}(d)" for f in ("exp", "sin", "tanh")],
    *[
        f"torch.{f}(i, j)"
        for f in ("add", "sub", "mul", "div", "floor_divide", "remainder", "fmod", "maximum", "gcd", "lcm")
    ],
    *[f"torch.{f}(i, j)" for f in ("bitwise_and", "bitwise_or", "bitwise_xor", "eq", "lt")],
    *[f"torch.bitwise_{f}_shift(n, n)" for f in ("left", "right")],
]
CALLS += """
2 / p
2 - x
2 ** x
x ** 2
x ** 3
p ** -0.5
-x
x + 1
x * y
x @ m
x.T
m.mT
z.H
z.real
z.imag
i / j
i // j
i % j
e + 1.5
n + n
n - 5
g + g
i ** 2
h * 3
h + x
x[0]
x[:, 1]
x[None]
x[..., ::2]
x[g]
x[c[1:]]
x[:, c]
t[1, :, c]
x.clone()
x.float()
x.double()
x.to(torch.float16)
x.half().float()
i.float()
x.int()
x.view(3, 2)
x.reshape(6)
x.flatten()
x.t()
x.transpose(0, 1)
t.permute(2, 0, 1)
x.expand(2, 2, 3)
x.repeat(2, 1)
torch.tile(x, (1, 2))
x.unsqueeze(1)
t[:1].squeeze(0)
t[:1].squeeze()
torch.squeeze(t[:1], (0,))
x.unbind(0)
x.split(2, 1)
x.split([1, 2], 1)
x.chunk(2, 1)
x.select(1, 1)
x.narrow(1, 0, 2)
x.diagonal()
x.unfold(1, 2, 1)
x.movedim(0, 1)
torch.swapaxes(x, 0, 1)
torch.cat([x, y])
torch.stack([x, y], 1)
torch.hstack([x, y])
torch.vstack([x, y])
torch.dstack([x, y])
torch.column_stack([x, y])
torch.block_diag(x, y)
torch.broadcast_to(v, (2, 3))
torch.atleast_1d(s)
torch.meshgrid(v, v, indexing='ij')
torch.cartesian_prod(v, v)
torch.combinations(v)
torch.flip(x, (0,))
torch.fliplr(x)
torch.roll(x, 1, 1)
torch.roll(x, 1)
torch.rot90(x)
torch.tril(m)
torch.triu(m, 1)
torch.diag(v)
torch.diag(m)
torch.diag_embed(x)
torch.diagflat(v)
torch.vander(v)
torch.kron(v, v[:2])
torch.repeat_interleave(x, 2, 1)
torch.take(x, c)
torch.take_along_dim(x, at, 1)
torch.gather(x, 1, at)
torch.index_select(x, 1, c)
torch.masked_select(x, g)
torch.masked_fill(x, g, 0.5)
torch.masked_fill(x, g, s)
torch.masked_scatter(x, g, y)
torch.where(g, x, y)
torch.where(g, x, 0.5)
torch.scatter(x, 1, at, y)
torch.scatter(x, 1, at, 0.5)
torch.scatter_add(x, 1, at, y)
torch.scatter_reduce(x, 1, at, y, 'amax')
torch.scatter_reduce(x, 1, at, y, 'mean')
torch.index_add(x, 1, c, y[:, :2])
torch.index_copy(x, 1, c, y[:, :2])
torch.index_fill(x, 1, c, 0.5)
torch.index_fill(x, 1, c, s)
torch.index_put(x, (c[1:], c[:1]), s)
torch.put(x, c, v[:2])
torch.select_scatter(x, v, 0, 1)
torch.slice_scatter(x, y[:, :2], 1, 0, 2)
torch.diagonal_scatter(m, v)
torch.nonzero(g)
torch.argwhere(g)
x.clone().fill_(2.0)
x.clone().fill_(s)
x.clone().zero_()
x.clone().relu_()
x.clone().mul_(y)
x.clone().add_(1)
x.clone().clamp_(min=0)
x.clone().copy_(y)
x.clone().t_()
x.clone().unsqueeze_(0)
x.clone().masked_fill_(g, 0.0)
x.clone().exp_()
torch.clamp(x, -1, 1)
torch.clamp(x, min=y)
torch.clamp_min(x, 0.5)
torch.clamp_max(x, y)
torch.lerp(x, y, 0.25)
torch.lerp(x, y, p)
torch.addcmul(x, y, p, value=0.5)
torch.addcdiv(x, y, p, value=0.5)
torch.float_power(p, 2)
torch.div(x, y, rounding_mode='floor')
torch.div(x, y, rounding_mode='trunc')
torch.div(i, j, rounding_mode='trunc')
torch.fmod(x, 0.75)
torch.remainder(x, 0.75)
torch.copysign(x, -1.0)
torch.rsub(x, y)
torch.xlogy(p, 2.0)
torch.round(x, decimals=1)
torch.mvlgamma(p + 2, 2)
torch.polygamma(1, p)
torch.special.zeta(p + 1, p)
torch.special.xlog1py(p, u)
torch.special.gammainc(p, u)
torch.special.gammaincc(p, u)
torch.special.ndtri(u)
torch.special.multigammaln(p + 2, 2)
torch.sum(x)
torch.sum(x, 1)
torch.sum(i)
torch.sum(g)
torch.mean(x)
torch.mean(x, 0, keepdim=True)
torch.prod(x)
torch.prod(x, 1)
torch.nansum(x)
torch.nanmean(x)
torch.amax(x, 1)
torch.amin(x)
torch.aminmax(x)
torch.max(x)
torch.max(x, 1)
torch.max(x, y)
torch.min(x)
torch.min(x, 1)
torch.argmax(x)
torch.argmin(x, 1)
torch.all(g)
torch.any(g, 1)
torch.var(x)
torch.var(x, 1)
torch.std(x, 0, correction=0)
torch.var_mean(x, 1)
torch.std_mean(x)
torch.logsumexp(x, 1)
torch.norm(x)
torch.norm(x, 1)
torch.dist(x, y)
torch.median(x)
torch.median(x, 1)
torch.nanmedian(x)
torch.mode(x, 1)
torch.quantile(x, 0.5)
torch.quantile(x, 0.25, 1)
torch.kthvalue(x, 2, 1)
torch.topk(x, 2)
torch.sort(x, 1)
torch.sort(x, stable=True)
torch.argsort(x)
torch.msort(x)
torch.unique(j)
torch.unique_consecutive(j)
torch.bincount(c)
torch.histc(x, 4)
torch.searchsorted(torch.sort(v.detach())[0], x.detach())
torch.bucketize(x.detach(), torch.sort(v.detach())[0])
torch.count_nonzero(g)
torch.cumsum(x, 1)
torch.cumprod(x, 1)
torch.cummax(x, 1)
torch.cummin(x, 0)
torch.logcumsumexp(x, 1)
torch.diff(x)
torch.trapezoid(x)
torch.cumulative_trapezoid(x)
torch.gradient(v)
torch.cov(x)
torch.corrcoef(m)
torch.cdist(x, y)
torch.renorm(x, 2, 0, 1.0)
torch.cross(m, q, dim=1)
torch.dot(v, v)
torch.vdot(z[0], z[1])
torch.inner(x, y)
torch.outer(v, v)
torch.mv(m, v)
torch.mm(x, m)
torch.bmm(t, w)
torch.matmul(t, w)
torch.matmul(v, m)
torch.matmul(v, v)
torch.matmul(x, v)
torch.matmul(t, w[0])
torch.matmul(t, w[0, :, 0])
torch.addmm(x, x, m)
torch.addmm(x, x, m, beta=0.5, alpha=2)
torch.addmv(v, m, v)
torch.addr(m, v, v)
torch.baddbmm(t[:, :, :3], t, w)
torch.addbmm(m, t, w)
torch.chain_matmul(x, m, q)
torch.einsum('ij,kj->ik', x, y)
torch.tensordot(x, y, 2)
torch.linalg.multi_dot([x, m, q])
torch.linalg.matrix_power(m, 2)
torch.linalg.matrix_power(m, -1)
torch.matrix_exp(u[:, :2])
torch.linalg.norm(m)
torch.linalg.norm(m, 2)
torch.linalg.vector_norm(x, 3)
torch.linalg.matrix_norm(m, 'nuc')
torch.linalg.cond(m)
torch.linalg.det(m)
torch.linalg.slogdet(m)
torch.logdet(q)
torch.linalg.inv(m)
torch.linalg.solve(m, v)
torch.linalg.solve_triangular(m.triu(), q, upper=True)
torch.linalg.cholesky(q)
torch.cholesky_solve(m, torch.linalg.cholesky(q))
torch.cholesky_inverse(q.tril())
torch.linalg.qr(m).R.abs()
torch.linalg.svdvals(m)
torch.linalg.eigvalsh(q)
torch.linalg.eigvals(m).abs().sort()[0]
torch.linalg.pinv(m)
torch.linalg.lu(m)
torch.linalg.lu_factor(m)
torch.linalg.lstsq(m, q).solution
torch.linalg.vecdot(x, y)
torch.linalg.tensorinv(m.reshape(3, 3), 1)
torch.linalg.vander(v)
torch.linalg.matrix_rank(m)
torch.triangular_solve(q, m, upper=True)
torch.fft.fft(z)
torch.fft.ifft(z)
torch.fft.fft(x)
torch.fft.rfft(x)
torch.fft.irfft(z)
torch.fft.hfft(z)
torch.fft.fft2(z)
torch.fft.ifftn(z)
torch.fft.rfft2(x)
torch.fft.fftshift(x)
torch.fft.fftfreq(5)
torch.stft(a[0, 0], 4, 2, window=torch.ones(4), return_complex=True)
torch.view_as_real(z)
torch.complex(x, y)
torch.polar(p, x)
torch.heaviside(x, v)
torch.arange(1, 2.5, 0.5)
torch.linspace(0, 1, 5)
torch.logspace(0, 2, 3)
torch.eye(3, 2)
torch.full((2, 2), 1.5)
torch.zeros_like(x)
torch.tril_indices(3, 2)
torch.hann_window(5)
torch.hamming_window(4)
torch.blackman_window(4)
torch.kaiser_window(4)
torch.signal.windows.cosine(4)
torch.signal.windows.gaussian(4)
torch.isclose(x, x + 1e-9)
torch.isin(i, j)
torch.bernoulli(g.float())
torch.logical_and(i, j)
torch.softmax(x, 1)
torch.log_softmax(x, 0)
F.softmin(x, 1)
F.glu(t)
F.prelu(x, s.reshape(1))
F.rrelu(x)
F.threshold(x, 0.5, -1.0)
F.normalize(x)
F.leaky_relu(x.clone(), 0.1, True)
F.elu(x.clone(), 1.0, True)
F.hardtanh(x.clone(), inplace=True)
F.gelu(x, approximate='tanh')
F.dropout(x, 0.5, False)
F.linear(x, m)
F.linear(x, m, v)
F.linear(t, w[0].T[:2], bias)
F.linear(v, m, v)
F.bilinear(x, y, t[:, :, :3])
F.embedding(at, m)
F.embedding_bag(at, m, mode='sum')
F.one_hot(c, 3)
F.conv1d(a, k)
F.conv1d(a, k, v, stride=2, padding=1)
F.conv1d(a[0], k)
F.conv2d(b2, k2, bias)
F.conv2d(b2, k2, padding='same')
F.conv3d(b3, k3)
F.conv_transpose1d(a, k.transpose(0, 1))
F.conv_transpose2d(b2, k2, bias, 2)
F.conv_transpose3d(b3, k3)
F.unfold(b2, 2)
F.fold(F.unfold(b2, 2), (5, 4), 2)
F.avg_pool1d(a, 2)
F.avg_pool2d(b2, 2)
F.avg_pool3d(b3, 2)
F.max_pool1d(a, 2)
F.max_pool2d(b2, 2)
F.max_pool2d(b2, 2, return_indices=True)
F.max_pool3d(b3, 2)
F.max_unpool2d(*F.max_pool2d(b2, 2, return_indices=True), 2)
F.adaptive_avg_pool1d(a, 4)
F.adaptive_avg_pool2d(b2, 3)
F.adaptive_avg_pool2d(b2, 1)
F.adaptive_avg_pool3d(b3, 2)
F.adaptive_max_pool1d(a, 4)
F.adaptive_max_pool2d(b2, 3)
F.adaptive_max_pool3d(b3, 2)
F.lp_pool1d(a, 2, 2)
F.lp_pool2d(b2, 2, 2)
F.batch_norm(b2, None, None, bias, bias, True)
F.batch_norm(b2, bias.detach(), bias.detach() + 1)
F.layer_norm(t, (4,))
F.layer_norm(x, (3,), v, v)
F.group_norm(b2, 2, bias, bias)
F.instance_norm(b2)
F.rms_norm(x, (3,), v)
F.local_response_norm(b2, 2)
F.interpolate(a, 9, mode='linear')
F.interpolate(b2, 3)
F.interpolate(b2, (3, 7), mode='bilinear')
F.interpolate(b2, (3, 7), mode='bicubic', align_corners=True)
F.interpolate(b2, 3, mode='area')
F.interpolate(b3, 2, mode='trilinear')
F.interpolate(b2, 3, mode='nearest-exact')
F.grid_sample(b2, x.reshape(1, 1, 3, 2), align_corners=False)
F.affine_grid(x.reshape(1, 2, 3), (1, 1, 2, 2), align_corners=False)
F.pad(x, (1, 2))
F.pad(a, (1, 2), 'reflect')
F.pad(a, (1, 2), 'replicate')
F.pad(a, (1, 2), 'circular')
F.pad(b2, (1, 2, 1, 0), 'reflect')
F.pixel_shuffle(t.reshape(1, 4, 2, 3), 2)
F.pixel_unshuffle(b2[:, :, :4], 2)
F.channel_shuffle(t.reshape(1, 4, 2, 3), 2)
F.scaled_dot_product_attention(t, t, t)
F.scaled_dot_product_attention(t[None], t[None], t[None], is_causal=True)
F.mse_loss(x, y)
F.mse_loss(x, y, reduction='none')
F.l1_loss(x, y)
F.smooth_l1_loss(x, y)
F.huber_loss(x, y, reduction='sum')
F.kl_div(x, u)
F.poisson_nll_loss(x, p)
F.gaussian_nll_loss(x, y, p)
F.nll_loss(x, c)
F.nll_loss(t, at[:, [0, 1, 0, 1]])
F.cross_entropy(x, c)
F.cross_entropy(x, c, v.abs().detach(), reduction='sum')
F.cross_entropy(x, u)
F.cross_entropy(x, c, label_smoothing=0.1)
F.binary_cross_entropy(u, u.detach().flip(0))
F.binary_cross_entropy_with_logits(x, u)
F.multilabel_soft_margin_loss(x, g.float())
F.multi_margin_loss(x, c)
F.multilabel_margin_loss(x, torch.tensor([[0, -1, 1], [2, 0, -1]]))
F.soft_margin_loss(x, y.detach().sign())
F.hinge_embedding_loss(x, y.detach().sign())
F.margin_ranking_loss(x, y, y.detach().sign())
F.cosine_embedding_loss(x, y, torch.tensor([1, -1]))
F.triplet_margin_loss(x, y, p)
F.cosine_similarity(x, y)
F.pairwise_distance(x, y)
F.pdist(m)
F.ctc_loss(torch.log_softmax(t.permute(2, 0, 1), 2), torch.tensor([[1], [2]]), torch.tensor([4, 4]), torch.tensor([1, 1]))
""".strip().split("\n")
