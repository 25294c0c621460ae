"""Prints the polynomial coefficients of ``flambeau.compiler.polynomials``.

Minimax fits by the exchange algorithm of E. Remez (1934; see J.-M. Muller, *Elementary Functions*, section
3.6) in high precision.  Coefficients are rounded to the working precision one by one, lowest first, and the
rest is fitted again after each rounding, so that rounding does not add up.

    python tools/fit_polynomials.py > src/flambeau/compiler/polynomials.py
"""

from __future__ import annotations

from collections.abc import Callable

import mpmath as mp
import numpy as np

mp.mp.prec = 200
Function = Callable[[mp.mpf], mp.mpf]


def remez(target: Function, weight: Function, low: mp.mpf, high: mp.mpf, degree: int) -> list[mp.mpf]:
    """Coefficients, lowest first, of the polynomial with the least largest |weight * (p - target)|."""
    count = degree + 2
    nodes = [
        (low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * (2 * i + 1) / (2 * count)) for i in range(count)
    ]
    grid = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * (i + 0.5) / 400) for i in range(400)]
    values = [(target(x), weight(x)) for x in grid]
    for _ in range(12):
        system, right = mp.matrix(count, count), mp.matrix(count, 1)
        for row, x in enumerate(nodes):
            for column in range(degree + 1):
                system[row, column] = x**column
            system[row, degree + 1] = (-1) ** row / weight(x)
            right[row] = target(x)
        solution = mp.lu_solve(system, right)
        coefficients = [solution[i] for i in range(degree + 1)]
        errors = [w * (mp.polyval(coefficients[::-1], x) - t) for x, (t, w) in zip(grid, values, strict=True)]
        # One extremum from every run of equal sign; then drop the smaller end until `count` are left.
        extrema: list[int] = []
        for i, error in enumerate(errors):
            if extrema and (errors[extrema[-1]] > 0) == (error > 0):
                if abs(error) > abs(errors[extrema[-1]]):
                    extrema[-1] = i
            else:
                extrema.append(i)
        while len(extrema) > count:
            extrema.pop(0 if abs(errors[extrema[0]]) < abs(errors[extrema[-1]]) else -1)
        if len(extrema) < count:
            break
        nodes = [grid[i] for i in extrema]
        sizes = [abs(errors[i]) for i in extrema]
        if max(sizes) < min(sizes) * mp.mpf("1.01"):
            break
    return coefficients


def fit(target: Function, weight: Function, low: float, high: float, degree: int, kind: type) -> list[float]:
    """Rounded coefficients of a minimax fit, lowest first."""
    floor = mp.mpf(2) ** -20  # where the weight vanishes the error may grow, but not without limit
    found = remez(target, lambda x: max(abs(weight(x)), floor), mp.mpf(low), mp.mpf(high), degree)
    return [float(kind(float(c))) for c in found]


def emit(name: str, coefficients: list[float], comment: str) -> None:
    print(f"\n# {comment}")
    print(f"{name} = (")
    for c in coefficients:
        print(f"    {c!r},")
    print(")", flush=True)


def near(function: Function) -> Function:
    """`function` away from its removable singularity at zero."""
    return lambda x: function(x if abs(x) > mp.mpf(2) ** -40 else mp.mpf(2) ** -40)


