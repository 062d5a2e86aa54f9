"""`python -m stac_bench.report`: a page that stands alone, and files for a paper."""

import os
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from run_folders import ours

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
def report(python, folder):
    """Its report's folder."""
    words = [python, "-m", "stac_bench.report", folder, "--baseline", "base"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Point-v0" in done.stdout
    return folder / "report"


def test_the_page_asks_the_network_for_nothing(report):
    page = (report / "report.html").read_text()
    assert not re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=.?https?:", page)


def test_names_that_are_code_show_as_text(report):
    page = (report / "report.html").read_text()
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_pictures_of_the_markdown_are_there(report):
    links = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", (report / "report.md").read_text())
    assert links
    assert all((report / link).stat().st_size > 1000 for link in links)
    assert {path.suffix for path in (report / "figures").iterdir()} == {".png", ".svg"}


def test_latex_tables_escape_names(report):
    text = "".join(path.read_text() for path in (report / "tables").glob("*.tex"))
    assert r"\_50\%" in text
    assert "toprule" in text


def test_raw_evaluations_come_back_from_parquet(report):
    table = pd.read_parquet(report / "runs.parquet")
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


@pytest.mark.skipif(not shutil.which("chromium"), reason="Chromium is not here")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_browser_draws_every_figure_at_a_phones_width(report, theme):
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with webdriver.Chrome(options, service) as browser:
        scheme = {"features": [{"name": "prefers-color-scheme", "value": theme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
        size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get((report / "report.html").as_uri())
        browser.implicitly_wait(10)
        browser.find_element("css selector", "figure svg, figure canvas")
        figures = browser.find_elements("tag name", "figure")
        assert len(figures) >= 4
        for figure in figures:
            drawn = figure.find_element("css selector", "svg, canvas")
            assert drawn.size["height"] > 50
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
        assert not [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
        shade = browser.execute_script(
            "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g)[0]"
        )
        assert (int(shade) < 128) == (theme == "dark")
