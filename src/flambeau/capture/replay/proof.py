"""The proof that a function may be replayed: a reading of its source that follows every value from outside.

The reader walks the syntax tree as the interpreter would.  What it can know (constants, globals, attributes, arguments
that are no tensors) it knows exactly and guards; what the function makes is only known to be made from those.  So a
branch on known things is followed as it goes, and one on made things on both sides.  Calls are followed into the
program's own functions and into modules; operations of this package are known to depend on their arguments and to
change nothing.  Everything else (printing, files, random numbers of other packages, writes to objects from outside)
refuses the proof, with its line.  What is said of tensors themselves (writes to memory from outside, reads of values)
is seen by the recorder when the function runs.
"""

from __future__ import annotations

import ast
import builtins
import operator
import types
from collections.abc import Callable, Sequence
from typing import Any

from ...core.tensor import Tensor
from .guards import PLAIN, Guards
from .source import tree_of
from .values import Bound, Closure, Env, Fresh, Items, Known, Method, Refused, Value

__all__ = ["Proof"]

MADE = Fresh()
HOLDS = Fresh(holds=True)
NONE = Known(None)
DEEPEST, LONGEST = 40, 20_000  # calls in calls; steps of a reading
NOT_THERE = object()

OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
FOLDED = (int, float, bool, complex, str, type(None), tuple, range)  # operations on these are done at once