def main() -> None:
    print('"""Minimax coefficients, lowest first; made by ``tools/fit_polynomials.py``, which see."""')
    half_ln2 = float(mp.log(2) / 2 * mp.mpf("1.001"))
    quarter = float((mp.pi / 4 * mp.mpf("1.001")) ** 2)
    root = (float(mp.sqrt(0.5) - 1), float(mp.sqrt(2) - 1))
    s_max = float(((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * mp.mpf("1.01"))
    one = mp.mpf(1)
    for bits, kind, deg in ((32, np.float32, 0), (64, np.float64, 1)):
        emit(
            f"EXP_{bits}",
            fit(
                near(lambda r: (mp.expm1(r) - r) / r**2),
                lambda r: r**2,
                -half_ln2,
                half_ln2,
                (4, 10)[deg],
                kind,
            ),
            "(exp(r) - 1 - r) / r^2 for |r| <= log(2)/2",
        )
        emit(
            f"SIN_{bits}",
            fit(
                near(lambda u: (mp.sin(mp.sqrt(u)) / mp.sqrt(u) - 1) / u),
                lambda u: u,
                1e-12,
                quarter,
                (2, 5)[deg],
                kind,
            ),
            "(sin(r)/r - 1) / r^2 as a polynomial in r^2 for |r| <= pi/4",
        )
        emit(
            f"COS_{bits}",
            fit(
                near(lambda u: (mp.cos(mp.sqrt(u)) - 1 + u / 2) / u**2),
                lambda u: u**2,
                1e-12,
                quarter,
                (2, 5)[deg],
                kind,
            ),
            "(cos(r) - 1 + r^2/2) / r^4 as a polynomial in r^2 for |r| <= pi/4",
        )
    emit(
        "LOG_32",
        fit(near(lambda f: (mp.log1p(f) - f + f * f / 2) / f**3), lambda f: abs(f**2), *root, 7, np.float32),
        "(log(1+f) - f + f^2/2) / f^3 for sqrt(1/2) <= 1+f <= sqrt(2)",
    )
    emit(
        "LOG_64",
        fit(
            near(lambda u: (mp.log((1 + mp.sqrt(u)) / (1 - mp.sqrt(u))) / mp.sqrt(u) - 2) / u),
            lambda u: u,
            1e-12,
            s_max,
            6,
            np.float64,
        ),
        "(log((1+s)/(1-s))/s - 2) / s^2 as a polynomial in s^2, s = f/(2+f)",
    )
    emit(
        "LOG_SHORT_64",
        fit(
            near(lambda u: (mp.log((1 + mp.sqrt(u)) / (1 - mp.sqrt(u))) / mp.sqrt(u) - 2) / u),
            lambda u: u,
            1e-12,
            s_max,
            4,
            np.float64,
        ),
        "the same to 40 bits, for float32 powers",
    )
    emit(
        "EXP_SHORT_64",
        fit(near(lambda r: (mp.expm1(r) - r) / r**2), lambda r: r**2, -half_ln2, half_ln2, 5, np.float64),
        "(exp(r) - 1 - r) / r^2 to 32 bits, for float32 powers",
    )
    emit(
        "TANH_32",
        fit(
            near(lambda u: (mp.tanh(mp.sqrt(u)) / mp.sqrt(u) - 1) / u),
            lambda u: u,
            1e-12,
            0.626**2,
            4,
            np.float32,
        ),
        "(tanh(x)/x - 1) / x^2 as a polynomial in x^2 for |x| <= 0.625",
    )
    emit(
        "ERF_SMALL_32",
        fit(
            near(lambda u: mp.erf(mp.sqrt(u)) / mp.sqrt(u) - 1), lambda u: one, 1e-12, 0.93**2, 5, np.float32
        ),
        "erf(x)/x - 1 as a polynomial in x^2 for |x| <= 0.925",
    )
    emit(
        "ERF_LARGE_32",
        fit(lambda x: mp.log(mp.erfc(x)), lambda x: mp.erfc(x), 0.92, 4.0, 6, np.float32),
        "log(erfc(x)) for 0.925 <= x <= 4",
    )
    emit(
        "ERF_SMALL_64",
        fit(near(lambda u: mp.erf(mp.sqrt(u)) / mp.sqrt(u) - 1), lambda u: one, 1e-14, 1.005, 12, np.float64),
        "erf(x)/x - 1 as a polynomial in x^2 for |x| <= 1",
    )
    emit(
        "ERFC_64",
        fit(
            lambda t: mp.erfc(2 * (1 + t) / (1 - t)) * mp.exp((2 * (1 + t) / (1 - t)) ** 2),
            lambda t: mp.erfc(2 * (1 + t) / (1 - t)) + mp.mpf(2) ** -70,
            -0.3334,
            0.5001,
            20,
            np.float64,
        ),
        "erfc(x) exp(x^2) as a polynomial in t = (x-2)/(x+2) for 1 <= x <= 6",
    )


if __name__ == "__main__":
    main()
