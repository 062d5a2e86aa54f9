"""Pictures of a report's page in headless Chromium, light and dark, at a laptop's width.

    PYTHONPATH=bridge/python python benchmarks/report_picture.py runs/hopper --baseline ddpg

Writes `report-light.png` and `report-dark.png` into docs, or where `--out` says.
"""

import argparse
import base64
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.support.ui import WebDriverWait
from stac_bench.report.__main__ import main as report

DOCS = Path(__file__).resolve().parent.parent / "docs"
LAPTOP = 1280


@contextmanager
def opened(page, theme, width, height=800, scale=1):
    """Headless Chromium that shows `page`, with all figures drawn."""
    options = webdriver.ChromeOptions()
    for flag in ("headless=new", "no-sandbox", "disable-dev-shm-usage", "hide-scrollbars"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    with webdriver.Chrome(options, service) as browser:
        asked = {"prefers-color-scheme": theme, "prefers-reduced-motion": "reduce"}
        media = {"features": [{"name": name, "value": value} for name, value in asked.items()]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
        size = {"width": width, "height": height, "deviceScaleFactor": scale}
        size["mobile"] = width < 600
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(Path(page).as_uri())
        drawn = "return document.body.dataset.drawn"
        WebDriverWait(browser, 60).until(lambda browser: browser.execute_script(drawn) == theme)
        yield browser


def picture(page, file, theme, width=LAPTOP, height=None):
    """The top `height` pixels of `page` as a PNG; all of it without a height."""
    with opened(page, theme, width, scale=2) as browser:
        height = height or browser.execute_script("return document.documentElement.scrollHeight")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        shot = {"format": "png", "captureBeyondViewport": True, "clip": clip}
        data = browser.execute_cdp_cmd("Page.captureScreenshot", shot)["data"]
    Path(file).write_bytes(base64.b64decode(data))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", help="they hold run folders")
    parser.add_argument("--baseline", help="that of the report")
    parser.add_argument("--height", type=int, help="pixels from the top; default: all")
    parser.add_argument("--width", type=int, default=LAPTOP)
    parser.add_argument("--out", type=Path, default=DOCS)
    options = parser.parse_args()
    named = ["--baseline", options.baseline] if options.baseline else []
    with tempfile.TemporaryDirectory() as folder:
        if status := report([*options.folders, "--out", folder, "--quiet", *named]):
            raise SystemExit(status)
        for theme in ("light", "dark"):
            file = options.out / f"report-{theme}.png"
            picture(Path(folder) / "report.html", file, theme, options.width, options.height)
            print(file)


if __name__ == "__main__":
    main()