class Proof:
    """One reading; `guards` are what the result rests on.

    Raises: Refused.
    """

    def __init__(self) -> None:
        self.guards = Guards()
        self.depth = 0
        self.steps = 0
        self.place = ""
        self.active: list[Any] = []

    # ---- functions ----

    def refuse(self, reason: str) -> Refused:
        """The exception that says why not, and where."""
        return Refused(f"{reason}{f' at {self.place}' if self.place else ''}")

    def call_function(self, fn: Any, args: Sequence[Value], kwargs: dict[str, Value]) -> Value:
        """Read a Python function that is called with these arguments."""
        self.guards.function(fn)
        node = tree_of(fn.__code__)
        if isinstance(node, str):
            raise self.refuse(f"{fn.__qualname__} cannot be proved to do the same each time: {node}")
        env = Env(fn, locals=local_names(node))
        defaults = [self.known(v) for v in fn.__defaults__ or ()]
        keywords = {k: self.known(v) for k, v in (fn.__kwdefaults__ or {}).items()}
        return self.body(node, env, args, kwargs, defaults, keywords)

    def call_closure(self, closure: Closure, args: Sequence[Value], kwargs: dict[str, Value]) -> Value:
        """Read a function that was written inside the one that is read."""
        env = Env(closure.env.function, parent=closure.env, locals=local_names(closure.node))
        names = [a.arg for a in closure.node.args.kwonlyargs]
        count = len(closure.defaults) - sum(d is not None for d in closure.node.args.kw_defaults)
        given = [n for n, d in zip(names, closure.node.args.kw_defaults) if d is not None]
        keywords = dict(zip(given, closure.defaults[count:]))
        return self.body(closure.node, env, args, kwargs, closure.defaults[:count], keywords)

    def body(
        self,
        node: ast.FunctionDef | ast.Lambda,
        env: Env,
        args: Sequence[Value],
        kwargs: dict[str, Value],
        defaults: Sequence[Value],
        keywords: dict[str, Value],
    ) -> Value:
        if self.depth >= DEEPEST:
            raise self.refuse("the calls go too deep")
        bind_arguments(self, node, env, args, kwargs, defaults, keywords)
        self.depth += 1
        before = self.place
        try:
            if isinstance(node, ast.Lambda):
                return self.expression(node.body, env)
            self.block(node.body, env)
        finally:
            self.depth -= 1
        self.place = before
        return (
            join([*env.returned, NONE])
            if not env.returned or not always_returns(node.body)
            else join(env.returned)
        )

    def step(self, node: ast.AST, env: Env) -> None:
        self.steps += 1
        if self.steps > LONGEST:
            raise self.refuse("the function is too long to be read")
        if hasattr(node, "lineno"):
            code = env.function.__code__
            self.place = f"{code.co_filename}:{node.lineno}"

    # ---- statements ----

    def block(self, nodes: Sequence[ast.stmt], env: Env) -> bool:
        """Read statements; whether the end is certainly not reached."""
        return any([self.statement(n, env) for n in nodes[: ended(nodes)]])

    def statement(self, node: ast.stmt, env: Env) -> bool:
        """Read one statement; whether it certainly leaves the block."""
        self.step(node, env)
        match node:
            case ast.Expr(value=value):
                self.expression(value, env)
            case ast.Assign(targets=targets, value=value):
                found = self.expression(value, env)
                for target in targets:
                    self.assign(target, found, env)
            case ast.AnnAssign(target=target, value=value):
                if value is not None:
                    self.assign(target, self.expression(value, env), env)
            case ast.AugAssign(target=target, op=op, value=value):
                new = self.binary(
                    type(op), self.expression(as_load(target), env), self.expression(value, env)
                )
                self.assign(target, new, env)
            case ast.Return(value=value):
                env.returned.append(self.expression(value, env) if value is not None else NONE)
                return True
            case ast.If(test=test, body=body, orelse=orelse):
                return self.either(self.truth(self.expression(test, env)), body, orelse, env)
            case ast.For(target=target, iter=iterable, body=body, orelse=orelse):
                self.loop(target, self.expression(iterable, env), body, orelse, env)
            case ast.While(test=test, body=body, orelse=orelse):
                self.again(lambda: self.expression(test, env), body, env)
                self.block(orelse, env)
            case ast.With(items=items, body=body):
                for item in items:
                    self.context(self.expression(item.context_expr, env))
                    if item.optional_vars is not None:
                        self.assign(item.optional_vars, MADE, env)
                return self.block(body, env)
            case ast.FunctionDef(name=name, decorator_list=[]):
                env.variables[name] = self.closure(node, env)
            case ast.Assert(test=test):
                self.expression(test, env)
            case ast.Raise(exc=exc):
                if exc is not None and isinstance(exc, ast.Call):
                    for a in exc.args:
                        self.expression(a, env)
                return True
            case ast.Pass() | ast.Break() | ast.Continue():
                pass
            case ast.Delete(targets=targets) if all(isinstance(t, ast.Name) for t in targets):
                pass
            case _:
                raise self.refuse(f"a {type(node).__name__.lower()} statement is not followed")
        return False

    def either(
        self, known: bool | None, body: Sequence[ast.stmt], orelse: Sequence[ast.stmt], env: Env
    ) -> bool:
        if known is not None:
            return self.block(body if known else orelse, env)
        before = dict(env.variables)
        left = self.block(body, env)
        first, env.variables = env.variables, before
        right = self.block(orelse, env)
        if left and not right:
            return False
        if not left:
            env.variables = merged(first, env.variables) if not right else first
        return left and right

    def loop(
        self,
        target: ast.expr,
        iterable: Value,
        body: Sequence[ast.stmt],
        orelse: Sequence[ast.stmt],
        env: Env,
    ) -> None:
        items = self.iterate(iterable)
        if items is None or leaves_loop(body):
            item = join(items) if items else Fresh(holds=holds(iterable))

            def next_item() -> Value:
                self.assign(target, item, env)
                return MADE

            self.again(next_item, body, env)
        else:
            for item in items:
                self.assign(target, item, env)
                self.block(body, env)
        self.block(orelse, env)

    def again(self, begin: Callable[[], Value], body: Sequence[ast.stmt], env: Env) -> None:
        """Read a loop's body until nothing new is learnt of its variables."""
        for _ in range(6):
            before = dict(env.variables)
            begin()
            self.block(body, env)
            env.variables = merged(before, env.variables)
            if env.variables == before:
                return
        raise self.refuse("a loop is not understood")

    def assign(self, target: ast.expr, value: Value, env: Env) -> None:
        match target:
            case ast.Name(id=name):
                env.variables[name] = value
            case ast.Tuple(elts=parts) | ast.List(elts=parts):
                items = self.iterate(value)
                starred = any(isinstance(p, ast.Starred) for p in parts)
                if items is None or starred or len(items) != len(parts):
                    items = [Fresh(holds=holds(value))] * len(parts)
                for part, item in zip(parts, items):
                    self.assign(part.value if isinstance(part, ast.Starred) else part, item, env)
            case ast.Attribute(value=owner, attr=name):
                found = self.expression(owner, env)
                if is_tensor(found) and name == "grad":
                    return  # seen, and replayed, where the function runs
                if not (isinstance(found, Fresh) and not found.holds):
                    raise self.refuse(f"the attribute {name!r} of an object from outside is written")
            case ast.Subscript(value=owner, slice=index):
                found = self.expression(owner, env)
                self.expression(index, env)
                if not (is_tensor(found) or isinstance(found, Fresh) and not found.holds):
                    raise self.refuse("an element of a container from outside is written")
                if holds(value):
                    raise self.refuse("an object from outside is put in a container")
            case _:
                raise self.refuse(f"an assignment to a {type(target).__name__} is not followed")

    def context(self, manager: Value) -> None:
        if not (isinstance(manager, Fresh) and manager.callable):
            raise self.refuse("a with statement over something that is not a gradient mode")

    # ---- expressions ----

    def expression(self, node: ast.expr, env: Env) -> Value:
        """What is known of an expression's value."""
        self.step(node, env)
        match node:
            case ast.Constant(value=value):
                return Known(value)
            case ast.Name(id=name):
                return self.name(name, env)
            case ast.Attribute(value=owner, attr=name):
                return self.attribute(self.expression(owner, env), name)
            case ast.Subscript(value=owner, slice=index):
                return self.subscript(self.expression(owner, env), self.expression(index, env))
            case ast.Call():
                return self.call_node(node, env)
            case ast.BinOp(left=left, op=op, right=right):
                return self.binary(type(op), self.expression(left, env), self.expression(right, env))
            case ast.UnaryOp(op=op, operand=operand):
                return self.unary(type(op), self.expression(operand, env))
            case ast.BoolOp(op=op, values=values):
                return self.either_value(isinstance(op, ast.And), values, env)
            case ast.Compare(left=left, ops=ops, comparators=others):
                found = [self.expression(v, env) for v in (left, *others)]
                results = [self.binary(type(o), a, b) for o, a, b in zip(ops, found, found[1:])]
                return results[0] if len(results) == 1 else self.all_of(results)
            case ast.IfExp(test=test, body=body, orelse=orelse):
                known = self.truth(self.expression(test, env))
                if known is not None:
                    return self.expression(body if known else orelse, env)
                return join([self.expression(body, env), self.expression(orelse, env)])
            case ast.Tuple(elts=parts):
                return self.display(parts, env, True)
            case ast.List(elts=parts) | ast.Set(elts=parts):
                return self.display(parts, env, False)
            case ast.Dict(keys=keys, values=values):
                found = [self.expression(k, env) for k in keys if k is not None]
                return Fresh(holds=any(map(holds, [*found, *[self.expression(v, env) for v in values]])))
            case ast.Slice(lower=lower, upper=upper, step=step):
                for part in (lower, upper, step):
                    if part is not None:
                        self.expression(part, env)
                return MADE
            case ast.Lambda():
                return self.closure(node, env)
            case (
                ast.ListComp(elt=elt, generators=generators)
                | ast.GeneratorExp(elt=elt, generators=generators)
                | ast.SetComp(elt=elt, generators=generators)
            ):
                return self.comprehension([elt], generators, env)
            case ast.DictComp(key=key, value=value, generators=generators):
                return self.comprehension([key, value], generators, env)
            case ast.NamedExpr(target=target, value=value):
                found_value = self.expression(value, env)
                self.assign(target, found_value, env)
                return found_value
            case ast.Starred(value=value):
                return self.expression(value, env)
            case ast.JoinedStr(values=values):
                for v in values:
                    self.expression(v, env)
                return MADE
            case ast.FormattedValue(value=value):
                self.plain_use(self.expression(value, env), "formatted")
                return MADE
        raise self.refuse(f"a {type(node).__name__} expression is not followed")

    def display(self, parts: Sequence[ast.expr], env: Env, is_tuple: bool) -> Value:
        found: list[Value] = []
        for part in parts:
            value = self.expression(part, env)
            if isinstance(part, ast.Starred):
                items = self.iterate(value)
                if items is None:
                    return Fresh(holds=any(map(holds, [*found, value])))
                found += items
            else:
                found.append(value)
        if is_tuple:
            if all(isinstance(v, Known) and isinstance(v.value, PLAIN) for v in found):
                return Known(tuple([v.value for v in found if isinstance(v, Known)]))
            return Items(tuple(found))
        return Fresh(holds=any(map(holds, found)))

    def comprehension(
        self, elements: Sequence[ast.expr], generators: Sequence[ast.comprehension], env: Env
    ) -> Value:
        inner = Env(env.function, parent=env, locals=frozenset(stored_names(generators)))
        found: list[Value] = []
        self.turns(generators, 0, elements, env, inner, found)
        return Fresh(holds=any(map(holds, found)))

    def turns(
        self,
        generators: Sequence[ast.comprehension],
        level: int,
        elements: Sequence[ast.expr],
        env: Env,
        inner: Env,
        found: list[Value],
    ) -> None:
        """Read the loops of a comprehension from `level` on."""
        if level == len(generators):
            found.extend([self.expression(e, inner) for e in elements])
            return
        g = generators[level]
        if g.is_async:
            raise self.refuse("an asynchronous comprehension is not followed")
        iterable = self.expression(g.iter, inner if level else env)
        items = self.iterate(iterable)
        for item in [Fresh(holds=holds(iterable))] if items is None else items:
            self.assign(g.target, item, inner)
            if all([self.truth(self.expression(test, inner)) is not False for test in g.ifs]):
                self.turns(generators, level + 1, elements, env, inner, found)

    def closure(self, node: ast.FunctionDef | ast.Lambda, env: Env) -> Closure:
        defaults = [*node.args.defaults, *[d for d in node.args.kw_defaults if d is not None]]
        return Closure(node, env, tuple([self.expression(d, env) for d in defaults]))

    def either_value(self, is_and: bool, nodes: Sequence[ast.expr], env: Env) -> Value:
        found: list[Value] = []
        for node in nodes:
            value = self.expression(node, env)
            known = self.truth(value)
            if known is not None and known is not is_and:  # decided
                return join([*found, value])
            if known is None or node is nodes[-1]:
                found.append(value)
        return join(found)

    def all_of(self, results: Sequence[Value]) -> Value:
        known = [self.truth(r) for r in results]
        if False in known:
            return Known(False)
        return Known(True) if None not in known else MADE

    def truth(self, value: Value) -> bool | None:
        """Whether a value is true, where that is known."""
        if isinstance(value, Known):
            v = value.value
            if isinstance(v, FOLDED):
                return bool(v)
            if isinstance(v, (list, dict)):
                self.guards.inside("a container", v)
                return bool(v)
            if callable(v) or isinstance(v, types.ModuleType):
                return True
            if isinstance(v, Tensor):
                return None
            raise self.refuse(f"the truth of a {type(v).__name__} from outside is asked for")
        if isinstance(value, Items):
            return bool(value.values)
        return None if isinstance(value, (Fresh, Method)) else True

    def binary(self, kind: type, a: Value, b: Value) -> Value:
        """``a op b``, done at once for constants."""
        if kind in (ast.Is, ast.IsNot):
            if isinstance(a, Known) and isinstance(b, Known) and not (is_tensor(a) and is_tensor(b)):
                return Known(OPERATORS[kind](a.value, b.value))
            for x, y in ((a, b), (b, a)):
                if isinstance(x, Known) and x.value is None and isinstance(y, (Items, Closure, Bound)):
                    return Known(kind is ast.IsNot)
            return MADE
        if isinstance(a, Known) and isinstance(b, Known) and kind in OPERATORS:
            if isinstance(b.value, (list, dict)) and kind in (ast.In, ast.NotIn):
                self.constant_key(a)
                self.guards.inside("a container", b.value)
                return Known(OPERATORS[kind](a.value, b.value))
            if isinstance(a.value, FOLDED) and isinstance(b.value, FOLDED):
                try:
                    return Known(OPERATORS[kind](a.value, b.value))
                except Exception:
                    return MADE  # it raises in the function, too
        if isinstance(a, Items) and isinstance(b, Items) and kind is ast.Add:
            return Items((*a.values, *b.values))
        for x in (a, b):
            self.plain_use(x, "part of an expression")
        return Fresh(holds=holds(a) or holds(b))

    def constant_key(self, key: Value) -> None:
        """Raises: Refused unless a key means the same in every call."""
        if not (isinstance(key, Known) and isinstance(key.value, (*PLAIN, tuple))):
            raise self.refuse("a container is searched for an object")

    def unary(self, kind: type, a: Value) -> Value:
        if kind is ast.Not:
            known = self.truth(a)
            return MADE if known is None else Known(not known)
        if isinstance(a, Known) and isinstance(a.value, FOLDED):
            try:
                return Known(OPERATORS[kind](a.value))
            except Exception:
                return MADE
        self.plain_use(a, "part of an expression")
        return MADE

    def plain_use(self, value: Value, how: str) -> None:
        """Let a value be used by something that looks at it as a whole.

        Raises: Refused for objects of unknown classes, whose methods may do anything.
        """
        if isinstance(value, Items):
            for v in value.values:
                self.plain_use(v, how)
            return
        if not isinstance(value, Known):
            return
        v = value.value
        if isinstance(v, Tensor):
            self.guards.tensor(v)
        elif isinstance(v, (list, dict)) or type(v) is tuple:
            if not isinstance(v, tuple):
                self.guards.inside("a container", v)
            for part in v.values() if isinstance(v, dict) else v:
                self.plain_use(Known(part), how)
        elif not isinstance(v, PLAIN) and not harmless(v):
            raise self.refuse(f"a {type(v).__name__} from outside is {how}")

    # ---- reading names, attributes, elements ----

    def known(self, v: Any) -> Value:
        """A value from outside that was just read."""
        if isinstance(v, Tensor):
            self.guards.tensor(v)
        return Known(v)

    def name(self, name: str, env: Env) -> Value:
        scope: Env | None = env
        while scope is not None:
            if name in scope.variables:
                return scope.variables[name]
            if name in scope.locals and scope.parent is None:
                raise self.refuse(f"the variable {name!r} may not be set")
            scope = scope.parent
        fn = env.function
        if name in fn.__code__.co_freevars:
            cell = fn.__closure__[fn.__code__.co_freevars.index(name)]
            try:
                value = cell.cell_contents
            except ValueError:
                raise self.refuse(f"the variable {name!r} is not set") from None
            self.guards.cell(cell, name, value)
            return self.known(value)
        if name in fn.__globals__:
            value = fn.__globals__[name]
            self.guards.entry("the global", fn.__globals__, name, value)
            return self.known(value)
        self.guards.absent("the global", fn.__globals__, name)
        found = fn.__globals__.get("__builtins__", builtins)
        scope_of = found if isinstance(found, dict) else vars(found)
        if name not in scope_of:
            raise self.refuse(f"the name {name!r} is not defined")
        self.guards.entry("the builtin", scope_of, name, scope_of[name])
        return Known(scope_of[name])

    def attribute(self, owner: Value, name: str) -> Value:
        from .objects import attribute_of

        if isinstance(owner, Known):
            return attribute_of(self, owner, name)
        if isinstance(owner, Fresh):
            if owner.holds:
                raise self.refuse(f"the attribute {name!r} of an object that is not followed is read")
            return Method(owner, name)
        if isinstance(owner, Items):
            return Method(owner, name)
        if isinstance(owner, Method):  # x.T.shape: something of a tensor's
            return Method(MADE, name)
        raise self.refuse(f"the attribute {name!r} of a function is read")

    def subscript(self, owner: Value, index: Value) -> Value:
        if isinstance(owner, Items) and isinstance(index, Known) and isinstance(index.value, int):
            if -len(owner.values) <= index.value < len(owner.values):
                return owner.values[index.value]
            return MADE
        if isinstance(owner, Known):
            v = owner.value
            if isinstance(v, Tensor):
                self.guards.tensor(v)
                return MADE
            if isinstance(v, (list, dict, tuple, str, range)) and isinstance(index, Known):
                self.constant_key(index)
                if isinstance(v, list):
                    self.guards.inside("a container", v)
                try:
                    found = v[index.value]
                except (LookupError, TypeError):
                    return MADE
                if isinstance(v, dict):
                    self.guards.entry("the entry", v, index.value, found)
                return self.known(found)
            if isinstance(v, (str, tuple)) and isinstance(index, Fresh):
                return Fresh(holds=holds(owner))
            from .objects import module_item

            return module_item(self, owner, index)
        if isinstance(owner, Method):
            return MADE  # x.shape[0]
        return Fresh(holds=holds(owner), callable=isinstance(owner, Fresh) and owner.callable)

    def iterate(self, value: Value) -> list[Value] | None:
        """What a loop over a value goes through, where that is known."""
        if isinstance(value, Items):
            return list(value.values)
        if isinstance(value, Known):
            v = value.value
            if isinstance(v, (list, dict)):
                self.guards.inside("a container", v)
                return [self.known(x) for x in v]
            if isinstance(v, (tuple, range, str)):
                return [self.known(x) for x in v]
            if isinstance(v, Tensor):
                return None
            from .objects import module_items

            return module_items(self, v)
        return None

    # ---- calls ----

    def call_node(self, node: ast.Call, env: Env) -> Value:
        fn = self.expression(node.func, env)
        args: list[Value] = []
        open_ended = False
        for a in node.args:
            value = self.expression(a, env)
            if isinstance(a, ast.Starred):
                items = self.iterate(value)
                open_ended = open_ended or items is None
                args += [Fresh(holds=holds(value))] if items is None else items
            else:
                args.append(value)
        kwargs: dict[str, Value] = {}
        for k in node.keywords:
            value = self.expression(k.value, env)
            if k.arg is not None:
                kwargs[k.arg] = value
            elif isinstance(value, Known) and isinstance(value.value, dict):
                self.guards.inside("a container", value.value)
                kwargs |= {n: self.known(v) for n, v in value.value.items()}
            else:
                open_ended = True
        self.step(node, env)
        from .calls import call

        return call(self, fn, args, kwargs, open_ended)


