"""The documentation: the site builds without a warning, and its pages keep what they promise."""

import re
import shutil
import subprocess
from collections import Counter
from html.parser import HTMLParser

import pytest
import yaml
from conftest import ROOT
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site(python, tmp_path_factory):
    """The folder of the site; each link, anchor and page that leads nowhere is an error."""
    folder = tmp_path_factory.mktemp("site")
    build = [python, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", folder]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class Page(HTMLParser):
    """What a page asks for, its text outside code, and what it is made of."""

    def __init__(self, file):
        super().__init__()
        self.asks, self.text, self.tags, self.code = [], "", Counter(), 0
        self.feed(file.read_text())

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        self.code += tag in ("code", "script", "style")
        attributes = dict(attributes)
        if tag in ("script", "img") and "src" in attributes:
            self.asks.append(attributes["src"])
        if tag == "link" and attributes["rel"] in ("stylesheet", "icon", "preconnect"):
            self.asks.append(attributes["href"])

    def handle_endtag(self, tag):
        self.code -= tag in ("code", "script", "style")

    def handle_data(self, data):
        if not self.code:
            self.text += data


@pytest.fixture(scope="module")
def pages(site):
    """Every page of it, by its name."""
    files = [file for file in site.rglob("*.html") if file.name != "404.html"]
    return {file.relative_to(site).as_posix(): (file, Page(file)) for file in files}


def test_every_page_of_the_folder_and_four_from_elsewhere_are_there(pages):
    names = {path.stem for path in DOCS.glob("*.md")} | {"results", "changelog", "security"}
    names |= {"contributing"}
    assert set(pages) == {"index.html", *(f"{name}/index.html" for name in names)}


def test_a_page_asks_other_servers_for_nothing(pages):
    asked = [(name, place) for name, (_, page) in pages.items() for place in page.asks]
    assert not [(name, place) for name, place in asked if re.match(r"\w+:|//", place)]


def test_every_picture_is_there(pages):
    for name, (file, page) in pages.items():
        assert page.asks
        assert not [place for place in page.asks if not (file.parent / place).is_file()], name


def test_lists_tables_and_formulas_are_not_left_as_text(pages):
    for name, (file, page) in pages.items():
        assert "\\|" not in file.read_text(), name
        left = re.findall(r"^(?:[-*] |\||```|#+ |\$|\\\[).*$", page.text, re.MULTILINE)
        assert not left, (name, left)


def test_formulas_are_mathml(pages):
    for name in ("stddpg", "sttd3", "stsac"):
        assert pages[f"{name}/index.html"][1].tags["math"] > 5, name


def test_the_readme_is_short_and_shows_how_to_start():
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    lines = text.splitlines()
    for line in ("stac-bench --env Walker2d-v4 --algo stddpg-al", "make train", "make test"):
        assert any(it == line or it.startswith(f"{line} ") for it in lines), line
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert len(pictures) == 2 and all((ROOT / file).is_file() for file in pictures)


def test_the_readme_and_the_citation_file_name_the_same_paper():
    paper = yaml.safe_load((ROOT / "CITATION.cff").read_text())["preferred-citation"]
    text = (ROOT / "README.md").read_text()
    names = [f"{it['family-names']}, {it['given-names']}" for it in paper["authors"]]
    pages = f"{paper['start']}--{paper['end']}"
    values = (paper[key] for key in ("title", "collection-title", "doi", "volume", "issue", "year"))
    for value in [" and ".join(names), pages, *map(str, values)]:
        assert f"{{{value}}}" in text, value


def test_every_algorithm_is_in_the_readme_and_in_the_overview(stac_bench, tmp_path):
    names = [line.split()[0] for line in stac_bench(tmp_path, "algos").stdout.splitlines()]
    assert len(names) > 10
    for file in (ROOT / "README.md", DOCS / "algorithms.md"):
        text = file.read_text()
        assert all(f"`{name}`" in text for name in names), file


def test_every_option_of_training_is_on_the_page_of_the_command_line(stac_bench, tmp_path):
    page = (DOCS / "command-line.md").read_text()
    text, examples, _ = stac_bench(tmp_path, "train", "--help").stdout.partition("Examples:")
    options = set(re.findall(r"--[a-z][a-z-]+", text)) - {"--help", "--verbose"}
    assert examples and len(options) > 15
    assert not [option for option in options if option not in page]


SHOWN = re.compile(r'^```\w+ title="([^"]+)"\n(.+?)^```$', re.MULTILINE | re.DOTALL)


def test_code_that_is_shown_with_a_file_is_the_code_in_that_file():
    shown = SHOWN.findall((DOCS / "extending.md").read_text())
    assert len(shown) > 5
    for file, code in shown:
        text = (ROOT / file).read_text()
        assert all(part in text for part in code.split("// ...\n")), (file, code)


def test_a_link_that_leads_nowhere_is_an_error(python, tmp_path):
    copy = tmp_path / "repository"
    ignored = shutil.ignore_patterns(".git", ".venv*", "target", "runs", "dist", "site")
    shutil.copytree(ROOT, copy, ignore=ignored)
    page = copy / "docs" / "faq.md"
    for link in ("missing.md", "metrics.md#no-such-place", "../no-such-file.rs"):
        page.write_text(f"# Questions\n\n[it]({link})\n")
        build = [python, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"]
        done = subprocess.run(build, cwd=copy, capture_output=True, text=True, timeout=300)
        assert done.returncode == 1 and link in done.stderr, done.stderr


def tags_on(page):
    """The tags in the first column of its tables."""
    rows = re.findall(r"^\| (`[^|]+) \|", page.read_text(), re.MULTILINE)
    return {tag for row in rows for tag in re.findall(r"`([a-z]+/[a-z_]+)`", row)}


RUNS = [
    ("stac", "CartPole-v1"),
    ("ac", "Pendulum-v1"),
    ("ddpg", "Pendulum-v1"),
    ("stddpg-al", "Pendulum-v1"),
    ("sttd3-cl", "Pendulum-v1"),
    ("stddpg-cl", "Pendulum-v1", "--set", "solver=woodbury"),
    ("stsac-al", "Pendulum-v1", "--set", "ent_coef=auto", "--set", "eval_max_steps=50"),
]


def test_every_tag_that_a_run_writes_is_explained_and_every_tag_explained_is_written(
    train, tmp_path
):
    written = set()
    for algo, env, *options in RUNS:
        run = train(tmp_path, algo, env, *options)
        events = EventAccumulator(str(run)).Reload()
        written |= set(events.Tags()["scalars"])
        written |= set((run / "progress.csv").read_text().splitlines()[0].split(","))
    assert written == tags_on(DOCS / "metrics.md")
