"""Sparse tensors beside PyTorch's: results, layouts, coalescing, printing, errors, files."""

from __future__ import annotations

import copy
import io
import pickle
from typing import Any

import numpy as np
import pytest

import flambeau

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings("ignore")

I = [[0, 1, 1, 0], [2, 0, 2, 2]]  # noqa: E741


def names(t: Any) -> dict[str, Any]:
    """The operands of the expressions below, for a library."""
    u = t.sparse_coo_tensor(I, [3.0, 4.0, 5.0, 1.0], (2, 3))
    d = t.arange(6.0).reshape(2, 3)
    c = u.coalesce()
    return {
        **{"torch": t, "U": u, "C": c, "D": d, "DT": d.t().contiguous(), "V": t.arange(3.0)},
        **{"B": t.stack([c, c]), "R": c.to_sparse_csr(), "K": c.to_sparse_csc()},
        "L": t.sparse_csr_tensor([0, 1, 3], [2, 0, 2], t.arange(6.0).reshape(3, 2), (2, 3, 2)),
        "H": t.sparse_coo_tensor([[0, 2, 2]], t.arange(6.0).reshape(3, 2), (3, 2)),
        "E": t.sparse_coo_tensor((2, 3)),
        "Z": t.sparse_coo_tensor(I, t.tensor([1 + 2j, 0.5, 1j, 2.0]), (2, 3)),
    }


SAME = """
U; C; H; B; R; K; E; Z; U.double(); U.long(); C.to(torch.float16); torch.sparse_coo_tensor([[0], [1]], [1]); U.requires_grad_()
torch.sparse_coo_tensor(I, [1, 2, 3, 4]); torch.sparse_coo_tensor([[0, 1], [1, 2]], [1.5, 2.5]); torch.sparse_coo_tensor((3, 2))
torch.sparse_coo_tensor(torch.zeros(2, 0, dtype=torch.long), torch.zeros(0, 4), (2, 3, 4)); torch.eye(3).to_sparse()
torch.sparse_coo_tensor(torch.arange(4000).reshape(2, 2000) % 99, torch.ones(2000), (99, 99))
U @ DT; DT @ U; D @ U.t(); V @ U.t(); U @ V; U @ U.t(); U.matmul(DT); torch.mv(U, V); torch.mm(U, DT); torch.sparse.mm(U, DT)
torch.sparse.mm(DT, U); torch.sparse.mm(U, U.t()); torch.smm(U, DT); torch.hspmm(U, DT); torch.bmm(B, torch.ones(2, 3, 2))
torch.addmm(torch.ones(2, 2), U, DT); torch.sparse.addmm(torch.ones(2, 2), U, DT, beta=0.5, alpha=2)
torch.sspaddmm(U, U, torch.ones(3, 3)); torch.nn.functional.linear(V, U); torch.nn.functional.linear(U, D)
U + U; D + U; D - U; U * 2; U * D; D * U; U / 2; U ** 2; C ** 2; U ** -1; torch.pow(U, 0.5); U // 2; U.sub(U, alpha=2)
torch.add(D, U, alpha=2); U * torch.tensor(2.0); U * torch.tensor([2.0]); U * torch.tensor([1.0, 2.0, 3.0]); -U; abs(U)
U.sqrt(); U.sin(); U.relu(); torch.isnan(U); U.sign(); U.round(); U.floor(); U.tanh(); U.nan_to_num(); U.isnan(); Z.conj(); Z.abs()
U.sum(); U.sum(0); U.sum(1); torch.sparse.sum(U, 0); torch.sparse.sum(U, [0, 1]); torch.sparse.sum(H, 0); torch.sparse.sum(H, 1)
U.norm(); C.norm(); torch.norm(U, 1); U.any(); torch.sparse.softmax(U, 1); torch.sparse.log_softmax(U, 0)
U.t(); U.T; U.transpose(0, 1); U.permute(1, 0); U.mT; U.H; U.index_select(0, torch.tensor([1, 0, 1]))
C.index_select(0, torch.tensor([1, 0, 1])); U.index_select(1, torch.tensor([2, 2])); U.narrow_copy(1, 1, 2); U[0]; C[0]; U[0, 2]
C[1, 2]; U.select(1, 2); H[2]; H[2, 1]; H[:, 0]; torch.cat([U, C]); torch.cat([U, C], 1); torch.stack([U, C]); torch.stack([C, C], 1)
U.unsqueeze(0); torch.hstack([U, U]); torch.vstack([U, U]); U.clone(); U.detach(); U.to("cpu"); torch.zeros_like(U)
torch.empty_like(U); U.new_zeros(2); U.new_tensor([1.0]); U.to_sparse(); D.to_sparse(); D.to_sparse(1); D.to_sparse_csr()
D.to_sparse(layout=torch.sparse_csr); U.to_sparse_csr(); U.to_sparse_csc(); R.to_sparse(); R.to_dense(); K.to_dense()
R @ DT; R.t(); R * 2; R + R; R * R; R + D; D + R; R.crow_indices(); R.col_indices(); R.values(); K.ccol_indices(); K.row_indices()
R.sum(); R[0]; R[0, 2]; R.abs(); R.mv(V); D @ R.t(); DT @ R; R.to(torch.float64); R.clone(); D.sparse_mask(U); D.sparse_mask(C)
U.sparse_mask(C); D.clone().add_(U); D.clone().sub_(U); D.clone().mul_(U); U.clone().add_(U); U.clone().mul_(2); U.clone().zero_()
U.clone().copy_(C); U.clone().sparse_resize_((4, 3), 2, 0); torch.sparse.FloatTensor(2, 3); torch.tensor(U)
torch.sparse.FloatTensor(torch.tensor(I), V[:1].expand(4), torch.Size([2, 3])); torch.sparse_csr_tensor([0, 1, 2], [0, 1], [1.0, 2.0])
torch.sparse.sampled_addmm(R, torch.ones(2, 4), torch.ones(4, 3)); torch.sparse.spdiags(torch.arange(9.0).reshape(3, 3), torch.tensor([0, -1, 1]), (3, 3))
L; L * 2; L.to_dense(); L.to_sparse(); L.values(); L.sum(); L.dense_dim(); L[0]; L.abs(); L.to_sparse_csc(); L.clone()
torch.ones(2, 3, 2).to_sparse_csr(dense_dim=1); torch.sparse.mm(R, DT, reduce="mean"); torch.sparse.mm(R, DT - 3, reduce="amax")
torch.sparse.mm(R, DT - 3, reduce="min"); torch.sparse.mm(torch.eye(3).to_sparse_csr() * 0, DT, "sum"); torch.sparse_coo_tensor(size=(2, 3))
U.new(); U.new(2, 3); U.new(U._indices(), U._values(), (4, 4)); U.new(2, 3).resize_as_(U)
len(U); U.layout; U.is_sparse; R.is_sparse; R.is_sparse_csr; U._nnz(); U.sparse_dim(); H.dense_dim(); U.dim(); U.numel(); U.shape
U.size(1); U.dtype; U.device; U.is_leaf; U.grad; U.type(); U.element_size(); U.is_coalesced(); C.is_coalesced(); U.is_contiguous()
U.indices; U.stride(); isinstance(U, torch.Tensor); isinstance(U, torch.sparse.FloatTensor); isinstance(U, torch.FloatTensor)
isinstance(D, torch.sparse.FloatTensor); torch.is_floating_point(U); torch.is_tensor(U); D.sparse_dim(); D.dense_dim(); D.is_sparse
"""

