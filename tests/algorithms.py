"""What there is, for tests of what holds for all of it."""

import stac_bench
from stac_bench import _native
from stac_bench.agent import LeaderMixin, RustAgent
from stac_bench.off_policy import RustOffPolicy

#: The classes, and those of them with a leader that learn from transitions.
_EXPORTED = [getattr(stac_bench, name) for name in stac_bench.__all__]
CLASSES = [kind for kind in _EXPORTED if isinstance(kind, type) and issubclass(kind, RustAgent)]
OFF_POLICY = [kind for kind in CLASSES if issubclass(kind, RustOffPolicy)]
LED_OFF_POLICY = [kind for kind in OFF_POLICY if issubclass(kind, LeaderMixin)]

#: The names on the command line, and those of algorithms that learn from transitions.
NAMES = _native.algorithms()
_OFF_POLICY_FORMS = {name for kind in OFF_POLICY for name in kind.forms.values()}
OFF_POLICY_NAMES = [name for name in NAMES if name in _OFF_POLICY_FORMS]

#: The names of baselines, which RL Zoo has under another name.
BASELINES = {kind.forms[None] for kind in CLASSES if None in kind.forms}
ZOO_NAMES = {name: f"{name}-rs" if name in BASELINES else name for name in NAMES}

#: The settings of a run, which are not the algorithm's.
RUN = {
    "n_timesteps",
    "n_envs",
    "eval_freq",
    "eval_episodes",
    "eval_max_steps",
    "log_freq",
    "env_kwargs",
}
