"""Methods of Tensor that are not operations: properties, conversion to Python and NumPy, autograd, protocols."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..autograd import differentiate as bw
from ..core import inplace
from ..core.eager import raw
from ..core.grad_names import rename
from ..core.interpreters import Value
from ..core.meta import COPY_OUT, is_meta
from ..core.node_faces import face
from ..core.pending import NO_DATA, Pending, known, settle
from ..core.promotion import convert
from ..core.public import METHODS, OVERRIDES, overridden
from ..core.state import tls
from ..core.tape import AccumulateGrad, BaseNode, OutNode, RemovableHandle
from ..core.tensor import (
    DATA_REPLACED,
    Storage,
    Tensor,
    new_object,
    node_of,
    snapshot,
    storage,
    wrap,
)
from ..core.where import describe, user_place
from ..ops.args import dtype_of, wrap_dim
from ..ops.creation import mark_leaf
from ..ops.from_python import checked_scalar
from ..ops.meta_device import META
from ..prims.base import detach_op, full, innermost, reshape
from ..prims.pointwise import overwrite_op
from ..runtime import memory, types
from ..runtime.dlpack import to_dlpack
from ..runtime.types import CPU, Size


def method(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Attach a function to Tensor under its own name."""
    METHODS[fn.__name__] = fn
    setattr(Tensor, fn.__name__, fn)
    return fn


