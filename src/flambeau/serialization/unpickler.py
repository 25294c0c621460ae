"""A pickle machine that can build data and nothing else.

It reads the opcodes that PyTorch's protocol-2 pickles use, and those that protocols 3 to 5 add for the same
kinds of value (opcodes as documented in CPython's ``Lib/pickletools.py``).  Names are resolved by
`allowed.lookup`, never imported.  Memory stays in proportion to the file: no opcode allocates by a number in
the file without the bytes being there, and copies made by constructors are charged to a budget.  Keys are
checked before they are hashed, because hashing a tuple recurses without limit and takes exponential time on
shared parts.
"""

from __future__ import annotations

import struct
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from . import allowed, binding, numpy_values
from .allowed import Constructor, StorageType
from .errors import CorruptFileError, UnsafeFileError, brief
from .tensors import LoadedStorage, set_attributes

if TYPE_CHECKING:
    from .loader import Loader

__all__ = ["MAX_NESTING", "RestrictedUnpickler"]

MAX_NESTING = 1000  # levels of containers: more than real state has, less than Python's recursion can print
_SCALARS = (str, int, float, bool, type(None), bytes, complex)
_MARK = object()


class RestrictedUnpickler:
    """Reads one pickle from `data`, starting at `start`; `position` is then behind it.

    Raises: UnsafeFileError for what is not allowed or not well-formed, EOFError when the data end too early.
    """

    def __init__(self, data: bytes, loader: Loader, start: int = 0, encoding: str = "utf-8") -> None:
        self.data = data
        self.loader = loader
        self.position = start
        self.encoding = encoding
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.foreign: Exception | None = None  # raised by the user's map_location or for a missing device

    def load(self) -> Any:
        """The value."""
        data, handlers = self.data, _HANDLERS
        at = self.position
        try:
            while True:
                at = self.position
                if at >= len(data):
                    raise EOFError(f"{self.loader.file}: the pickle ends at byte {at} without a STOP")
                opcode = data[at]
                self.position = at + 1
                if opcode == 0x2E:  # STOP
                    value = self._pop()
                    break
                handler = handlers.get(opcode)
                if handler is None:
                    raise ValueError(f"Unsupported operand {opcode}")
                handler(self)
            self._check_result(value)
        except (EOFError, CorruptFileError, UnsafeFileError):
            raise
        except LookupError as e:
            if e is self.foreign:
                raise
            raise UnsafeFileError(self.loader.file, str(e.args[0] if e.args else e)) from None
        except (ArithmeticError, AttributeError, RuntimeError, TypeError, ValueError, struct.error) as e:
            if e is self.foreign:
                raise
            raise UnsafeFileError(self.loader.file, f"at byte {at} of the pickle: {e}") from None
        return value

    # -- helpers

    def _take(self, n: int) -> bytes:
        end = self.position + n
        if end > len(self.data):
            raise EOFError(f"{self.loader.file}: the pickle ends inside an argument at byte {self.position}")
        raw = self.data[self.position : end]
        self.position = end
        return raw

    def _number(self, layout: str, size: int) -> int:
        return int(struct.unpack(layout, self._take(size))[0])

    def _line(self) -> str:
        end = self.data.find(b"\n", self.position)
        if end < 0:
            raise EOFError(f"{self.loader.file}: the pickle ends inside a name at byte {self.position}")
        raw = self.data[self.position : end]
        self.position = end + 1
        return raw.decode("utf-8")

    def _pop(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise ValueError("the stack is empty")
        return self.stack.pop()

    def _top(self) -> Any:
        if not self.stack or self.stack[-1] is _MARK:
            raise ValueError("the stack is empty")
        return self.stack[-1]

    def _pop_to_mark(self) -> list[Any]:
        items: list[Any] = []
        stack = self.stack
        while stack:
            item = stack.pop()
            if item is _MARK:
                items.reverse()
                return items
            items.append(item)
        raise ValueError("there is no mark on the stack")

    def _check_result(self, value: Any) -> None:
        """Refuse results that nest too deeply to be used safely, or that contain parts of the machinery."""
        if type(value) is LoadedStorage:  # a file of one storage
            return
        seen = {id(value)}
        level = [value]
        depth = 0
        while level:
            depth += 1
            if depth > MAX_NESTING:
                raise ValueError(f"containers are nested more than {MAX_NESTING} levels deep")
            following: list[Any] = []
            for item in level:
                kind = type(item)
                if kind in (Constructor, StorageType, LoadedStorage):
                    raise ValueError(f"{item!r} stands where a value was expected")
                if isinstance(item, dict):
                    children: Any = [*dict.keys(item), *dict.values(item)]
                    if kind is OrderedDict:
                        children += item.__dict__.values()
                elif isinstance(item, list | tuple | set | frozenset):
                    children = item
                elif binding.is_tensor(item):
                    children = item.__dict__.values()
                else:
                    continue
                for child in children:
                    if type(child) not in _SCALARS and id(child) not in seen:
                        seen.add(id(child))
                        following.append(child)
            level = following

    # -- opcodes

    def _reduce(self) -> None:
        args = self._pop()
        function = self._pop()
        if type(args) is not tuple:
            raise TypeError("arguments must be a tuple")
        self.stack.append(self._call(function, args))

    def _call(self, function: Any, args: tuple[Any, ...]) -> Any:
        if type(function) is Constructor:
            try:
                return function.build(self.loader, *args)
            except (TypeError, ValueError) as e:
                raise ValueError(f"{function.name}: {e}") from None
        if any(function is item for item in allowed.user_allowed()):
            return function(*args)
        raise LookupError(f"Trying to call {brief(function)}, which is not an allowed function")

    def _new_object(self) -> None:
        args = self._pop()
        cls = self._pop()
        if type(args) is not tuple:
            raise TypeError("arguments must be a tuple")
        if isinstance(cls, type) and any(cls is item for item in allowed.user_allowed()):
            self.stack.append(cls.__new__(cls, *args))
        else:
            self.stack.append(self._call(cls, args))

    def _build(self) -> None:
        state = self._pop()
        target = self._top()
        if type(target) is OrderedDict:
            set_attributes(target, state)
        elif isinstance(target, np.dtype):
            numpy_values.set_dtype_state(target, state)
        elif type(target) is np.ndarray:
            numpy_values.set_array_state(self.loader, target, state)
        elif _is_trusted(target):
            _set_state(target, state)
        else:
            raise LookupError(f"the state of a {type(target).__name__} may not be set")

    def _global(self) -> None:
        module = self._line()
        self.stack.append(allowed.lookup(module, self._line()))

    def _stack_global(self) -> None:
        name = self._pop()
        module = self._pop()
        if type(module) is not str or type(name) is not str:
            raise TypeError("the name of a global must be text")
        self.stack.append(allowed.lookup(module, name))

    def _persistent(self) -> None:
        pid = self._pop()
        try:
            self.stack.append(self.loader.storage(pid))
        except Exception as e:
            self.foreign = e
            raise

    def _append(self) -> None:
        item = self._pop()
        self._list().append(item)

    def _appends(self) -> None:
        items = self._pop_to_mark()
        self._list().extend(items)

    def _list(self) -> list[Any]:
        target = self._top()
        if type(target) is not list and not _is_trusted(target, list):
            raise TypeError(f"cannot append to a {type(target).__name__}")
        return target  # type: ignore[no-any-return]

    def _set_item(self) -> None:
        value = self._pop()
        self._set_items_of([self._pop(), value])

    def _set_items(self) -> None:
        self._set_items_of(self._pop_to_mark())

    def _set_items_of(self, items: list[Any]) -> None:
        target = self._top()
        if type(target) not in (dict, OrderedDict, Counter) and not _is_trusted(target, dict):
            raise TypeError(f"cannot set items of a {type(target).__name__}")
        self._fill(target, items)

    def _fill(self, target: Any, items: list[Any]) -> None:
        if len(items) % 2:
            raise ValueError("a key without a value")
        for i in range(0, len(items), 2):
            self.loader.check_key(items[i])
            target[items[i]] = items[i + 1]

    def _dict(self) -> None:
        made: dict[Any, Any] = {}
        self._fill(made, self._pop_to_mark())
        self.stack.append(made)

    def _add_items(self) -> None:
        items = self._pop_to_mark()
        target = self._top()
        if type(target) is not set:
            raise TypeError(f"cannot add items to a {type(target).__name__}")
        for item in items:
            self.loader.check_key(item)
        target.update(items)

    def _frozenset(self) -> None:
        items = self._pop_to_mark()
        for item in items:
            self.loader.check_key(item)
        self.stack.append(frozenset(items))

    def _get(self, index: int) -> None:
        if index not in self.memo:
            raise ValueError(f"memo entry {index} was never set")
        self.stack.append(self.memo[index])

    def _put(self, index: int) -> None:
        self.memo[index] = self._top()

    def _tuple_of(self, n: int) -> None:
        items = [self._pop() for _ in range(n)]
        self.stack.append(tuple(reversed(items)))

    def _long(self, n: int) -> None:
        self.stack.append(int.from_bytes(self._take(n), "little", signed=True))

    def _text(self, n: int) -> None:
        self.stack.append(self._take(n).decode("utf-8", "surrogatepass"))

    def _bytes(self, n: int) -> None:
        self.stack.append(self._take(n))

    def _old_string(self, n: int) -> None:
        raw = self._take(n)
        self.stack.append(raw if self.encoding == "bytes" else raw.decode(self.encoding))

    def _proto(self) -> None:
        protocol = self._take(1)[0]
        if protocol > 5:
            raise ValueError(f"pickle protocol {protocol} is not supported")


def _is_trusted(target: Any, base: type = object) -> bool:
    """Whether this is an instance of a class that the user declared safe."""
    return isinstance(target, base) and any(type(target) is item for item in allowed.user_allowed())


def _set_state(target: Any, state: Any) -> None:
    """What pickle does for an instance; only for classes that the user declared safe."""
    if hasattr(target, "__setstate__"):
        target.__setstate__(state)
        return
    attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    target.__dict__.update(attributes or {})
    for key, value in (slots or {}).items():
        setattr(target, key, value)


_M = RestrictedUnpickler


def _push(make: Callable[[], Any]) -> Callable[[_M], None]:
    return lambda m: m.stack.append(make())


_HANDLERS: dict[int, Callable[[_M], Any]] = {
    ord(code): handler
    for code, handler in {
        # structure
        "\x80": _M._proto,
        "\x95": lambda m: m._take(8),  # FRAME: its length says nothing that the data do not
        "(": _push(lambda: _MARK),
        "0": _M._pop,
        "1": _M._pop_to_mark,
        "2": lambda m: m.stack.append(m._top()),
        # constants and numbers
        "N": _push(lambda: None),
        "\x88": _push(lambda: True),
        "\x89": _push(lambda: False),
        "J": lambda m: m.stack.append(m._number("<i", 4)),
        "K": lambda m: m.stack.append(m._number("<B", 1)),
        "M": lambda m: m.stack.append(m._number("<H", 2)),
        "\x8a": lambda m: m._long(m._number("<B", 1)),
        "\x8b": lambda m: m._long(m._number("<I", 4)),
        "G": lambda m: m.stack.append(struct.unpack(">d", m._take(8))[0]),
        # text and bytes
        "\x8c": lambda m: m._text(m._number("<B", 1)),
        "X": lambda m: m._text(m._number("<I", 4)),
        "\x8d": lambda m: m._text(m._number("<Q", 8)),
        "C": lambda m: m._bytes(m._number("<B", 1)),
        "B": lambda m: m._bytes(m._number("<I", 4)),
        "\x8e": lambda m: m._bytes(m._number("<Q", 8)),
        "\x96": lambda m: m.stack.append(bytearray(m._take(m._number("<Q", 8)))),
        "U": lambda m: m._old_string(m._number("<B", 1)),
        "T": lambda m: m._old_string(m._number("<I", 4)),
        # containers
        "]": _push(list),
        "}": _push(dict),
        ")": _push(tuple),
        "\x8f": _push(set),
        "a": _M._append,
        "e": _M._appends,
        "l": lambda m: m.stack.append(m._pop_to_mark()),
        "t": lambda m: m.stack.append(tuple(m._pop_to_mark())),
        "\x85": lambda m: m._tuple_of(1),
        "\x86": lambda m: m._tuple_of(2),
        "\x87": lambda m: m._tuple_of(3),
        "s": _M._set_item,
        "u": _M._set_items,
        "d": _M._dict,
        "\x90": _M._add_items,
        "\x91": _M._frozenset,
        # memo
        "h": lambda m: m._get(m._number("<B", 1)),
        "j": lambda m: m._get(m._number("<I", 4)),
        "q": lambda m: m._put(m._number("<B", 1)),
        "r": lambda m: m._put(m._number("<I", 4)),
        "\x94": lambda m: m._put(len(m.memo)),
        # objects
        "c": _M._global,
        "\x93": _M._stack_global,
        "R": _M._reduce,
        "\x81": _M._new_object,
        "b": _M._build,
        "Q": _M._persistent,
    }.items()
}
