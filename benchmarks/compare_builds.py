"""Compares two builds of the program: do they compute the same, and how fast is each?

    .venv/bin/python benchmarks/compare_builds.py same OLD NEW             # default settings
    .venv/bin/python benchmarks/compare_builds.py same OLD NEW --variants  # and many others
    .venv/bin/python benchmarks/compare_builds.py same OLD NEW --only ddpg --set-new tau=0.01
    .venv/bin/python benchmarks/compare_builds.py speed OLD NEW --rounds 20 --json speed.json

OLD and NEW are two files like `target/release/stac-bench`. `same` trains both with every algorithm
and engine that OLD has, and compares models, evaluations and `progress.csv` bit for bit; it ends
with 1 if a case differs. A case that fails or learns nothing in both differs: it compared nothing.
One that both refuse (exit status 2) does not.
`speed` trains both in turn on one core and gives the ratio of their seconds, NEW's over OLD's.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cases
import numpy as np
import pandas as pd
from safetensors.numpy import load_file
from scipy import stats

ON_POLICY = ("ac", "stac")
REFUSED = 2  # exit status of a wrong command or configuration
LEARNING_STARTS = 500  # off policy, the first round of updates comes at this step
SPEED_ENV = "Hopper-v4"
SPEED_LOG_FREQ = {True: 500, False: 50}  # on policy, off policy: a row after each update or round
LIMIT = 1.03  # how much slower is still as fast

# Variants are settings, several with a space between; `threads` is an option.
VARIANT_STEPS = 400
SMALL = "policy_kwargs.net_arch=[32,32] batch_size=64 random_steps=200 learning_starts=199"
SMALL_ON_POLICY = "policy_kwargs.net_arch=[16,16] n_steps=50"
SOLVERS = [
    "solver=cg",
    "solver=neumann",
    "solver=nystrom",
    "solver=cg warm_start=true",
    "solver=cg independent_minibatches=true",
]
DENSE = "solver=dense policy_kwargs.net_arch=[8,8]"
# Little damping, so that the bound is met, and the curvature is not positive at times.
LED = ["lam_decay=adaptive solver=cg lam=1", "norm_ratio_clamp=0.5 lam=0.01"]
OFF_POLICY = ["unroll=2", "optimizer=sgd", "n_envs=2", "threads=2"]
SAC = ["ent_coef=auto", "use_sde=true", "target_update_interval=2"]
ACTOR_CRITIC = [
    "critic_steps=3",
    "critic=q",
    "use_sde=true",
    "optimizer=adam learning_rate=0.01",
    "normalize_advantage=false ent_coef=0.01",
    "n_envs=2",
    "threads=2",
]
AC = ["step_match=true", "step_match=true critic=q", "step_match=true surrogate=reference"]
STAC = ["surrogate=reference", "solver=woodbury lam=1", "curvature=hessian lam=100"]


@dataclass(frozen=True)
class Case:
    """One training run, made by both builds; `settings` are `key=value`, later ones count."""

    algo: str
    engine: str
    env: str
    variant: str
    steps: int
    settings: tuple[str, ...]

    @property
    def name(self):
        return f"{self.algo}, {self.engine}, {self.env}, {self.variant or 'default'}"


def options(settings):
    """The words of the command line for `key=value` settings."""
    words = []
    for setting in settings:
        threads = setting.startswith("threads=")
        words += ["--threads", setting.partition("=")[2]] if threads else ["--set", setting]
    return words


def train(binary, algo, env, words, out, prefix=()):
    """Runs `binary` to its end, `prefix` in front of the command; returns the finished process."""
    command = [*prefix, binary, "--env", env, "--algo", algo, "--out", out, "--quiet", *words]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True)


def last_line(done):
    """What a finished process said last on standard error."""
    return (done.stderr.strip().splitlines() or ["no message"])[-1]


def algorithms(binary, only):
    """Names that `binary` lists, those of `only` if it names some."""
    done = subprocess.run([binary, "algos"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{binary} algos: {last_line(done)}")
    names = [line.split()[0] for line in done.stdout.splitlines() if line.strip()]
    wanted = only.split(",") if only else names
    if unknown := set(wanted) - set(names):
        sys.exit(f"{binary} has no {', '.join(sorted(unknown))}; it has {', '.join(names)}")
    return [name for name in names if name in wanted]


# Do both compute the same?


def engines(binary, algo, env):
    """The engines that `binary` has for `algo`: some algorithms refuse `fused`."""
    with tempfile.TemporaryDirectory() as out:
        done = train(binary, algo, env, ["--engine", "fused", "--steps", 1], out)
    refused = done.returncode == REFUSED and "engine" in done.stderr
    return ["autograd"] if refused else ["autograd", "fused"]


def variants(algo, engine):
    """Settings beyond the defaults that matter to the update rule of `algo`."""
    # Undamped, `neumann` does not converge; a leading critic has its damping from `base_settings`.
    damping = "" if algo.endswith("-cl") else " lam=100"
    solvers = [solver + damping for solver in SOLVERS]
    if algo in ON_POLICY:
        return ACTOR_CRITIC + (AC if algo == "ac" else [*solvers, DENSE + damping, *LED, *STAC])
    # The second thread is the fused engine's; libtorch's slows networks as small as these.
    common = [v for v in OFF_POLICY if v != "threads=2" or engine == "fused"]
    common += SAC if "sac" in algo else []
    if not algo.startswith("st"):
        common += ["target_policy=current"] if algo == "ddpg" else []
        return ["update_order=simultaneous", *common]
    # `dense` takes the longest: fewer updates.
    led = [*solvers, f"{DENSE} gradient_steps=5{damping}", *LED, "update_order=sequential"]
    led += ["solver=cg curvature=gauss_newton lam=1"] if algo.endswith("-al") else []
    return [*led, *common]


def base_settings(algo, steps, small):
    """Settings under which a run of `steps` makes many updates, some rows and two evaluations."""
    settings = [f"log_freq={max(steps // 6, 1)}", f"eval_freq={max(steps // 2, 1)}"]
    settings.append("eval_episodes=2")
    if small:
        settings += (SMALL_ON_POLICY if algo in ON_POLICY else SMALL).split()
        # At the default of 100, the term of a leading critic is too small for its weights to feel.
        return [*settings, "lam=1"] if algo.endswith("-cl") else settings
    if algo in ON_POLICY:
        return [*settings, "n_steps=500"]
    starts = [f"random_steps={LEARNING_STARTS}", f"learning_starts={LEARNING_STARTS - 1}"]
    return settings + starts


def cases_of(algo, arguments):
    """All cases of one algorithm."""
    envs = arguments.env or (["CartPole-v1"] if algo in ON_POLICY else []) + ["Hopper-v4"]
    for engine in engines(arguments.old, algo, envs[-1]):
        more = variants(algo, engine) if arguments.variants else []
        for env in envs:
            for variant in ["", *more]:
                steps = VARIANT_STEPS if variant else arguments.steps
                base = base_settings(algo, steps, small=bool(variant))
                settings = (*base, *variant.split(), *arguments.set)
                yield Case(algo, engine, env, variant, steps, settings)


def read_arrays(path):
    """The arrays of an npz file, by name."""
    with np.load(path) as arrays:
        return {name: arrays[name] for name in arrays.files}


def read_progress(path):
    """The columns of a `progress.csv` that are no times, by name."""
    table = pd.read_csv(path, float_precision="round_trip")
    return {name: table[name].to_numpy(float) for name in table if not name.startswith("time/")}


READERS = {
    "best_model/model.safetensors": load_file,
    "final_model/model.safetensors": load_file,
    "evaluations.npz": read_arrays,
    "progress.csv": read_progress,
}


def results(run, file):
    """The named arrays of one file in a run's folder; none if it is not there."""
    path = run / file
    return READERS[file](path) if path.exists() else {}


