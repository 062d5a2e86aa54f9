"""`python -m stac_bench.zoo train|enjoy|…`: RL Zoo's scripts, with our algorithms."""

import sys

import rl_zoo3.cli

import stac_bench.zoo  # noqa: F401

if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit("usage: python -m stac_bench.zoo train|enjoy|plot_train|plot_from_file|all_plots")
    rl_zoo3.cli.main()  # type: ignore[no-untyped-call]  # RL Zoo declares nothing