# ---------------------------------------------------------------------------------------------------- facts


def is_tensor(value: Value) -> bool:
    """Whether a value is certainly a tensor from outside."""
    return isinstance(value, Known) and isinstance(value.value, Tensor)


def harmless(v: Any) -> bool:
    """Whether an object has no state and no methods that do something: dtypes, devices, sizes, functions, classes."""
    cls = type(v)
    if isinstance(v, (types.FunctionType, types.BuiltinFunctionType, types.ModuleType, type, range, slice)):
        return True
    return (
        cls.__module__.startswith("flambeau.runtime") or cls.__module__ == "numpy" and cls.__name__ == "dtype"
    )


def holds(value: Value) -> bool:
    """Whether objects from outside that could be changed can be reached through a value."""
    if isinstance(value, Known):
        v = value.value
        if isinstance(v, tuple):
            return any(holds(Known(x)) for x in v)
        return not isinstance(v, (*PLAIN, Tensor)) and not harmless(v)
    if isinstance(value, Items):
        return any(map(holds, value.values))
    if isinstance(value, (Bound, Method)):
        return holds(value.owner)
    return isinstance(value, Fresh) and value.holds


def join(values: Sequence[Value]) -> Value:
    """What is known of a value that is one of these."""
    first = values[0]
    if all(v == first for v in values[1:]):
        return first
    if all(isinstance(v, Items) for v in values):
        rows = [v.values for v in values if isinstance(v, Items)]
        if len({len(r) for r in rows}) == 1:
            return Items(tuple([join(column) for column in zip(*rows)]))
    if any(isinstance(v, (Closure, Bound)) for v in values):
        return HOLDS
    return Fresh(
        holds=any(map(holds, values)),
        callable=all(isinstance(v, Fresh) and v.callable for v in values),
    )