def apart(old, new):
    """The largest absolute difference of two arrays; `None` if they are equal bit for bit.

    It is infinite where their shapes or types differ, or one is finite where the other is not.
    """
    if (old.shape, old.dtype) != (new.shape, new.dtype):
        return math.inf
    if old.tobytes() == new.tobytes():
        return None
    finite = np.isfinite(old)
    if not np.array_equal(finite, np.isfinite(new)):
        return math.inf
    return float(np.abs(old[finite].astype(float) - new[finite].astype(float)).max(initial=0.0))


def in_words(file, found, total):
    """What to say of the arrays of `file` that differ: all by name, of a model the worst alone."""
    by = {name: "shape or finiteness" if math.isinf(d) else f"{d:.3g}" for name, d in found.items()}
    if not file.endswith("safetensors"):
        return f"{file}: {', '.join(f'{name} {how}' for name, how in by.items())}"
    worst = max(found, key=found.get)
    return f"{file}: {len(found)} of {total} tensors, most {worst} {by[worst]}"


def compare_file(file, old, new):
    """What differs between the arrays of one file, in words, and names that only one has."""
    common = [name for name in old if name in new]
    distances = {name: apart(old[name], new[name]) for name in common}
    found = {name: by for name, by in distances.items() if by is not None}
    differ = [in_words(file, found, len(common))] if found else []
    alone = sorted(old.keys() ^ new.keys())
    alone = [f"{name} only in {'old' if name in old else 'new'}" for name in alone]
    if file == "progress.csv":
        learned = any(name.startswith("train/") for name in common)
        return differ if learned else [f"{file}: no update in common"], alone
    if not common:
        return [f"{file}: nothing in common"], []
    return differ + [f"{file}: {one}" for one in alone], []


