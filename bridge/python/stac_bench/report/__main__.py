"""Statistics of run folders, as a page, pictures and tables."""

import argparse
import sys
from pathlib import Path

from stac_bench.report import NoRuns, UnknownBaseline, needs, read, summarise


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="stac-bench report", description=__doc__)
    parser.add_argument("folders", metavar="DIR", nargs="+", type=Path, help="holds run folders")
    parser.add_argument("--out", metavar="DIR", type=Path, help="default: report in the first DIR")
    parser.add_argument(
        "--baseline",
        metavar="NAME",
        help="the run that others are compared to; default: the only one of AC, DDPG, TD3 or SAC",
    )
    parser.add_argument(
        "--unfinished", action="store_true", help="compare runs that are not finished, too"
    )
    parser.add_argument(
        "--every-seed", action="store_true", help="show every seed's curve from the start"
    )
    parser.add_argument("--quiet", action="store_true", help="print nothing but errors")
    options = parser.parse_args(arguments)
    try:
        from stac_bench.report.files import write
    except ModuleNotFoundError as error:
        return _error(needs(error), 1)
    out = options.out or options.folders[0] / "report"
    try:
        runs = read(options.folders, options.unfinished)
        summary = summarise(runs, options.baseline)
        path = write(runs, summary, out, options.every_seed)
    except NoRuns as error:
        return _error(str(error), 1)
    except UnknownBaseline as error:
        return _error(str(error), 2)
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
