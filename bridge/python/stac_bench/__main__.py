"""`python -m stac_bench`, and the console script `stac-bench`."""

import sys


def main() -> int:
    """Runs the command line; returns its exit status."""
    from stac_bench import _native

    return _native.main(["stac-bench", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