def compare(old, new):
    """What differs between two runs' folders; columns that only one has are a remark."""
    differ, remarks = [], []
    for file in READERS:
        changed, alone = compare_file(file, results(old, file), results(new, file))
        differ += changed
        remarks += alone
    remark = f" ({', '.join(remarks)})" if remarks else ""
    return ("; ".join(differ) or "same") + remark, bool(differ)


def unsuccessful(runs):
    """What to say, and whether it is a difference, where a run did not end well; else `None`."""
    refused = [name for name, done in runs.items() if done.returncode == REFUSED]
    failed = {name: done for name, done in runs.items() if done.returncode not in (0, REFUSED)}
    if failed:
        how = [f"{name} ({d.returncode}: {last_line(d)})" for name, d in failed.items()]
        return f"failed in {', '.join(how)}", True
    if len(refused) == 1:
        return f"refused by {refused[0]}: {last_line(runs[refused[0]])}", True
    return (f"refused by both: {last_line(runs['old'])}", False) if refused else None


def check(case, arguments):
    """Trains both builds; returns what there is to say and whether they differ."""
    builds = {"old": (arguments.old, ()), "new": (arguments.new, arguments.set_new)}
    with tempfile.TemporaryDirectory() as folder:
        runs, folders = {}, []
        for name, (binary, more) in builds.items():
            words = options((*case.settings, *more))
            words += ["--engine", case.engine, "--steps", case.steps]
            out = Path(folder) / name
            runs[name] = train(binary, case.algo, case.env, words, out)
            folders.append(out / case.algo / f"{case.env}_0")
        return unsuccessful(runs) or compare(*folders)


def same(arguments):
    """The command `same`; returns its exit status."""
    names = algorithms(arguments.old, arguments.only)
    all_cases = [case for algo in names for case in cases_of(algo, arguments)]
    differing, refused = 0, 0
    with ThreadPoolExecutor(arguments.jobs) as pool:
        checks = pool.map(lambda case: check(case, arguments), all_cases)
        for case, (message, differs) in zip(all_cases, checks, strict=True):
            differing += differs
            refused += message.startswith("refused by both")
            print(f"{case.name}: {message}", flush=True)
    if refused == len(all_cases):
        sys.exit("both refused every case: nothing was compared")
    print(f"{len(all_cases)} cases, {differing} differ")
    return int(differing > 0)


# How fast is each?


def version(binary):
    """The program's version and commit."""
    done = subprocess.run([binary, "--version"], capture_output=True, text=True)
    return (done.stdout.splitlines() or ["unknown"])[0]


def learning_seconds(run):
    """Seconds from the first row after learning starts to the last.

    The last row's time is taken before the evaluation at the end: that step is one to log at.
    """
    seconds = cases.window(cases.read_progress(run / "progress.csv"), LEARNING_STARTS)["seconds"]
    if not seconds:
        sys.exit("too few steps: there are no two rows after learning starts")
    return seconds


def time_one(binary, algo, seed, more, arguments):
    """Seconds of learning of one short run, bound to one core."""
    log_freq = SPEED_LOG_FREQ[algo in ON_POLICY]
    steps = arguments.steps or (20_000 if algo in ON_POLICY else 2_000)
    settings = [f"log_freq={log_freq}", f"eval_freq={cases.NEVER}", "eval_episodes=1"]
    if algo in ON_POLICY:
        settings.append("n_steps=500")
    else:
        settings += [f"random_steps={LEARNING_STARTS}", f"learning_starts={LEARNING_STARTS - 1}"]
    words = options((*settings, *arguments.set, *more))
    words += ["--seed", seed, "--steps", steps - steps % log_freq]
    with tempfile.TemporaryDirectory() as out:
        prefix = ["taskset", "-c", arguments.cpu]
        done = train(binary, algo, arguments.env, words, out, prefix)
        if done.returncode:
            sys.exit(f"{binary}, {algo}: it ended with {done.returncode}: {last_line(done)}")
        return learning_seconds(Path(out) / algo / f"{arguments.env}_{seed}")