def attribute(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Attach a read-only property."""
    setattr(Tensor, fn.__name__, property(fn, doc=fn.__doc__))
    return fn


# ------------------------------------------------------------------------------------------------- geometry


@attribute
def shape(self: Tensor) -> Size:
    """The sizes of the dimensions."""
    return tuple.__new__(Size, self._a.shape)


@method
def size(self: Tensor, dim: int | None = None) -> Any:
    """The shape, or the size of one dimension.

    Raises: IndexError for a dim out of range.
    """
    s = self._a.shape
    if dim is None:
        return tuple.__new__(Size, s)
    if not s:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    return s[wrap_dim(dim, len(s))]


@method
def dim(self: Tensor) -> int:
    """The number of dimensions."""
    return len(self._a.shape)


METHODS["ndimension"] = dim
setattr(Tensor, "ndimension", dim)


@method
def numel(self: Tensor) -> int:
    """The number of elements."""
    return math.prod(self._a.shape)


setattr(Tensor, "nelement", numel)


@method
def stride(self: Tensor, dim: int | None = None) -> Any:
    """Distance in memory between neighbours along each dim, in elements."""
    a = innermost(self)
    item = a.itemsize
    if a.ndim != len(self._a.shape):
        a = np.empty(self._a.shape, np.int8)
        item = 1
    s = tuple([x // item for x in a.strides])
    if a.size <= 1 or 0 in a.shape or 1 in a.shape:
        s = _canonical_strides(a, s)
    return s if dim is None else s[wrap_dim(dim, len(s))]


def _canonical_strides(a: Any, s: tuple[int, ...]) -> tuple[int, ...]:
    """NumPy leaves strides of contiguous arrays with sizes 0 or 1 arbitrary; PyTorch's are the contiguous ones."""
    if not a.flags.c_contiguous:
        return s
    out = []
    step = 1
    for n in reversed(a.shape):
        out.append(step)
        step *= max(n, 1)
    return tuple(reversed(out))


@method
def element_size(self: Tensor) -> int:
    """Bytes of one element."""
    return dtype_of(self).itemsize  # type: ignore[no-any-return]


@attribute
def itemsize(self: Tensor) -> int:
    """Bytes of one element."""
    return dtype_of(self).itemsize  # type: ignore[no-any-return]


@attribute
def _cdata(self: Tensor) -> int:
    """A number that no other tensor has at the same time: libraries tell by it whether two are the same."""
    return id(self)


@attribute
def nbytes(self: Tensor) -> int:
    """Bytes of all elements."""
    return math.prod(self._a.shape) * dtype_of(self).itemsize  # type: ignore[no-any-return]


def address(a: Any) -> int:
    return int(a.__array_interface__["data"][0])


def _bottom(t: Tensor) -> Tensor:
    """The tensor under all transforms."""
    while isinstance(t._a, Value):
        t = t._a.inner
    return t


@method
def storage_offset(self: Tensor) -> int:
    """Position of the first element in the storage, in elements."""
    base = self._base
    root = self if base is None else base
    if type(self._a) is Pending and is_meta(self):
        return self._a.slot // int(self._a.itemsize)
    if base is None and not isinstance(root._a, Value):
        whole: Any = known(self)
        around = memory.root(whole)
        return (address(whole) - address(around)) // int(whole.itemsize) if whole.size else 0
    outside: int = storage_offset(root._a.inner if isinstance(root._a, Value) else root)
    if base is None or not self._a.size:
        return outside
    mine, whole = known(_bottom(self)), known(_bottom(base))
    return outside + (address(mine) - address(whole)) // int(mine.itemsize)


@method
def data_ptr(self: Tensor) -> int:
    """The address of the first element (0 for empty tensors)."""
    if is_meta(self):
        return 0
    a = raw(self)
    settle(tls.capture)
    return address(a) if a.size else 0


@method
def is_contiguous(self: Tensor, memory_format: Any = types.contiguous_format) -> bool:
    """Whether the elements lie in memory in the given order without gaps."""
    a = innermost(self)
    if memory_format is types.channels_last:
        return a.ndim == 4 and a.transpose(0, 2, 3, 1).flags.c_contiguous  # type: ignore[no-any-return]
    if memory_format is types.channels_last_3d:
        return a.ndim == 5 and a.transpose(0, 2, 3, 4, 1).flags.c_contiguous  # type: ignore[no-any-return]
    return bool(a.flags.c_contiguous)


_ndarray = np.ndarray


@attribute
def device(self: Tensor) -> types.device:
    """Where the tensor lives."""
    return CPU if type(self._a) is _ndarray or not is_meta(self) else META


@attribute
def layout(self: Tensor) -> types.layout:
    return types.strided


def _const(name: str, value: Any) -> None:
    setattr(Tensor, name, property(lambda self: value))


for _name, _value in (
    *(
        ("is_cuda", False),
        ("is_sparse", False),
        ("is_quantized", False),
    ),
    *(
        ("is_mkldnn", False),
        ("is_mps", False),
        ("is_nested", False),
        ("is_sparse_csr", False),
        ("is_xpu", False),
    ),
    *(("names", None), ("is_xla", False)),
):
    _const(_name, _value)


setattr(Tensor, "is_meta", property(lambda self: is_meta(self), doc="Whether the tensor has no data."))
setattr(
    Tensor, "is_cpu", property(lambda self: not is_meta(self), doc="Whether the tensor has its data here.")
)


@method
def is_floating_point(self: Tensor) -> bool:
    """Whether the dtype is a floating one (not complex)."""
    return dtype_of(self).is_floating_point


@method
def is_complex(self: Tensor) -> bool:
    """Whether the dtype is complex."""
    return dtype_of(self).is_complex


@method
def is_signed(self: Tensor) -> bool:
    """Whether the dtype has negative values."""
    return dtype_of(self).is_signed


@method
def is_conj(self: Tensor) -> bool:
    """Always False: conjugation is computed, never postponed."""
    return False


@method
def is_neg(self: Tensor) -> bool:
    """Always False: negation is computed, never postponed."""
    return False


@method
def is_inference(self: Tensor) -> bool:
    """Whether the tensor was made in inference mode."""
    return self._st is not None and self._st.inference


@method
def get_device(self: Tensor) -> int:
    """-1: the CPU."""
    return -1


@method
def is_pinned(self: Tensor, device: Any = None) -> bool:
    return False


@method
def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """Returns the tensor: without CUDA there is nothing to pin for."""
    return self


@method
def is_set_to(self: Tensor, tensor: Tensor) -> bool:
    """Whether both tensors are the same view of the same memory."""
    if is_meta(self) or is_meta(tensor):
        return False
    a, b = raw(self), raw(tensor)
    return address(a) == address(b) and a.shape == b.shape and a.strides == b.strides


# --------------------------------------------------------------------------------------- values to Python and NumPy


def _concrete(self: Tensor, what: str) -> Any:
    """The array, or an error where a transform hides the values."""
    a = known(self)
    if a is not None:
        return a
    a = self._a
    while isinstance(a, Value):
        if a.interp.name == "vmap":
            if not a.batched:  # type: ignore[attr-defined]
                a = a.inner._a
                continue
            raise RuntimeError(
                f"vmap: It looks like you're calling {what} on a Tensor (at {describe(user_place(3))}). We don't support "
                f"vmap over calling {what} on a Tensor: each example has its own value. For data-dependent control flow use "
                "torch.where(condition, x, y)."
            )
        a = a.inner._a
    if type(a) is Pending and a.owner is NO_DATA:
        if what in (".numpy()", "__dlpack__()"):
            raise TypeError(
                "can't convert meta device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."
            )
        if what == ".tolist()" and a.shape:
            raise NotImplementedError(COPY_OUT)
        raise RuntimeError("Tensor.item() cannot be called on meta tensors")
    return a.force() if type(a) is Pending else a


def _sized(self: Tensor, what: str) -> Any:
    """`_concrete` after the check of the size, for tensors that have only that."""
    n = math.prod(self._a.shape)
    if n != 1 and is_meta(self):
        raise RuntimeError(f"a Tensor with {n} elements cannot be converted to Scalar")
    return _concrete(self, what)


@method
def item(self: Tensor) -> Any:
    """The only element, as a Python number.

    Raises: RuntimeError when there is not exactly one.
    """
    a = self._a if type(self._a) is np.ndarray else _sized(self, ".item()")
    if a.size != 1:
        raise RuntimeError(f"a Tensor with {a.size} elements cannot be converted to Scalar")
    v = a.item()
    return v if type(v) in (float, int, bool, complex) else float(v)


@method
def tolist(self: Tensor) -> Any:
    """The elements as nested lists of Python numbers (a number for 0-d)."""
    a = _concrete(self, ".tolist()")
    return a.astype(np.float32).tolist() if a.dtype.kind == "V" else a.tolist()


@method
def numpy(self: Tensor, *, force: bool = False) -> Any:
    """A NumPy array over the same memory; ``force=True`` detaches and copies where that is needed.

    Raises: RuntimeError for tensors that require grad (inside `no_grad` they are taken as they are), TypeError for
    dtypes that NumPy does not have.
    """
    if OVERRIDES:
        found = overridden(numpy, (self,), {"force": force})
        if found is not None:
            return found[0]
    if tls.grad and not force and self.requires_grad:
        raise RuntimeError(
            "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
        )
    if force and is_meta(self):
        raise NotImplementedError(COPY_OUT)
    a = _concrete(self, ".numpy()")
    settle(tls.capture)  # the caller may write to it
    if a.dtype.kind == "V":
        raise TypeError(
            f"Got unsupported ScalarType {dtype_of(self).name.title().replace('float', 'Float')}; convert with .float() first"
        )
    return a


@method
def to_numpy(self: Tensor) -> Any:
    """``numpy()``, under the name by which plotting and data frame libraries ask for it (not in PyTorch).

    >>> import flambeau as torch
    >>> torch.ones(2).to_numpy()
    array([1., 1.], dtype=float32)
    """
    return self.numpy()


@method
def __array__(self: Tensor, dtype: Any = None, copy: Any = None) -> Any:
    a = self.numpy()
    if dtype is not None and a.dtype != dtype:
        if copy is False:
            raise ValueError(
                f"Unable to avoid copy while creating an array of {np.dtype(dtype)} from a tensor of {self.dtype}"
            )
        return a.astype(dtype)
    return a.copy() if copy else a


@method
def __array_wrap__(self: Tensor, array: Any, context: Any = None, return_scalar: bool = False) -> Tensor:
    """What NumPy's functions make of their result for a tensor: a tensor, with bool as uint8 (so does PyTorch)."""
    from ..ops.creation import from_numpy

    a = np.asarray(array)
    return from_numpy(a.astype(np.uint8) if a.dtype == bool else a)


@method
def __dlpack__(
    self: Tensor,
    *,
    stream: Any = -1,
    max_version: Any = None,
    dl_device: Any = None,
    copy: bool | None = None,
) -> Any:
    """A DLPack capsule over the memory, for the ``from_dlpack`` of another library.

    Raises: BufferError for tensors that require grad, for other devices, and for read-only memory when the consumer
    does not know DLPack 1.0; TypeError or AssertionError for a stream.
    """
    if self.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    if stream is not None and type(stream) is not int:
        raise TypeError("stream must be ``int`` or ``none``")
    if stream not in (None, -1):
        raise AssertionError("stream should be None on cpu.")
    array = _concrete(self, "__dlpack__()")
    return to_dlpack(array, max_version=max_version, dl_device=dl_device, copy=copy)


@method
def __dlpack_device__(self: Tensor) -> tuple[int, int]:
    return (1, 0)


@method
def __bool__(self: Tensor) -> bool:
    a = self._a if type(self._a) is np.ndarray else _concrete(self, "bool()")
    if a.size != 1:
        if a.size == 0:
            raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
        raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
    return bool(a.item() if a.dtype.kind != "V" else a.astype(np.float32).item())


def _to_number(name: str, kind: type) -> None:
    def convert(self: Tensor) -> Any:
        try:
            v = self.item()
        except RuntimeError:
            if self.numel() == 1:
                raise
            raise ValueError(
                f"only one element tensors can be converted to Python scalars, not one of shape {list(self.shape)}"
            ) from None
        if isinstance(v, complex) and kind is not complex:
            if v.imag:
                raise RuntimeError(f"value cannot be converted to type {kind.__name__} without overflow")
            v = v.real
        return kind(v)

    convert.__name__ = name
    setattr(Tensor, name, convert)


_to_number("__float__", float)
_to_number("__int__", int)
_to_number("__complex__", complex)


@method
def __index__(self: Tensor) -> int:
    a = self._a
    if a.dtype.kind not in "bui" or math.prod(a.shape) != 1:
        raise TypeError("only integer tensors of a single element can be converted to an index")
    return int(_concrete(self, "__index__").item())


@method
def __len__(self: Tensor) -> int:
    s = self._a.shape
    if not s:
        raise TypeError("len() of a 0-d tensor")
    return s[0]  # type: ignore[no-any-return]


@method
def __contains__(self: Tensor, element: Any) -> bool:
    if isinstance(element, (Tensor, int, float, complex, bool, np.generic)):
        return bool((self == element).any())
    raise RuntimeError(
        f"Tensor.__contains__ only supports Tensor or scalar, but you passed in a {type(element)}."
    )


@method
def __format__(self: Tensor, spec: str) -> str:
    if not self._a.shape and known(self) is not None and type(self) is Tensor:
        return self.item().__format__(spec)  # type: ignore[no-any-return]
    return object.__format__(self, spec)


# ----------------------------------------------------------------------------------------------------------- autograd


@attribute
def is_leaf(self: Tensor) -> bool:
    """Whether this tensor was made by the user rather than by a recorded operation."""
    node = node_of(self)
    return node is None or isinstance(node, AccumulateGrad)


@attribute
def grad_fn(self: Tensor) -> BaseNode | None:
    """The node that made this tensor, or None for leaves."""
    node = node_of(self)
    return None if isinstance(node, AccumulateGrad) else face(node)


@attribute
def output_nr(self: Tensor) -> int:
    node = node_of(self)
    return node.index if type(node) is OutNode else 0


def _get_grad(self: Tensor) -> Tensor | None:
    """The accumulated gradient (None before the first backward)."""
    g = getattr(self, "_grad", None)
    if g is None and type(self._node) is not AccumulateGrad and self._node is not None:
        extra = self._node.extra
        if extra is None or extra.retain is None:
            import warnings

            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute won't be "
                "populated during autograd.backward(). If you indeed want the .grad field to be populated for a non-leaf "
                "Tensor, use .retain_grad() on the non-leaf Tensor.",
                UserWarning,
                stacklevel=2,
            )
    return g


