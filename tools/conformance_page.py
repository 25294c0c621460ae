"""Keep `docs/conformance.json` and the tables of `docs/compatibility.md` that are made from it.

    python tools/conformance_page.py RESULT.json ...    # results of the harness (--json), one for each seed
    python tools/conformance_page.py                    # the page again, from the summary

The results say for each operation and mode how many samples agree with PyTorch; the summary keeps the totals and the
operations that differ.  Run the harness with the 16-bit dtypes last (see `make conformance`): the first error it
reports then tells whether an operation differs in other dtypes, too.
"""

from __future__ import annotations

import collections
import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SUMMARY, PAGE = ROOT / "docs" / "conformance.json", ROOT / "docs" / "compatibility.md"
BEGIN, END = "<!-- conformance: made by tools/conformance_page.py -->", "<!-- conformance: end -->"
GOOD, BAD = ("pass", "pass64", "shape", "exact"), ("fail", "silent", "other")
HALF = ("float16", "bfloat16")

# Why an operation differs; the first name or prefix that fits.
REASONS: dict[str, str] = {
    "chalf": "no complex32: NumPy has no such type",
    "complex": "no complex32: NumPy has no such type",
    "view_as_complex": "no complex32: NumPy has no such type",
    "as_strided_scatter": "PyTorch's gradient of `input` has the opposite mask",
    "fft.ihfftn": "PyTorch leaves `out=` unwritten",
    "polygamma": "values at the poles: limits here",
    "special.polygamma": "values at the poles: limits here",
    "digamma": "values at the poles: limits here",
    "special.bessel": "PyTorch's double precision results have 7 digits",
    "special.airy_ai": "PyTorch's double precision results have 7 digits",
    "nn.functional.scaled_dot_product_attention": "sums in another order, after large logits",
    "matrix_exp": "PyTorch's 16-bit results are memory that nobody wrote",
    "nn.functional.soft_margin_loss": "PyTorch's 16-bit exponentials overflow to NaN",
    "frexp": "PyTorch's 16-bit tangents are float32",
    "renorm": "PyTorch's 16-bit tangents are float32, and its complex gradients NaN",
    "histc": "PyTorch counts in bfloat16, which stops at 256",
    "logcumsumexp": "PyTorch's tangents lose digits or are NaN, its 16-bit gradients zero",
    "topk": "which of equal elements comes first",
    "kthvalue": "which of equal elements comes first",
    "sort": "which of equal elements comes first",
    "msort": "which of equal elements comes first",
    "argsort": "which of equal elements comes first",
    "mode": "which of equal elements comes first",
    "index_select": "`out=` with elements that share memory is accepted",
    "__r": "the reflected operators are ordinary functions: they take a number where PyTorch asks for a tensor",
    "linalg.norm.subgradients_at_zero": "PyTorch's second derivatives at zero are NaN",
    "nn.functional.linear_cross_entropy": "PyTorch's chunked form has zeros for second derivatives",
    "nn.functional.normalize": "second derivatives that cancel, in PyTorch, too; 16-bit steps",
    "pca_lowrank": "noise in PyTorch's second derivatives",
    "svd_lowrank": "noise in PyTorch's second derivatives",
    "cholesky_inverse": "PyTorch's forward mode is wrong",
}
ROUNDING = "16-bit floats: rounded at other places"


def reason(op: str, dtypes: str) -> str:
    if dtypes == "16-bit" and op not in REASONS:
        return ROUNDING
    found = [text for name, text in REASONS.items() if op == name or op.startswith(name)]
    return found[0] if found else "see the first error"


