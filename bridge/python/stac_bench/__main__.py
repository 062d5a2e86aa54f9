"""`python -m stac_bench`, and the console script `stac-bench`."""

import sys


def main() -> int:
    """Runs the command line; returns its exit status."""
    from stac_bench import _native

    try:
        return _native.main(["stac-bench", *sys.argv[1:]])
    except KeyboardInterrupt:
        # Python tells of a Ctrl-C that the command line has answered already.
        return 130


if __name__ == "__main__":
    sys.exit(main())
