"""The report's figures: Altair charts of a `Summary`.

The charts name no colours: those of a theme (`THEMES`) come in when a chart is drawn. A run keeps
its colour in all figures, since every colour scale names all runs in the same order.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import altair as alt
import pandas as pd

if TYPE_CHECKING:
    from stac_bench.report.summary import Summary

#: Vega-Lite's version as vl-convert wants it: "6.4".
VEGA_LITE = alt.SCHEMA_VERSION.lstrip("v").rsplit(".", 1)[0]

# Okabe and Ito's colours, which colour-blind readers tell apart; without black and yellow, which
# drown in one of the themes.
_LIGHT = ["#0072b2", "#d55e00", "#009e73", "#c45f9b", "#e69f00", "#56b4e9", "#7a7f87"]
_DARK = ["#4ba3e3", "#f0803c", "#2fc79a", "#e091bf", "#f2b632", "#a5d8f7", "#9aa0a8"]


def _theme(text: str, muted: str, grid: str, colours: list[str]) -> dict[str, Any]:
    return {
        "background": "transparent",
        "font": "Helvetica, Arial, sans-serif",
        "view": {"stroke": None},
        "range": {"category": colours},
        "axis": {
            **{"labelColor": muted, "titleColor": text, "gridColor": grid, "domainColor": grid},
            **{"labelFontSize": 11, "titleFontSize": 12, "titleFontWeight": "normal"},
            **{"ticks": False, "labelPadding": 6, "titlePadding": 8, "labelLimit": 130},
        },
        "axisQuantitative": {"tickCount": 5},
        # A label that stood out would push its panel's head up.
        "axisYQuantitative": {"labelFlush": True},
        "axisBand": {"labelColor": text, "domain": False, "grid": False},
        "header": {"labelColor": text, "labelFontSize": 13, "labelFontWeight": 600},
        "legend": {
            **{"labelColor": text, "labelFontSize": 12, "labelLimit": 220, "title": None},
            **{"orient": "top", "direction": "horizontal", "columnPadding": 16, "offset": 12},
            **{"symbolSize": 90, "symbolStrokeWidth": 3, "symbolOpacity": 1},
        },
        "rule": {"color": muted},
    }


THEMES = {
    "light": _theme("#1f2328", "#59636e", "#e4e7eb", _LIGHT),
    "dark": _theme("#e8eaed", "#a2abb5", "#2e343c", _DARK),
}


@dataclass(frozen=True)
class Figure:
    """A chart, and the words around it."""

    name: str
    title: str
    caption: str
    #: A Vega-Lite chart without a theme.
    spec: dict[str, Any]


def figures(summary: Summary) -> list[Figure]:
    """All figures that the summary has numbers for."""
    drawn = []
    for name, (draw, title, caption, interval) in _FIGURES.items():
        spec = draw(summary).to_dict()
        spec.pop("config", None)  # Altair's own theme
        rows = [row for rows in spec["datasets"].values() for row in rows]
        if interval:
            caption += f" {interval if any(map(_is_bounded, rows)) else _UNBOUNDED}"
        spec["description"] = f"{title}. {caption}"
        if rows:
            drawn.append(Figure(name, title, caption, spec))
    return drawn


_UNBOUNDED = "One seed says nothing about chance: there is no interval."


def _is_bounded(row: dict[str, Any]) -> bool:
    return any(value is not None for name, value in row.items() if name.endswith("low"))


def run_names(summary: Summary) -> list[str]:
    """All runs, in the order that gives them their colours."""
    return [str(run) for run in summary.per_env["run"].unique()]


_Chart = Any  # Altair's types say less than they forbid


def _curves(summary: Summary) -> _Chart:
    base = _base(summary).encode(
        x=_STEPS, tooltip=_tooltip("run", "step", "iqm", "low", "high", "seeds")
    )
    band = base.mark_area(opacity=0.18).encode(y=_y("low"), y2="high:Q")
    line = base.mark_line(strokeWidth=2).encode(y=_y("iqm"))
    points = _points(base).encode(y=_y("iqm"))
    return _by_env(summary, alt.layer(band, line, points), summary.curves)


def _seeds(summary: Summary) -> _Chart:
    base = _base(summary).encode(x=_STEPS, y=_y("return"), detail="seed:N")
    line = base.mark_line(strokeWidth=1.1, opacity=0.65)
    points = _points(base).encode(tooltip=_tooltip("run", "seed", "step", "return"))
    return _by_env(summary, alt.layer(line, points), summary.seeds)


def _difference(summary: Summary) -> _Chart:
    rows = _known(summary.per_env, "difference")
    zero = alt.Chart().mark_rule(strokeDash=[3, 3]).encode(x=alt.datum(0))
    intervals = _intervals(summary, "difference", "pairs", "p")
    return _by_env(summary, alt.layer(zero, *intervals), rows, alt.Step(24))


def _over_all(summary: Summary) -> _Chart:
    titles = {"iqm": "IQM", "mean": "Mean", "median": "Median", "optimality_gap": "Optimality gap"}
    parts = []
    for name, title in titles.items():
        ends = {name: "value", f"{name}_low": "value_low", f"{name}_high": "value_high"}
        part = _known(summary.over_all, name).rename(columns=ends)
        parts.append(part.reindex(columns=["run", *ends.values()]).assign(measure=title))
    chart = alt.layer(*_intervals(summary, "value"))
    return _panels(chart, pd.concat(parts), "measure", list(titles.values()), alt.Step(24))


def _profiles(summary: Summary) -> _Chart:
    base = _base(summary, summary.profiles).encode(
        x=alt.X("tau:Q", title="Normalised return τ", scale=_EXACT),
        tooltip=_tooltip("run", "tau", "fraction", "low", "high"),
    )
    share: dict[str, Any] = {"axis": alt.Axis(format="%"), "scale": alt.Scale(domain=[0, 1])}
    fraction = alt.Y("fraction:Q", title="Share of runs above τ", **share)
    band = base.mark_area(opacity=0.18).encode(y=alt.Y("low:Q", **share), y2="high:Q")
    line = base.mark_line(strokeWidth=2).encode(y=fraction)
    return alt.layer(band, line, _points(base).encode(y=fraction)).properties(width=520, height=260)


def _game(summary: Summary) -> _Chart:
    titles = {
        "cosine": "Cosine of the two gradients",
        "norm_ratio": "Ratio of their norms",
        "saturation": "Saturated actions",
    }
    # Without a leader there is no game, and saturation stands in the table.
    has_leader = len(_known(summary.per_env, "cosine"))
    there = [name for name in titles if has_leader and name in summary.per_env]
    rows = _known(summary.per_env.melt(["env", "run"], there, "measure", "value"), "value")
    points = _base(summary).mark_point(filled=True, size=80, opacity=1)
    points = points.encode(
        x=alt.X("value:Q", title=None, scale=_PADDED), tooltip=_tooltip("env", "run", "value")
    )
    points = points.encode(**_rows_by_env(summary))
    rows = rows.assign(measure=rows["measure"].map(titles))
    return _panels(alt.layer(points), rows, "measure", list(titles.values()), _THIN_ROWS)


def _time(summary: Summary) -> _Chart:
    bars = _base(summary, _known(summary.per_env, "minutes")).mark_bar(height=9)
    bars = bars.encode(
        x=alt.X("minutes:Q", title="Minutes per run"), tooltip=_tooltip("env", "run", "minutes")
    )
    return alt.layer(bars.encode(**_rows_by_env(summary))).properties(width=520, height=_THIN_ROWS)


#: How each figure is drawn, its title, how to read it, and how its intervals if it can have any.
_FIGURES: dict[str, tuple[Callable[[Summary], _Chart], str, str, str]] = {
    "curves": (
        *(_curves, "Learning curves"),
        "Interquartile mean of the evaluation returns over seeds.",
        "The band is its 95 % interval.",
    ),
    "seeds": (
        *(_seeds, "Learning curves of every seed"),
        "Evaluation returns; each line is one seed.",
        "",
    ),
    "difference": (
        *(_difference, "Difference to the baseline"),
        "Difference of the final returns.",
        "Lines are 95 % intervals: one that holds zero leaves open which run is better.",
    ),
    "over_all": (
        *(_over_all, "All environments together"),
        "Normalised returns. More is better, but for the optimality gap.",
        "Lines are 95 % intervals.",
    ),
    "profiles": (
        *(_profiles, "Performance profiles"),
        "The share of runs whose normalised return is above τ: a higher line is better.",
        "The band is a 95 % interval.",
    ),
    "game": (
        *(_game, "Measures of the game"),
        "How the leader's total derivative differs from its plain gradient, and the share of "
        "actions at their limits; means over seeds.",
        "",
    ),
    "time": (_time, "Time", "Wall-clock time of a run; mean over seeds.", ""),
}
NAMES = list(_FIGURES)

_LOOSE = alt.Scale(zero=False)
_EXACT = alt.Scale(nice=False)
_PADDED = alt.Scale(zero=False, padding=8)
_STEPS = alt.X("step:Q", title="Environment steps", axis=alt.Axis(format="~s", tickCount=4))
_THIN_ROWS = alt.Step(14, **{"for": "offset"})


def _known(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows that have a number under `name`."""
    return rows.dropna(subset=[name]) if name in rows else rows.iloc[:0]