def pairs(algo, arguments):
    """Seconds of both builds, round by round; who goes first alternates."""
    builds = {"old": (arguments.old, ()), "new": (arguments.new, arguments.set_new)}
    seconds = {"old": [], "new": []}
    for seed in range(arguments.rounds):
        for name in sorted(builds, reverse=seed % 2 == 0):
            binary, more = builds[name]
            seconds[name].append(time_one(binary, algo, seed, more, arguments))
    return seconds


def summary(seconds):
    """Median of the ratios, their geometric mean and its 95 % interval (t on their logarithms)."""
    logs = np.log(np.array(seconds["new"]) / np.array(seconds["old"]))
    middle = logs.mean()
    interval = stats.t.interval(0.95, len(logs) - 1, middle, stats.sem(logs))
    low, high = map(math.exp, interval)
    return {
        "median": float(np.exp(np.median(logs))),
        "mean": math.exp(middle),
        "interval": [low, high],
        "within": high <= LIMIT,
        "seconds": seconds,
    }


def sentence(algo, found):
    """One line for `speed` to print."""
    low, high = found["interval"]
    took = [float(np.median(found["seconds"][name])) for name in ("old", "new")]
    return (
        f"{algo}: median ratio {found['median']:.3f}, mean {found['mean']:.3f}, "
        f"95 % interval {low:.3f} to {high:.3f} (median seconds {took[0]:.2f} and {took[1]:.2f}); "
        f"upper end at most {LIMIT}: {'yes' if found['within'] else 'no'}"
    )


def speed(arguments):
    """The command `speed`; returns its exit status."""
    os.environ |= {f"{name}_NUM_THREADS": "1" for name in ("OMP", "MKL", "OPENBLAS")}
    data = {
        "processor": cases.cpu(),
        "rounds": arguments.rounds,
        "env": arguments.env,
        "set": arguments.set,
        "set_new": arguments.set_new,
        "old": version(arguments.old),
        "new": version(arguments.new),
        "load_before": os.getloadavg()[0],
        "algorithms": {},
    }
    print(f"old: {data['old']}; new: {data['new']}")
    print(f"{data['processor']}, core {arguments.cpu}, {arguments.rounds} rounds, {arguments.env}")
    for algo in algorithms(arguments.old, arguments.only):
        data["algorithms"][algo] = found = summary(pairs(algo, arguments))
        print(sentence(algo, found), flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(data, indent=1) + "\n")
    return 0


def binary(text):
    """An absolute path to a program."""
    path = Path(text).resolve()
    if not os.access(path, os.X_OK) or path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no program")
    return path


def at_least(least):
    """A type for argparse: whole numbers from `least` on."""

    def number(text):
        if int(text) < least:
            raise argparse.ArgumentTypeError(f"it must be at least {least}")
        return int(text)

    return number


def shared(parser):
    """Adds what both commands take."""
    several = {"nargs": "+", "action": "extend", "default": [], "metavar": "KEY=VALUE"}
    parser.add_argument("old", type=binary, metavar="OLD")
    parser.add_argument("new", type=binary, metavar="NEW")
    parser.add_argument("--only", metavar="NAME,NAME", help="these algorithms alone")
    parser.add_argument("--set", **several, help="settings of both")
    parser.add_argument("--set-new", **several, help="settings of NEW alone")
    parser.add_argument("--steps", type=at_least(1), metavar="N", help="environment steps of a run")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(required=True)

    command = commands.add_parser("same", help="do both compute the same?")
    shared(command)
    command.add_argument("--env", nargs="+", help="environments, instead of the usual ones")
    command.add_argument("--jobs", type=at_least(1), default=1, help="cases at a time")
    command.add_argument("--variants", action="store_true", help="other settings too, smaller runs")
    command.set_defaults(run=same, steps=3_000)

    command = commands.add_parser("speed", help="how fast is each?")
    shared(command)
    command.add_argument("--env", default=SPEED_ENV)
    command.add_argument("--rounds", type=at_least(3), default=20, help="pairs of runs")
    command.add_argument("--cpu", type=at_least(0), default=0, help="the core to run on")
    command.add_argument("--json", type=Path, metavar="FILE", help="write all numbers there")
    command.set_defaults(run=speed)

    arguments = parser.parse_args()
    return arguments.run(arguments)


if __name__ == "__main__":
    sys.exit(main())