def merged(a: dict[str, Value], b: dict[str, Value]) -> dict[str, Value]:
    """The variables where two ways meet; one that is set on one side only may raise, as it does in the function."""
    return {n: join([d[n] for d in (a, b) if n in d]) for n in {**a, **b}}


def as_load(target: ast.expr) -> ast.expr:
    """A target as the expression that reads it."""
    return target  # the context (store or load) is not looked at


def ended(nodes: Sequence[ast.stmt]) -> int:
    """How many statements can be reached: up to the first that certainly leaves."""
    for i, n in enumerate(nodes):
        if isinstance(n, (ast.Return, ast.Raise, ast.Break, ast.Continue)):
            return i + 1
    return len(nodes)


def always_returns(nodes: Sequence[ast.stmt]) -> bool:
    """Whether the end of a function is never reached without a return."""
    if not nodes:
        return False
    last = nodes[-1]
    if isinstance(last, ast.If):
        return always_returns(last.body) and always_returns(last.orelse)
    if isinstance(last, ast.With):
        return always_returns(last.body)
    return isinstance(last, (ast.Return, ast.Raise))


def leaves_loop(nodes: Sequence[ast.stmt]) -> bool:
    """Whether a loop's body may leave it early."""
    return any(isinstance(n, (ast.Break, ast.Continue, ast.Return)) for b in nodes for n in ast.walk(b))


