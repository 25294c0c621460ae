"""Running passes in an order that suits them: `PassManager`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from .pass_base import PassResult

__all__ = ["PassManager", "pass_result_wrapper", "this_before_that_pass_constraint"]

Pass = Callable[[Any], Any]
Constraint = Callable[[Pass, Pass], bool]


def pass_result_wrapper(fn: Pass) -> Pass:
    """A pass that changes its graph module and gives nothing, as one that gives a `PassResult`."""

    def wrapped(gm: Any) -> Any:
        result = fn(gm)
        return PassResult(gm, True) if result is None else result

    if inspect.isfunction(fn):
        functools.update_wrapper(wrapped, fn)
    else:
        wrapped.__name__ = str(type(fn))
    return wrapped


def this_before_that_pass_constraint(this: Pass, that: Pass) -> Constraint:
    """The constraint that `this` comes before `that`."""
    return lambda a, b: a != that or b != this


def _topological_sort_passes(passes: Sequence[Pass], constraints: Sequence[Constraint]) -> list[Pass]:
    """The passes in an order that meets the constraints, otherwise as they are.

    Raises: RuntimeError when there is none.
    """
    after: dict[int, list[int]] = {i: [] for i in range(len(passes))}
    left = dict.fromkeys(after, 0)
    for i, a in enumerate(passes):
        for j, b in enumerate(passes):
            if i != j and not all(holds(b, a) for holds in constraints):  # b may not come before a
                after[i].append(j)
                left[j] += 1
    ready = [i for i, count in left.items() if count == 0]
    for i in ready:  # grows
        for j in after[i]:
            left[j] -= 1
            if left[j] == 0:
                ready.append(j)
    if len(ready) != len(passes):
        stuck = [passes[i] for i, count in left.items() if count > 0]
        raise RuntimeError(f"Circular dependency detected within the following passes: {stuck}")
    return [passes[i] for i in ready]


class PassManager:
    """Runs passes, `steps` times or until none changes anything.

    `add_constraint` says which come before which; `add_checks` adds a function that looks at the graph module after each
    pass when `run_checks_after_each_pass`, else after the last.
    """

    def __init__(
        self,
        passes: list[Pass] | None = None,
        constraints: list[Constraint] | None = None,
        steps: int | None = None,
        run_checks_after_each_pass: bool = False,
        suppress_check_failures: bool = False,
    ) -> None:
        self.passes: list[Pass] = passes or []
        self.constraints: list[Constraint] = constraints or []
        self.steps = steps or 1
        self.run_checks_after_each_pass = run_checks_after_each_pass
        self.suppress_check_failures = suppress_check_failures
        self._validated = False

    def add_pass(self, _pass: Pass) -> None:
        """Add a pass after the others."""
        self.passes.append(_pass)
        self._validated = False

    def add_constraint(self, constraint: Constraint) -> None:
        """Add a constraint: `constraint(a, b)` says whether `a` may come before `b`."""
        self.constraints.append(constraint)
        self._validated = False

    def validate_constraints(self) -> None:
        """Raises: RuntimeError when the order of the passes breaks a constraint."""
        if self._validated:
            return
        for constraint in self.constraints:
            for i, a in enumerate(self.passes):
                for j, b in enumerate(self.passes[i + 1 :], i + 1):
                    if not constraint(a, b):
                        raise RuntimeError(
                            f"pass schedule constraint violated. Expected {b} before {a} but found {a} at index {i} and "
                            f"{b} at index {j} in pass list."
                        )
        self._validated = True

    def solve_constraints(self) -> None:
        """Put the passes in an order that meets the constraints."""
        self.passes = _topological_sort_passes(self.passes, self.constraints)
        self._validated = True

    def add_checks(self, check: Callable[[Any], None]) -> None:
        """Have `check` look at the graph module.

        Raises: TypeError when it takes anything but that.
        """
        if len(inspect.signature(check).parameters) != 1:
            raise TypeError("PassManager check function should only take in one variable, a module")
        self.check = check  # type: ignore[method-assign,assignment]

    def check(self, module: Any) -> None:
        """Look at the graph module: nothing, unless `add_checks` gave a function."""

    def __call__(self, module: Any) -> PassResult:
        if not self._validated:
            self.solve_constraints()
        self.check(module)
        changed = False
        for _ in range(self.steps):
            now = False
            for i, one in enumerate(self.passes):
                name = one.__name__ if inspect.isfunction(one) else type(one).__name__
                try:
                    result = one(module)
                    if not isinstance(result, PassResult) and not hasattr(result, "graph_module"):
                        raise TypeError(
                            f"The result of the pass {name} should be type PassResult. Please wrap it with "
                            "pass_result_wrapper()"
                        )
                    module, now = result.graph_module, now or result.modified
                    if hasattr(module, "recompile"):
                        module.recompile()
                    if self.run_checks_after_each_pass:
                        self.check(module)
                except Exception as e:
                    before = [
                        p.__name__ if inspect.isfunction(p) else type(p).__name__ for p in self.passes[:i]
                    ]
                    raise Exception(  # noqa: TRY002  as PyTorch's
                        f"An error occurred when running the {name!r} pass after the following passes: {before}"
                    ) from e
            changed = changed or now
            if not now:
                break
        if not self.run_checks_after_each_pass:
            self.check(module)
        return PassResult(module, changed)