def _set_grad(self: Tensor, value: Tensor | None) -> None:
    if value is not None:
        if not isinstance(value, Tensor):
            raise TypeError(
                f"assigned grad expected to be a Tensor or None but got grad of type {type(value).__name__}"
            )
        if value is self:
            raise RuntimeError("can't assign Variable as its own grad")
        if value.dtype is not self.dtype:
            raise RuntimeError(
                f"assigned grad has data of a different type: expected {self.dtype}, got {value.dtype}"
            )
        if value.shape != self.shape:
            raise RuntimeError(
                f"assigned grad has data of a different size: expected {list(self.shape)}, got {list(value.shape)}"
            )
    self._grad = value


def _del_grad(self: Tensor) -> None:
    self._grad = None


setattr(Tensor, "grad", property(_get_grad, _set_grad, _del_grad, doc=_get_grad.__doc__))


@method
def requires_grad_(self: Tensor, requires_grad: bool = True) -> Tensor:
    """Turn recording for this leaf on or off, in place.

    Raises: RuntimeError for non-leaves (turning off) and for dtypes without gradients.
    """
    if tls.stack:
        raise RuntimeError(
            "You are attempting to call Tensor.requires_grad_() (or perhaps using torch.autograd.functional.* APIs) inside of "
            "a function being transformed by a functorch transform. This is unsupported, please attempt to use the "
            "functorch transforms (e.g. grad, vjp, jacrev, jacfwd, hessian) or call requires_grad_() outside of a function "
            "being transformed instead."
        )
    if self._node is not None and type(self._node) is not AccumulateGrad:
        if requires_grad:
            return self
        raise RuntimeError(
            "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a "
            "subgraph that doesn't require differentiation use var_no_grad = var.detach()."
        )
    if not requires_grad:
        self._node = None
    elif self._node is None:
        if self._st is not None and self._st.inference and not tls.inference:
            raise RuntimeError(
                "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed."
            )
        mark_leaf(self)
    return self


