"""A pytest plugin: Stable-Baselines3's own tests meet our classes under its names.

pytest -p sb3_substitution tests/test_run.py …
"""

import stable_baselines3 as sb3
import stac_bench

# Parametrised tests are named after the class, and so are TensorBoard's folders.
A2C = type("A2C", (stac_bench.AC,), {})
sb3.A2C, sb3.DDPG, sb3.SAC, sb3.TD3 = A2C, stac_bench.DDPG, stac_bench.SAC, stac_bench.TD3