def summarize(paths: list[str]) -> dict[str, Any]:
    """Totals by mode and operations that differ, over all runs."""
    modes: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0, 0])
    ops: dict[str, dict[str, Any]] = collections.defaultdict(
        lambda: {"modes": {}, "dtypes": "16-bit", "error": ""}
    )
    missing: set[str] = set()
    seeds, names = [], 0
    for path in paths:
        run = json.loads(Path(path).read_text())
        seeds.append(run["settings"]["seed"])
        names = len(run["ops"])
        missing |= set(run["missing"])
        for op, entry in run["ops"].items():
            for mode, counts in entry["modes"].items():
                good = sum(counts.get(k, 0) for k in GOOD)
                bad = sum(counts.get(k, 0) for k in BAD)
                total = modes[mode]
                total[0] += good
                total[1] += good + bad
                total[2] += counts.get("exact", 0)
                if bad:
                    have = ops[op]["modes"].setdefault(mode, [0, 0])
                    have[0] += bad
                    have[1] += good + bad
                    error = counts["error"] or ""
                    if not error.startswith(tuple(f"[{d}]" for d in HALF)):
                        ops[op]["dtypes"] = "all"
                        ops[op]["error"] = ops[op]["error"] or error[:140]
    return {
        "reference": "PyTorch 2.13.0",
        "dtypes": run["settings"]["dtypes"],
        "seeds": sorted(seeds),
        "samples": run["settings"]["max_samples"],
        "ops": names,
        "missing": sorted(missing),
        "modes": {k: v if k == "error" else v[:2] for k, v in modes.items()},
        "differing": {k: ops[k] for k in sorted(ops)},
    }


def page(summary: dict[str, Any]) -> str:
    """The generated part of the page."""
    lines = [
        BEGIN,
        "",
        f"{summary['ops']} entries of PyTorch's operator database ({summary['reference']}), seeds "
        f"{', '.join(map(str, summary['seeds']))}, up to {summary['samples']} samples for each entry, mode and dtype "
        f"({', '.join(summary['dtypes'])}):",
        "",
        "| mode | samples that agree | |",
        "| --- | ---: | ---: |",
    ]
    for mode, (good, total, *exact) in summary["modes"].items():
        lines.append(f"| {mode} | {good} of {total} | {100 * good / total:.2f} % |")
        if exact:
            lines.append(f"| error, same type | {exact[0]} of {total} | {100 * exact[0] / total:.2f} % |")
    lines += [
        "",
        "Missing: "
        + (", ".join([f"`{m}` ({reason(m, 'all')})" for m in summary["missing"]]) or "none")
        + ".",
        "",
        "Operations with samples that differ, by mode (differing / compared):",
        "",
        "| operation | differs | where | why |",
        "| --- | --- | --- | --- |",
    ]
    rounding = []
    for op, entry in summary["differing"].items():
        why = reason(op, entry["dtypes"])
        if why == ROUNDING:
            rounding.append(op)
            continue
        counts = ", ".join(f"{m} {bad}/{n}" for m, (bad, n) in entry["modes"].items())
        text = (
            why
            if why != "see the first error"
            else "`" + entry["error"].replace("|", "/").replace("`", "'") + "`"
        )
        lines.append(f"| `{op}` | {counts} | {entry['dtypes']} | {text} |")
    lines += [
        "",
        f"Another {len(rounding)} differ in float16 and bfloat16 only, by more than a unit in the last place: PyTorch rounds",
        "the steps of a composite or of a derivative to 16 bits where here the result is rounded once, or the other way",
        "round: " + ", ".join(f"`{op}`" for op in rounding) + ".",
        "",
        END,
    ]
    return "\n".join(lines)


def write(summary: dict[str, Any]) -> None:
    text = PAGE.read_text()
    head, rest = text.split(BEGIN)
    PAGE.write_text(head + page(summary) + rest.split(END)[1])


def main() -> None:
    if sys.argv[1:]:
        summary = summarize(sys.argv[1:])
        SUMMARY.write_text(compact(summary))
    write(json.loads(SUMMARY.read_text()))


def compact(summary: dict[str, Any]) -> str:
    """JSON with one line for each operation."""
    rows = [f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in summary["differing"].items()]
    rest = {k: v for k, v in summary.items() if k != "differing"}
    return json.dumps(rest, indent=1)[:-2] + ',\n "differing": {\n' + ",\n".join(rows) + "\n }\n}\n"


if __name__ == "__main__":
    main()