@method
def backward(
    self: Tensor,
    gradient: Tensor | None = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    inputs: Any = None,
) -> None:
    """Accumulate gradients of this tensor into the leaves it came from; see `flambeau.autograd.backward`."""
    if OVERRIDES:
        found = overridden(backward, (self,), {"gradient": gradient})
        if found is not None:
            return
    bw.backward(self, gradient, retain_graph, create_graph, inputs=inputs)


@method
def detach(self: Tensor) -> Tensor:
    """A tensor over the same memory, without history."""
    if tls.stack:
        return _detach_inside(self)
    t = new_object(Tensor)
    t._a = self._a
    t._node = None
    t._st = storage(self)
    t._base = None
    return t


def _detach_inside(self: Tensor) -> Tensor:
    from ..core.interpreters import Batched, Dual, Taped

    if tls.stack[-1].owns(self):
        return detach_op(self)  # type: ignore[no-any-return]

    def strip(t: Tensor) -> Tensor:
        a = t._a
        if isinstance(a, Batched):
            return wrap(Batched(strip(a.inner), a.batched, a.interp))  # type: ignore[arg-type]
        if isinstance(a, Dual):
            return wrap(Dual(strip(a.inner), None, a.interp))  # type: ignore[arg-type]
        if isinstance(a, Taped):
            return wrap(Taped(strip(a.inner), None, a.interp))  # type: ignore[arg-type]
        s = snapshot(t)
        s._node = None
        return s

    t = strip(self)
    t._st = storage(self)
    return t


