"""The twelve panels in the paper's layout, with intervals."""

import altair as alt
import pandas as pd
import vl_convert
from panels import FAMILIES
from stac_bench.report.figures import THEMES, VEGA_LITE
from stac_bench.report.statistics import sample_efficiency

REPETITIONS = 1_000


def draw(panels):
    """The figure as PNG: IQM over seeds, and its 95 % bootstrap interval."""
    rows = [
        alt.hconcat(*(_panel(panel) for panel in panels if panel.family is family)).resolve_scale(
            color="shared"
        )
        for family in FAMILIES
    ]
    spec = alt.vconcat(*rows).resolve_scale(color="independent").to_dict()
    spec["config"] = THEMES["light"] | {"background": "white"}
    png: bytes = vl_convert.vegalite_to_png(spec, vl_version=VEGA_LITE, scale=2)
    return png


def _panel(panel):
    title = panel.title if panel.aligned else f"{panel.title}: not run yet"
    curves = _curves(panel)
    shown = list(panel.family.labels)
    base = alt.Chart(curves, title=title, width=190, height=130).encode(
        x=alt.X("step:Q", title=None, axis=alt.Axis(format="~s", tickCount=4)),
        color=alt.Color("run:N", sort=shown, scale=alt.Scale(domain=shown), title=None),
    )
    y = alt.Y("iqm:Q", title="return" if panel.letter in "aei" else None)
    band = base.mark_area(opacity=0.18).encode(y=alt.Y("low:Q", title=None), y2="high:Q")
    line = base.mark_line(strokeWidth=1.5).encode(y=y)
    return alt.layer(band, line).resolve_scale(y="shared")


def _curves(panel):
    rows = []
    for run, curves in panel.aligned.curves.items() if panel.aligned else ():
        middle, bounds = sample_efficiency([curves], REPETITIONS)
        low, high = bounds or (middle, middle)
        rows += zip([run] * len(middle), panel.aligned.steps, middle, low, high, strict=True)
    return pd.DataFrame(rows, columns=["run", "step", "iqm", "low", "high"])