def stored_names(nodes: Sequence[ast.AST]) -> set[str]:
    """The names that are assigned, functions inside left out."""
    found: set[str] = set()
    todo = list(nodes)
    while todo:
        node = todo.pop()
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
            continue
        if isinstance(node, (ast.Lambda, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        todo += list(ast.iter_child_nodes(node))
    return found


def local_names(node: ast.FunctionDef | ast.Lambda) -> frozenset[str]:
    """The variables of a function."""
    a = node.args
    rest = [x for x in (a.vararg, a.kwarg) if x is not None]
    names = {x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs, *rest)}
    if isinstance(node, ast.FunctionDef):
        names |= stored_names(node.body)
    return frozenset(names)


def bind_arguments(
    proof: Proof,
    node: ast.FunctionDef | ast.Lambda,
    env: Env,
    args: Sequence[Value],
    kwargs: dict[str, Value],
    defaults: Sequence[Value],
    keywords: dict[str, Value],
) -> None:
    """Give the parameters their values."""
    a = node.args
    positional = [x.arg for x in (*a.posonlyargs, *a.args)]
    given = dict(zip(positional, args))
    if len(args) > len(positional):
        if a.vararg is None:
            raise proof.refuse("a function is called with too many arguments")
        given[a.vararg.arg] = Items(tuple(args[len(positional) :]))
    elif a.vararg is not None:
        given[a.vararg.arg] = Items(())
    only = [x.arg for x in a.kwonlyargs]
    extra = {}
    for k, v in kwargs.items():
        if k in only or k in positional:
            given[k] = v
        else:
            extra[k] = v
    if a.kwarg is not None:
        given[a.kwarg.arg] = Fresh(holds=any(map(holds, extra.values()))) if extra else Known({})
    elif extra:
        raise proof.refuse("a function is called with an argument that it does not have")
    for name, value in zip(positional[len(positional) - len(defaults) :], defaults):
        given.setdefault(name, value)
    for name, value in keywords.items():
        given.setdefault(name, value)
    for name in (*positional, *only):
        if name not in given:
            raise proof.refuse(f"a function is called without its argument {name!r}")
    env.variables.update(given)
