"""Writes a report's files into a folder."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow  # type: ignore[import-untyped]  # noqa: F401  # pandas writes with it
import vl_convert

from stac_bench.report.figures import NAMES, THEMES, VEGA_LITE, Figure, figures
from stac_bench.report.page import page
from stac_bench.report.tables import Cell, Table, provenance, tables

if TYPE_CHECKING:
    from stac_bench.report.runs import Runs
    from stac_bench.report.summary import Summary


def write(runs: Runs, summary: Summary, folder: Path, every_seed: bool = False) -> Path:
    """Writes all files; returns the page's path."""
    drawn, every = figures(summary), tables(summary)
    made = [table for table in every if not table.is_empty]
    for figure in drawn:
        spec = {**figure.spec, "config": THEMES["light"], "background": "white"}
        svg = vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE)
        png = vl_convert.vegalite_to_png(spec, vl_version=VEGA_LITE, scale=2)
        _write(folder / "figures" / f"{figure.name}.svg", svg.encode())
        _write(folder / "figures" / f"{figure.name}.png", png)
    for table in made:
        _write(folder / "tables" / f"{table.name}.tex", latex(table).encode())
    _write(folder / "runs.parquet", parquet(runs.evaluations))
    _write(folder / "report.md", markdown(runs, summary, drawn, made, every_seed).encode())
    path = folder / "report.html"
    _write(path, page(runs, summary, drawn, made, every_seed).encode())
    # What an earlier report had and this one has not.
    for name in set(NAMES) - {figure.name for figure in drawn}:
        for end in ("svg", "png"):
            (folder / "figures" / f"{name}.{end}").unlink(missing_ok=True)
    for table in every:
        if table.is_empty:
            (folder / "tables" / f"{table.name}.tex").unlink(missing_ok=True)
    return path


def markdown(
    runs: Runs, summary: Summary, drawn: list[Figure], made: list[Table], every_seed: bool
) -> str:
    """The report in Markdown."""
    parts = ["# Report", *map(_plain, summary.sentences)]
    if runs.problems:
        parts += ["## Problems found", "\n".join(f"- {_plain(line)}" for line in runs.problems)]
    parts.append("## Figures")
    for figure in drawn:
        if figure.name != "seeds" or every_seed:
            picture = f"![{figure.title}](figures/{figure.name}.png)"
            parts += [f"### {figure.title}", figure.caption, picture]
    parts.append("## Tables")
    for table in made:
        lines = [
            table.heads,
            ["---:" if number else "---" for number in table.numeric],
            *([_plain(_words(cell)) for cell in row] for row in table.rows),
        ]
        grid = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        parts += [f"### {_plain(table.title)}", _plain(table.note), grid]
    parts += ["## How it was made", _plain(summary.method), _plain(summary.normalisation)]
    for head, values in provenance(runs).items():
        parts += [f"{head}:", "\n".join(f"- {_plain(value)}" for value in values)]
    return "\n\n".join(filter(None, parts)) + "\n"


def latex(table: Table) -> str:
    """The table for the package booktabs."""
    columns = "".join("r" if number else "l" for number in table.numeric)
    rows = [" & ".join(_tex(_words(cell)) for cell in row) + r" \\" for row in table.rows]
    return "\n".join(
        [
            f"% {' '.join(table.title.split())}; needs \\usepackage{{booktabs}}",
            rf"\begin{{tabular}}{{{columns}}}",
            r"\toprule",
            " & ".join(map(_tex, table.heads)) + r" \\",
            *(r"\midrule", *rows, r"\bottomrule", r"\end{tabular}", ""),
        ]
    )


def parquet(evaluations: pd.DataFrame) -> bytes:
    """All evaluations; strings as categories."""
    texts = [name for name in ("env", "run", "harness", "folder") if name in evaluations]
    rows = evaluations.assign(
        **{name: evaluations[name].astype(str).astype("category") for name in texts}
    )
    written: bytes = rows.to_parquet(None, index=False, engine="pyarrow")
    return written


def _write(path: Path, content: bytes) -> None:
    """A reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(content)
    os.replace(part, path)


def _words(cell: Cell) -> str:
    return f"{cell.text} {cell.interval}".strip()


def _plain(text: str) -> str:
    """`text` in Markdown, where none of its signs means anything."""
    return re.sub(r"([\\`*_\[\]<>|#~&])", r"\\\1", " ".join(text.split()))


_TEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"},
    **{"\N{MINUS SIGN}": "$-$", "\N{EN DASH}": "--"},
    **{"[": "{[}"},  # after a line's end, a bare bracket would be an argument of it
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(sign, sign) for sign in " ".join(text.split()))