@method
def detach_(self: Tensor) -> Tensor:
    """Cut this tensor from its history, in place.

    Raises: RuntimeError for views, whose base would keep the history.
    """
    if self._base is not None and node_of(self) is not None:
        raise RuntimeError(
            "Can't detach views in-place: use detach() instead. If you are using DistributedDataParallel (DDP) for training, "
            "and gradient_as_bucket_view is set as True, gradients are views of DDP buckets."
        )
    if isinstance(self._a, Value):
        self._a = detach(self)._a
    self._node = None
    return self


def _get_data(self: Tensor) -> Tensor:
    t = detach(self)
    t._st = None  # .data does not share the version counter
    return t  # type: ignore[no-any-return]


def _set_data(self: Tensor, value: Tensor) -> None:
    if not isinstance(value, Tensor):
        raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
    if isinstance(getattr(self, "_a", None), Value):  # an uninitialized parameter has no payload yet
        raise RuntimeError(
            "mutating directly with `.data` inside a transform is not allowed: use copy_, or return the new value"
        )
    if value._a.dtype.kind not in "fcV" and self._node is not None:
        raise RuntimeError(
            "data set to a tensor that requires gradients must be floating point or complex dtype"
        )
    if value._a is self._a:  # as `Module.to` assigns where there is nothing to convert
        return
    self._a = value._a
    if self._st is not None:
        # Where the values were saved as an input, PyTorch's graph would see the new ones and give the gradient of
        # another function: here, that is an error. Those saved as an output stay, there and here (`Node.unpack`).
        version = self._st.version
        self._st.written(DATA_REPLACED)
        if self._node is not None and self._base is None and not isinstance(self._node, AccumulateGrad):
            self._st = Storage()  # the old memory is no longer this tensor's
            self._st.version = version


setattr(
    Tensor,
    "data",
    property(_get_data, _set_data, doc="The values without history; writing to it is not recorded."),
)


@attribute
def _version(self: Tensor) -> int:
    """How many in-place writes the storage has seen."""
    return self._st.version if self._st is not None else 0


