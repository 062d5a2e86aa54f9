"""Writes `docs/results.md` and its figure from the runs in `data/`: `make results`.

`results.template.md` beside this file has the words, the data have every number.
"""

import argparse
import sys
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
from claims import Book, claims, controls, primary
from panels import BEYOND, FAMILIES, load, table
from stac_bench.report.folder import GAME
from stac_bench.report.runs import EVALUATIONS, FACTS, RUNS, Runs
from stac_bench.report.sentences import number
from stac_bench.report.summary import summarise
from stac_bench.report.tables import tables

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TEMPLATE = HERE / "results.template.md"
PAGE, FIGURE = ROOT / "docs" / "results.md", ROOT / "docs" / "figure3.png"
# Spinning Up's curves after 300,000 steps; they are means over ten seeds.
SPINNING_UP = {
    "ddpg": {"HalfCheetah-v4": 7838, "Hopper-v4": 1443, "Walker2d-v4": 470, "Swimmer-v4": 75},
    "sac": {"HalfCheetah-v4": 9163, "Hopper-v4": 2887, "Walker2d-v4": 2958, "Swimmer-v4": 41},
}
TUNING = ["HalfCheetah-v4", "Hopper-v4"]


def main(arguments=None):
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=HERE / "data")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--figure", type=Path, default=FIGURE)
    options = parser.parse_args(arguments)
    from figure import draw

    options.figure.write_bytes(draw(load(options.data)))
    options.page.write_text(page(options.data))
    return 0


def page(data):
    """The text of `docs/results.md`."""
    panels = load(data)
    book = Book(panels)
    found, matched = claims(book), controls(book)
    book.correct()
    pooled, of, whole = primary(panels)
    templates = jinja2.Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    return templates.from_string(TEMPLATE.read_text()).render(
        primary=difference(pooled),
        primary_of=", ".join(panel.title for panel in of),
        primary_is_whole=whole,
        claims=grid(
            ["", "claim", "verdict", "gain in percent of what it is compared to"], map(claim, found)
        ),
        controls=grid(
            ["panel", "comparison", "gain in percent, 95 % interval"],
            ([one.where, one.what, difference(one.found, one.p)] for one in matched),
        ),
        anchors=grid(
            ["", "environment", "ours", "ours, settings of SB3", "SB3", "Spinning Up"],
            anchors(panels),
        ),
        seeds=grid(["panel", "seeds there are", "planned"], seeds(panels)),
        tuning=grid(["run", *TUNING, "mean in units of the default", "seeds"], tuning(data)),
        correlation=correlation(data),
        diverged=diverged(panels),
        numbers=[
            text
            for family in (*FAMILIES, *BEYOND)
            for text in numbers([*panels, *load(data, BEYOND)], family)
        ],
    )


def grid(heads, rows):
    """A table in Markdown; a line in its place if it has no row."""
    rows = [heads, ["---"] * len(heads), *rows]
    if len(rows) == 2:
        return "Not run yet."
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


def difference(found, p=None):
    """A gain in percent, with its interval."""
    if found is None:
        return "not run yet"
    mean = f"{100 * found.mean:+.0f}"
    if found.low is None:
        return f"{mean} ({found.why})"
    corrected = "" if p is None else f", p = {p:.2g}"
    return f"{mean} [{100 * found.low:.0f}, {100 * found.high:.0f}]{corrected}".replace(
        "-", "\N{MINUS SIGN}"
    )


def claim(one):
    """A row of the table of claims."""
    known = [part for part in one.parts if part.of.found is not None]
    parts = [
        f"{part.of.where}, {part.of.what}: {difference(part.of.found, part.of.p)}, {part.verdict}"
        for part in known
    ]
    missing = len(one.parts) - len(known)
    if missing:
        parts.append(f"{missing} of {len(one.parts)} comparisons not run yet")
    return [one.number, one.words, f"**{one.verdict}**", "<br>".join(parts)]


