"""`stac-bench report`: a page that stands alone, and files for a paper."""

import os
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
import report_picture
from conftest import need
from run_folders import ours
from stac_bench import report
from stac_bench.report import files
from stac_bench.report.figures import figures
from stac_bench.report.page import page
from stac_bench.report.tables import tables

HOSTILE = "a<script>alert(1)</script>_50%"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two labels, two environments and three seeds."""
    folder = tmp_path_factory.mktemp("runs")
    for label, gain in (("base", 0), (HOSTILE.replace("/", "-"), 20)):
        for env in ("Point-v0", "Line-v0"):
            for seed in range(3):
                ours(folder / label, seed, env=env, steps=(100, 200, 300, 400), add=gain * seed)
    return folder


@pytest.fixture(scope="module")
def made(stac_bench, folder):
    """Its report's folder."""
    done = stac_bench(folder, "report", folder, "--baseline", "base")
    assert done.returncode == 0, done.stderr
    assert "Point-v0" in done.stdout
    return folder / "report"


def test_the_command_line_ends_as_the_report_does(stac_bench, folder, tmp_path):
    done = stac_bench(tmp_path, "report", folder, "--baseline", "bass", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "no run is named 'bass'" in done.stderr and "base" in done.stderr
    done = stac_bench(tmp_path, "report", tmp_path)
    assert done.returncode == 1
    assert not list(tmp_path.iterdir())


def test_the_page_asks_the_network_for_nothing(made):
    page = (made / "report.html").read_text()
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=.?https?:", page)


def test_names_that_are_code_show_as_text(made):
    page = (made / "report.html").read_text()
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_pictures_of_the_markdown_are_there(made):
    links = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (made / "report.md").read_text())
    assert links
    assert all((made / link).stat().st_size > 1000 for link in links)
    assert {path.suffix for path in (made / "figures").iterdir()} == {".png", ".svg"}


def test_latex_tables_escape_names(made):
    text = "".join(path.read_text() for path in (made / "tables").glob("*.tex"))
    assert r"\_50\%" in text
    assert "toprule" in text


def test_raw_evaluations_come_back_from_parquet(made):
    table = pd.read_parquet(made / "runs.parquet")
    assert len(table) == 2 * 2 * 3 * 4
    assert np.allclose(table["return"], [np.mean(one) for one in table["returns"]])