def _data(rows: pd.DataFrame) -> alt.InlineData:
    """The rows with null for NaN. `InlineData` spares Altair's limit of 5,000 rows."""
    return alt.InlineData(values=json.loads(rows.to_json(orient="records")))


def _base(summary: Summary, rows: pd.DataFrame | None = None) -> alt.Chart:
    """A chart whose colours tell the runs apart; without rows it takes those of its panels."""
    chart = alt.Chart() if rows is None else alt.Chart(_data(rows))
    return chart.encode(
        color=alt.Color("run:N", scale=alt.Scale(domain=run_names(summary)), title=None)
    )


def _intervals(summary: Summary, value: str, *more: str) -> tuple[alt.Chart, alt.Chart]:
    """A line from low to high, and a point at the value; a row for each run."""
    low, high = f"{value}_low", f"{value}_high"
    base = _base(summary).encode(
        y=alt.Y("run:N", sort=run_names(summary), title=None),
        color=alt.Color("run:N", scale=alt.Scale(domain=run_names(summary)), legend=None),
        tooltip=_tooltip("run", value, low, high, *more),
    )
    line = base.mark_rule(strokeWidth=2.5)
    line = line.encode(x=alt.X(f"{low}:Q", title=None, scale=_PADDED), x2=f"{high}:Q")
    point = base.mark_point(filled=True, size=90, opacity=1)
    return line, point.encode(x=alt.X(f"{value}:Q", title=None, scale=_PADDED))


