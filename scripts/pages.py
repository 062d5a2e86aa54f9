"""What `mkdocs` does for this site besides: pages from outside `docs/`, and formulas as MathML."""

import html
import posixpath
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parent.parent
#: Files of the repository outside `docs/`, and where they are on the site.
ELSEWHERE = {
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "benchmarks/RESULTS.md": "results.md",
    **{
        path.relative_to(ROOT).as_posix(): f"results/{path.name}"
        for path in sorted((ROOT / "benchmarks" / "results").iterdir())
    },
}
SOURCES = {page: file for file, page in ELSEWHERE.items()}
LINK = re.compile(r"\]\((?!\w+:|#)([^)#\s]+)")
CODE = re.compile(r"<code>[^<]*</code>")
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.+?)\\[)\]]</\1>', re.DOTALL)


def on_files(files, config):
    for file, page in ELSEWHERE.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / file)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Links are made for the repository; here they lead to the page, or to the file there."""
    own = page.file.src_uri
    folder = posixpath.dirname(SOURCES.get(own, f"docs/{own}"))

    def moved(link):
        path = posixpath.normpath(posixpath.join(folder, link[1]))
        if path in ELSEWHERE or path.startswith("docs/"):
            place = ELSEWHERE.get(path, path.removeprefix("docs/"))
            return f"]({posixpath.relpath(place, posixpath.dirname(own) or '.')}"
        if (ROOT / path).exists():
            return f"]({config.extra['repository']}/blob/main/{path}"
        return link[0]

    return LINK.sub(moved, markdown)


def on_page_content(content, page, config, files):
    """Browsers draw MathML by themselves: no script, and no font from elsewhere.

    In code within a table, a pipe is escaped for the repository's reader; here it is not.
    """

    def mathml(formula):
        display = "block" if formula[1] == "div" else "inline"
        drawn = convert(html.unescape(formula[2]), display=display)
        return f'<div class="formula">{drawn}</div>' if display == "block" else drawn

    content = CODE.sub(lambda code: code[0].replace("\\|", "|"), content)
    return FORMULA.sub(mathml, content)
