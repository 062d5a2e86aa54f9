"""`stac-bench report DIR...`: statistics of run folders, as a page, pictures and tables."""

from __future__ import annotations

import argparse
import difflib
import sys
from importlib import import_module
from pathlib import Path

#: What it needs beyond the package's own dependencies: the module, and the package that has it.
_NEEDED = {
    **{name: name for name in ("numpy", "pandas", "scipy", "pyarrow", "jinja2", "altair")},
    "vl_convert": "vl-convert-python",
}


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="stac-bench report", description=__doc__)
    parser.add_argument("folders", metavar="DIR", nargs="+", type=Path, help="holds run folders")
    parser.add_argument("--out", metavar="DIR", type=Path, help="default: report in the first DIR")
    parser.add_argument("--baseline", metavar="NAME", help="the run that others are compared to")
    parser.add_argument(
        "--every-seed", action="store_true", help="show every seed's curve from the start"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    try:
        options = parser.parse_args(arguments)
    except SystemExit as end:  # 0 after --help, 2 after wrong arguments
        return int(end.code or 0)
    for module, package in _NEEDED.items():
        try:
            import_module(module)
        except ModuleNotFoundError:
            needs = f"`stac-bench report` needs {package}: pip install 'stac-bench[report]'"
            return _error(needs, 1)
    return _report(options)


def _report(options: argparse.Namespace) -> int:
    from stac_bench.report.files import write
    from stac_bench.report.runs import NoRuns, read
    from stac_bench.report.summary import summarise

    try:
        runs = read(options.folders)
    except NoRuns as error:
        return _error(str(error), 1)
    names = list(dict.fromkeys(map(str, runs.runs["run"])))
    if options.baseline is not None and options.baseline not in names:
        nearest = difflib.get_close_matches(options.baseline, names, n=len(names), cutoff=0.0)
        return _error(f"no run is named {options.baseline!r}; there are {', '.join(nearest)}", 2)
    summary = summarise(runs, options.baseline)
    out = options.out or options.folders[0] / "report"
    try:
        path = write(runs, summary, out, options.every_seed)
    except OSError as error:
        return _error(f"{out} cannot be written: {error}", 1)
    if not options.quiet:
        print(*summary.sentences, sep="\n")
        for problem in runs.problems:
            print(problem, file=sys.stderr)
        print(path)
    return 0


def _error(message: str, status: int) -> int:
    print(f"error: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