def _points(base: alt.Chart) -> _Chart:
    """Points that show under the pointer, so that tooltips are easy to reach."""
    near = alt.selection_point(on="pointerover", nearest=True, empty=False, clear="pointerout")
    shown = alt.when(near).then(alt.value(1)).otherwise(alt.value(0))
    return base.mark_point(filled=True, size=60).encode(opacity=shown).add_params(near)


def _rows_by_env(summary: Summary) -> dict[str, Any]:
    return {
        "y": alt.Y("env:N", sort=_environments(summary), title=None),
        "yOffset": alt.YOffset("run:N", sort=run_names(summary)),
    }


def _environments(summary: Summary) -> list[str]:
    return [str(env) for env in summary.per_env["env"].unique()]


def _by_env(summary: Summary, chart: Any, rows: pd.DataFrame, height: Any = 190) -> _Chart:
    return _panels(chart, rows, "env", _environments(summary), height)


def _panels(chart: Any, rows: pd.DataFrame, by: str, order: list[str], height: Any) -> _Chart:
    """A panel for each value of `by`, with scales of its own."""
    panel = alt.Header(title=None, labelLimit=260)
    count = max(1, rows[by].nunique())
    return (
        chart.properties(width=250, height=height)
        .facet(alt.Facet(f"{by}:N", sort=order, header=panel), data=_data(rows), columns=3)
        .properties(columns=2 if count == 4 else min(3, count))
        .resolve_scale(x="independent", y="independent")
    )


def _y(name: str) -> alt.Y:
    return alt.Y(f"{name}:Q", title=None, scale=_LOOSE)


def _tooltip(*names: str) -> list[alt.Tooltip]:
    words = {"env": "environment", "iqm": "IQM", "tau": "τ"}
    exact = {"step": ",", "seeds": "d", "pairs": "d"}
    return [
        alt.Tooltip(f"{name}:N", title=words.get(name, name))
        if name in ("env", "run", "seed")
        else alt.Tooltip(
            f"{name}:Q",
            title=words.get(name, name.replace("_", " ")),
            format=exact.get(name, ",.4~g"),
        )
        for name in names
    ]