ERRORS = """
U + D; U - D; U + 1; 1 - U; U / D; U / U; 2 / U; C ** 0; U.exp(); U.cos(); U.mean(); U.max(); U.argmax(); U.cumsum(0); U.prod()
U.narrow(1, 1, 2); U[0:1]; U[torch.tensor([0, 1])]; U > 0; U == U; U == D; torch.equal(U, U); torch.allclose(U, U); U.squeeze()
U.reshape(3, 2); U.view(3, 2); U.flatten(); torch.ones_like(U); torch.full_like(U, 2.0); U.contiguous(); U.storage(); U.numpy(); U.item()
bool(U); U.split(1); U.expand(2, 3); U.diagonal(); torch.trace(U); U.masked_fill(D > 0, 1); torch.nonzero(U); U.triu(); U.flip(0)
U.repeat(2, 1); U.clamp(0, 1); torch.softmax(U, 1); torch.inverse(U); U.sigmoid(); U.addcmul(U, U); U.clone().fill_(1.0); U.values()
U.indices(); D.indices(); D.values(); D.coalesce(); D.is_coalesced(); D.crow_indices(); D._nnz(); R.indices(); U.crow_indices()
D.to_sparse(0); D.to_sparse(3); U.to_sparse(1); D.sparse_mask(D); D.clone().copy_(U); U.clone().copy_(D); U.clone().add_(D)
torch.sparse_coo_tensor(I, [1.0, 2.0, 3.0]); torch.sparse_coo_tensor(I, [1.0] * 4, (2,)); torch.sparse_coo_tensor([[-1]], [1.0])
torch.sparse_coo_tensor([0, 1], [1.0, 2.0]); U @ D; torch.mm(U, DT.double()); U[5]; U.select(2, 0); torch.cat([U, D]); torch.cat([U, H])
torch.stack([U, H]); U.transpose(0, 5); U.backward(); torch.sparse.softmax(U, 7); U.sum(4); U.unsqueeze(9); U.index_select(0, torch.tensor([9]))
torch.utils.data.default_collate([C, C]); L.t(); L.transpose(0, 1); torch.sparse.mm(U, DT, reduce="mean"); L @ DT
torch.sparse.mm(R, DT, reduce="prod")
"""