def test_an_unknown_baseline_names_the_nearest(python, folder):
    words = [python, "-m", "stac_bench.report", folder, "--baseline", "bose"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "'bose'" in done.stderr and "base" in done.stderr


def test_a_folder_without_runs_is_one_message(python, tmp_path):
    words = [python, "-m", "stac_bench.report", tmp_path]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("package", ["scipy", "altair"])
def test_a_missing_package_is_named_with_what_brings_it(python, folder, tmp_path, package):
    code = f"raise ModuleNotFoundError('hidden', name={package!r})"
    (tmp_path / f"{package}.py").write_text(code)
    done = subprocess.run(
        [python, "-m", "stac_bench.report", folder],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert f"needs {package}: pip install 'stac-bench[report]'" in last


def test_a_baseline_of_its_own_and_unfinished_runs_are_said_on_page_and_terminal(python, tmp_path):
    for seed in range(2):
        ours(tmp_path / "plain", seed)
        status = "running" if seed else "done"
        ours(tmp_path / "lead", seed, algo="stddpg-al", status=status, steps=(100, 200))
    words = [python, "-m", "stac_bench.report", tmp_path]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    kept = subprocess.run([*words, "--unfinished"], capture_output=True, text=True, check=True)
    named = "lead on Hopper-v4 with seed 1 (running, or killed, at step 200)"
    assert "Others are compared to plain, the only one" in done.stdout
    assert "Not finished, left out (--unfinished" in done.stdout and named in done.stdout
    assert "Not finished, but compared: " + named in kept.stdout
    # The page is that of the last.
    assert "Not finished, but compared: " + named in (tmp_path / "report/report.html").read_text()
    written = pd.read_parquet(tmp_path / "report" / "runs.parquet")
    assert len(written) == 2 * 3 + 2 * 2


@pytest.mark.parametrize(
    "labels, envs, seeds", [(1, 1, 1), (1, 2, 3), (2, 1, 1), (2, 2, 1), (2, 1, 3)]
)
def test_words_claim_only_what_figures_and_tables_show(tmp_path, labels, envs, seeds):
    for label in ("plain", "lead")[:labels]:
        for env in ("Point-v0", "Line-v0")[:envs]:
            for seed in range(seeds):
                ours(tmp_path / label, seed, env=env, algo="ddpg" if label == "plain" else "stac")
    runs = report.read([tmp_path])
    summary = report.summarise(runs, None)
    made = {figure.name: figure for figure in figures(summary)}
    together = labels > 1 and envs > 1
    expected = {"curves", "seeds", "time", "game"}
    expected |= {"difference"} if labels > 1 else set()
    expected |= {"over_all", "profiles"} if together else set()
    assert set(made) == expected
    shown = {table.name: table for table in tables(summary) if not table.is_empty}
    assert ("over_all" in shown, "difference" in shown) == (together, labels > 1)
    for name in expected - {"seeds", "time", "game"}:
        assert ("95 % interval" in made[name].caption) == (seeds > 1), name
    for table in shown.values():
        cells = [cell for row in table.rows for cell in row]
        assert ("In brackets" in table.note) == any(cell.interval for cell in cells)
    # All seeds differ by the same amount: no power is known.
    assert not any("80 % power" in table.note for table in shown.values())
    text = page(runs, summary, list(made.values()), list(shown.values()))
    assert ("baseline plain" in text) == (labels > 1)


def test_without_a_leader_there_is_no_figure_of_the_game(tmp_path):
    run = ours(tmp_path)
    text = (run / "progress.csv").read_text().replace("game/cosine", "game/policy_saturation")
    (run / "progress.csv").write_text(text)
    summary = report.summarise(report.read([tmp_path]), None)
    assert "game" not in {figure.name for figure in figures(summary)}
    assert summary.per_env["saturation"].tolist() == [0.5]


@pytest.fixture
def browser():
    """Chromium is here."""
    need("the browser", [] if shutil.which("chromedriver") else ["chromedriver"])


@pytest.mark.usefixtures("browser")
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, report_picture.LAPTOP])
def test_a_browser_draws_every_figure_and_nothing_is_wider_than_the_screen(made, theme, width):
    with report_picture.opened(made / "report.html", theme, width) as browser:
        figures = browser.find_elements("tag name", "figure")
        assert len(figures) >= 4
        for figure in figures:
            drawn = figure.find_element("css selector", "svg")
            assert drawn.size["height"] > 50
        for details in browser.find_elements("tag name", "details"):
            browser.execute_script("arguments[0].open = true", details)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        assert not [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
        shade = browser.execute_script(
            "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g)[0]"
        )
        assert (int(shade) < 128) == (theme == "dark")


@pytest.mark.usefixtures("browser")
def test_a_click_on_a_head_sorts_its_table(tmp_path):
    # Seeds 3, 1 and 2; the means of the last are 302.5, 1,301 and 251.5 - as text 1,301 came first.
    for label, seeds, add in (("two", 3, 0), ("ten", 1, 1000), ("One", 2, -50)):
        for seed in range(seeds):
            ours(tmp_path / label, seed, add=add, algo="ddpg" if label == "two" else "stddpg-al")
    runs = report.read([tmp_path])
    path = files.write(runs, report.summarise(runs, None), tmp_path / "report")
    with report_picture.opened(path, "light", report_picture.LAPTOP) as browser:

        def click(table, head):
            """The runs in order after a click, and how that head says it is sorted."""
            heads = browser.find_elements("css selector", f"#table-{table} th")
            (found,) = [one for one in heads if one.text.split("\N{NO-BREAK SPACE}")[0] == head]
            found.find_element("tag name", "button").click()
            rows = browser.find_elements("css selector", f"#table-{table} tbody tr")
            names = [row.find_elements("tag name", "td")[1].text for row in rows]
            return names, found.get_attribute("aria-sort")

        assert click("returns", "Mean of the last") == (["One", "two", "ten"], "ascending")
        assert click("returns", "Mean of the last") == (["ten", "two", "One"], "descending")
        assert click("returns", "Seeds") == (["ten", "One", "two"], "ascending")
        assert click("returns", "Run") == (["One", "ten", "two"], "ascending")
        sorted_heads = browser.find_elements("css selector", "#table-returns th[aria-sort]")
        assert len(sorted_heads) == 1
        # One seed has no p value: its row stays last both ways.
        for _ in range(2):
            assert click("difference", "Pairs of seeds")[0][-1] in ("ten", "One")
            assert click("reliability", "Dispersion over runs")[0][-1] == "ten"