def anchors(panels):
    """Mean returns at the end, beside those of others."""
    for panel in panels:
        name = panel.family.grid
        if name not in SPINNING_UP:
            continue
        points = panel.points
        last = points[points["step"] == points["step"].max()].groupby("run")["return"]
        cells = [
            f"{number(mean)} ({int(count)} seeds)" if count else "not run yet"
            for mean, count in (
                (last.mean().get(run, np.nan), last.count().get(run, 0))
                for run in (name, f"{name}-as-sb3", f"sb3-{name}")
            )
        ]
        yield [name.upper(), panel.env, *cells, f"{SPINNING_UP[name][panel.env]:,}"]


def seeds(panels):
    """How far each panel is."""
    for panel in panels:
        done = panel.runs.groupby("run").size()
        runs = (f"{run} {done.get(run, 0)}" for run in panel.family.labels)
        yield [panel.title, ", ".join(runs), panel.family.seeds]


def diverged(panels):
    """The runs that keep their last return to the end."""
    return [
        f"{panel.title} {row.run} seed {row.seed}"
        for panel in panels
        for row in panel.runs.itertuples()
        if row.status == "failed"
    ]


def tuning(data):
    """Scores by setting, in units of the default of the same algorithm."""
    means, counts = {}, {}
    for env in TUNING:
        for row in table(data, "tuning", env).to_dict("records"):
            key = row["run"], env
            counts.setdefault(key, []).append(float(np.nanmean(row["evaluation"])))
    for (run, env), values in counts.items():
        means.setdefault(run, {})[env] = np.mean(values)
    for run, of in means.items():
        default = means.get(f"{run.split('-')[0]}-actor=1-batch=100", {})
        units = [of[env] / default[env] for env in TUNING if env in of and env in default]
        yield [
            run,
            *(number(of[env]) if env in of else "not run yet" for env in TUNING),
            f"{np.mean(units):.2f}" if len(units) == len(TUNING) else "not run yet",
            max(len(counts[run, env]) for env in of),
        ]


def correlation(data):
    """Of baseline and form with the same seed, within the cells of tuning; none without them."""
    pairs = []
    for env in TUNING:
        runs = table(data, "tuning", env)
        if runs.empty:
            return None
        scores = runs.assign(score=runs["evaluation"].map(np.nanmean)).pivot(
            index="seed", columns="run", values="score"
        )
        for off in [
            run
            for run in scores
            if run.startswith("off-") and run.replace("off", "on", 1) in scores
        ]:
            both = scores[[off, off.replace("off", "on", 1)]].dropna()
            pairs += (both - both.mean()).to_numpy().tolist() if len(both) > 1 else []
    x, y = np.array(pairs).T if pairs else (np.array([]), np.array([]))
    scale = np.sqrt(np.sum(x * x) * np.sum(y * y))
    return f"{np.sum(x * y) / scale:.2f}" if scale > 0 else None


def numbers(panels, family):
    """All of a family's runs, as `stac-bench report` shows them."""
    some = [panel for panel in panels if panel.family is family and len(panel.points)]
    if not some:
        return
    # Nothing is compared here: that is judged above, with one correction for all.
    summary = summarise(as_report(some), None)
    for one in tables(summary):
        if one.name in ("returns", "reliability", "game") and not one.is_empty:
            rows = ([f"{cell.text} {cell.interval}".strip() for cell in row] for row in one.rows)
            text = grid(one.heads, rows)
            yield f"### {family.grid.upper()}: {one.title.lower()}\n\n{one.note}\n\n{text}".replace(
                "\n\n\n\n", "\n\n"
            )


def as_report(panels):
    """What `stac-bench report` would read from the folders of these runs."""
    points = pd.concat([panel.points for panel in panels])
    known = points.assign(harness="", folder="", returns=[[value] for value in points["return"]])
    facts = pd.concat([panel.runs for panel in panels])
    for column, tag in GAME.items():
        # The second half of training.
        halves = facts[tag] if tag in facts else pd.Series(np.nan, facts.index)
        facts[column] = [_late(values) for values in halves]
    facts = facts.assign(folder="", compared=True)
    for column in FACTS:
        if column not in facts:
            facts[column] = ""
    return Runs(known[EVALUATIONS], facts[RUNS])


def _late(values):
    late = np.asarray(values, np.float64)[len(values) // 2 :] if np.ndim(values) else np.array([])
    return float(np.nanmean(late)) if np.any(~np.isnan(late)) else float("nan")


if __name__ == "__main__":
    sys.exit(main())