@attribute
def retains_grad(self: Tensor) -> bool:
    node = self._node
    return (
        node is not None
        and not isinstance(node, AccumulateGrad)
        and node.extra is not None
        and node.extra.retain is not None
    )


@attribute
def _backward_hooks(self: Tensor) -> dict[int, Callable[[Tensor], Any]] | None:
    """The hooks on this tensor's gradient, by number; None before the first."""
    node = self._node
    return node.extra.tensor_hooks or None if node is not None and node.extra is not None else None


@method
def retain_grad(self: Tensor) -> None:
    """Keep ``.grad`` of this non-leaf too.

    Raises: RuntimeError when the tensor does not require grad, and inside a transform.
    """
    import weakref

    if isinstance(self._a, Value):
        raise RuntimeError(
            "Tensor.retain_grad() inside a function that is being transformed: nothing is accumulated there. Use grad, vjp or "
            "jacrev of the part that begins with this tensor"
        )
    node = node_of(self)
    if node is None:
        raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
    if not isinstance(node, AccumulateGrad):
        node.extras().retain = weakref.ref(self)


@method
def register_hook(self: Tensor, hook: Callable[[Tensor], Any]) -> RemovableHandle:
    """Call ``hook(grad)`` whenever the gradient of this tensor is computed; a returned tensor replaces it.

    Raises: RuntimeError when the tensor does not require grad.
    """
    node = node_of(self)
    if node is None:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    return RemovableHandle(node.extras().tensor_hooks, hook)


@method
def register_post_accumulate_grad_hook(self: Tensor, hook: Callable[[Tensor], None]) -> RemovableHandle:
    """Call ``hook(self)`` after ``.grad`` of this leaf was accumulated.

    Raises: RuntimeError for tensors that are not leaves requiring grad.
    """
    if self._node is None:
        raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
    if type(self._node) is not AccumulateGrad:
        raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
    return RemovableHandle(self._node.extras().post_accumulate, hook)


@method
def _is_view(self: Tensor) -> bool:
    return self._base is not None


# ------------------------------------------------------------------------------------------------- assignment, protocol


@method
def copy_(self: Tensor, other: Tensor, non_blocking: bool = False) -> Tensor:
    """Write the values of `other` (a tensor or a number), broadcast and converted, into this tensor."""
    from ..ops.shape import expand_to

    if isinstance(other, (bool, int, float, complex)):
        other = full((), checked_scalar(other, dtype_of(self)), self._a.dtype)
    if not isinstance(other, Tensor):
        raise TypeError(f"copy_(): argument 'other' (position 1) must be Tensor, not {type(other).__name__}")
    if not tls.stack:
        inplace.check_writable(self, "copy_")
    new = expand_to(other, tuple(self._a.shape), "copy_")
    if type(new._a) is Pending and is_meta(new) and not is_meta(self):
        raise NotImplementedError(COPY_OUT)
    if (
        tls.grad and not tls.stack and self._node is not None
    ):  # the old values stay in the graph, with zero gradients
        new = overwrite_op(snapshot(self), convert(new, self.dtype))
    return inplace.write(self, new, "copy_")


@method
def as_subclass(self: Tensor, cls: type) -> Tensor:
    """This tensor as an instance of a subclass, sharing memory and history: of a leaf, a view of it."""
    t: Any = new_object(cls)
    if isinstance(self._node, AccumulateGrad) and tls.grad:
        before = tls.__dict__.get("torch_function", True)
        tls.torch_function = False
        try:
            y = rename(reshape(self, tuple(self._a.shape)), "AliasBackward0")
        finally:
            tls.torch_function = before
        t._a, t._node, t._st, t._base, t._how = y._a, y._node, y._st, y._base, y._how
        return t  # type: ignore[no-any-return]
    t._a, t._node, t._st, t._base = self._a, self._node, storage(self), None
    return t  # type: ignore[no-any-return]


def _make_subclass(cls: type, data: Tensor, require_grad: bool = False) -> Tensor:
    """A detached instance of a Tensor subclass over the memory of `data`."""
    t: Any = new_object(cls)
    t._a, t._node, t._st, t._base = data._a, None, storage(data), None
    if require_grad:
        mark_leaf(t)
    return t  # type: ignore[no-any-return]


setattr(Tensor, "_make_subclass", staticmethod(_make_subclass))
