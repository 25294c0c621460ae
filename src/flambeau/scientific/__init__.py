"""Differentiation at a distance, for science: products with derivatives, implicit functions, differential equations.

* `products`: Jacobians, Hessians and Gauss-Newton matrices times vectors, without the matrices;
* `implicit`: solutions of equations and fixed points, differentiable through the implicit function theorem;
* `ode`: initial value problems with an adaptive method, differentiable through its steps or by the adjoint.

Everything is written over the public interface, works under `vmap`, `grad` and `jvp`, and is short enough to read.
"""

from .implicit import fixed_point, root
from .ode import odeint
from .products import ggnvp, hvp, jvp, vjp

__all__ = ["fixed_point", "ggnvp", "hvp", "jvp", "odeint", "root", "vjp"]