def pieces(text: str) -> list[str]:
    return [p.strip() for line in text.strip().split("\n") for p in line.split(";")]


def evaluated(expression: str, library: Any) -> Any:
    return eval(expression, {**names(library), "I": I})


@pytest.mark.parametrize("expression", pieces(SAME))
def test_same_result(expression: str) -> None:
    ours, theirs = evaluated(expression, flambeau), evaluated(expression, torch)
    if isinstance(theirs, torch.Tensor):
        assert isinstance(ours, flambeau.Tensor) and str(ours.layout) == str(theirs.layout)
        assert str(ours.dtype) == str(theirs.dtype) and tuple(ours.shape) == tuple(theirs.shape)
        assert repr(ours) == repr(theirs)
        if theirs.is_sparse:
            assert ours.is_coalesced() == theirs.is_coalesced() and ours._nnz() == theirs._nnz()
    elif not callable(theirs):
        assert str(ours) == str(theirs)


@pytest.mark.parametrize("expression", pieces(ERRORS))
def test_same_kind_of_error(expression: str) -> None:
    errors = []
    for library in (flambeau, torch):
        with pytest.raises(Exception) as found:  # noqa: PT011  (which one is compared)
            evaluated(expression, library)
        errors.append(found.value)
    assert isinstance(errors[0], type(errors[1])), errors


@pytest.mark.parametrize("name", ["U", "C", "H", "R", "K", "E", "Z", "L"])
def test_files_both_ways(name: str) -> None:
    ours, theirs = names(flambeau)[name], names(torch)[name]
    for library, other, value in ((flambeau, torch, ours), (torch, flambeau, theirs)):
        file = io.BytesIO()
        library.save({"x": value, "y": [value]}, file)
        for reader in (library, other):
            found = reader.load(io.BytesIO(file.getvalue()), weights_only=True)["x"]
            assert repr(found) == repr(theirs)
            if theirs.is_sparse:
                assert found.is_coalesced() == theirs.is_coalesced()


def test_copies_and_pickles() -> None:
    for name in "UCHRK":
        x = names(flambeau)[name]
        for y in (copy.deepcopy(x), pickle.loads(pickle.dumps(x)), copy.copy(x)):
            assert repr(y) == repr(x)
    s = names(flambeau)["C"].requires_grad_()
    t = pickle.loads(pickle.dumps(s))
    assert t.requires_grad and t.is_leaf and copy.deepcopy(s).requires_grad
    s.mark = 3
    assert copy.deepcopy(s).mark == pickle.loads(pickle.dumps(s)).mark == 3
    d = copy.deepcopy(s)
    d._values()[0] = 9
    assert s._values()[0] != 9


def test_files_that_lie() -> None:
    file = io.BytesIO()
    good = torch.sparse_coo_tensor([[0, 1], [1, 7]], [1.0, 2.0], (2, 3), check_invariants=False)
    torch.save(good, file)
    with pytest.raises(pickle.UnpicklingError, match="found index 7"):
        flambeau.load(io.BytesIO(file.getvalue()))


def test_buffers_of_modules() -> None:
    class Graph(flambeau.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("adj", names(flambeau)["C"])
            self.linear = flambeau.nn.Linear(2, 2)

        def forward(self, x: Any) -> Any:
            return self.linear(self.adj @ x)

    module = Graph().double()
    assert module.adj.dtype is flambeau.float64 and module.adj.is_sparse
    other = Graph().double()
    other.load_state_dict(module.state_dict())
    x = flambeau.ones(3, 2, dtype=flambeau.float64)
    assert other(x).equal(module(x)) and copy.deepcopy(module)(x).equal(module(x))
    assert np.isfinite(module(x).detach().numpy()).all()


ATTRIBUTES = (
    *(
        "is_cpu",
        "is_cuda",
        "is_leaf",
        "is_meta",
        "is_mkldnn",
        "is_mps",
        "is_nested",
        "is_quantized",
        "is_sparse",
    ),
    *("is_sparse_csr", "is_xla", "itemsize", "ndim", "requires_grad", "retains_grad"),
)


@pytest.mark.parametrize("layout", ["to_sparse", "to_sparse_csr", "to_sparse_csc"])
def test_attributes(layout: str) -> None:
    # Once there is a sparse tensor, every attribute of a tensor is asked for through __torch_function__.
    torch = pytest.importorskip("torch")
    ours, theirs = (getattr(lib.eye(3), layout)() for lib in (flambeau, torch))
    for name in ATTRIBUTES:
        assert getattr(ours, name) == getattr(theirs, name), name
    assert str(ours.device) == "cpu" and ours.grad is None and ours.grad_fn is None
