"""`python -m stac_bench.zoo train|enjoy|…`: RL Zoo's scripts, with our algorithms."""

import runpy
import sys

import rl_zoo3.cli

import stac_bench.zoo  # noqa: F401

#: Scripts that RL Zoo's own command does not have.
MODULES = ("record_video", "record_training")
SCRIPTS = ("train", "enjoy", *MODULES, "plot_train", "plot_from_file", "all_plots")

if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(f"usage: python -m stac_bench.zoo {'|'.join(SCRIPTS)}")
    if sys.argv[1] in MODULES:
        runpy.run_module(f"rl_zoo3.{sys.argv.pop(1)}", run_name="__main__", alter_sys=True)
    else:
        rl_zoo3.cli.main()  # type: ignore[no-untyped-call]  # RL Zoo declares nothing
