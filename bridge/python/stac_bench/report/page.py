"""`report.html`: one file that needs no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import jinja2
import vl_convert

from stac_bench.report.figures import THEMES, VEGA_LITE, Figure, run_names
from stac_bench.report.tables import Table, provenance, run_table

if TYPE_CHECKING:
    from stac_bench.report.runs import Runs
    from stac_bench.report.summary import Summary

_HERE = Path(__file__).parent


def page(
    runs: Runs, summary: Summary, figures: list[Figure], made: list[Table], every_seed: bool = False
) -> str:
    """The page as HTML. `every_seed`: every seed's curve is shown from the start."""
    # Autoescape, since words from run folders may be hostile; `tojson` keeps `</script>` harmless.
    templates = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    template = templates.from_string(_read("template.html"))
    return template.render(
        summary=summary,
        runs=run_names(summary),
        environments=summary.per_env["env"].unique(),
        problems=runs.problems,
        figures=figures,
        specs={figure.name: figure.spec for figure in figures},
        themes=THEMES,
        every_seed=every_seed,
        tables=made,
        run_table=run_table(runs),
        provenance=provenance(runs),
        style=_read("page.css"),
        script=_read("page.js"),
        vega=vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE),
    )


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")
