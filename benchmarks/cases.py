"""What is measured: one training program, with its settings, on so many cores.

Each measurement is a process of its own, bound to its cores. What it reports is environment steps
per second of full training (stepping, storing, updating, logging) over whole rounds of 50 steps and
50 updates after a warm-up.
"""

import json
import os
import platform
import re
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from flops import Shapes, operations
from settings import ENV, HIDDEN, OFF_POLICY, PENDULUM, ROUND

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "target" / "release" / "stac-bench"
EXAMPLES = ROOT / "target" / "release" / "examples"
PEER_PYTHON = ROOT / ".venv-bench" / "bin" / "python"
# Who, and which algorithms; the first two with all cores, too.
PEERS = {
    "SB3": ("ddpg", "sac", "td3"),
    "SBX": ("ddpg", "sac", "td3"),
    "CleanRL": ("ddpg", "td3"),
    "RLtools": ("sac", "td3"),
}
OURS = "stac-bench"
CORES = (
    sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count())
)

SHAPES = {
    ENV: Shapes(17, 6, tuple(HIDDEN), OFF_POLICY["batch_size"]),
    PENDULUM: Shapes(3, 1, tuple(HIDDEN), OFF_POLICY["batch_size"]),
}
LEARNING_STARTS = OFF_POLICY["learning_starts"]
WARM_UP = 1_500  # ten rounds of updates
SHORT_WARM_UP = 1_100
NEVER = 1_000_000_000
# The full Hessian with all ten iterations, as in the paper; damped, so that no run ends in NaN
# while it is timed.
CG = ("--preset", "paper", "--set", "lam=100")
# Like the peers, random until the first update; logged once a round.
LIKE_PEERS = OFF_POLICY | {
    "random_steps": LEARNING_STARTS,
    "log_freq": ROUND,
    "policy_kwargs.net_arch": HIDDEN,
}
EPOCH = 4_000


def cpu():
    """The processor's name, where Linux tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


@dataclass(frozen=True)
class Case:
    """One line of the table. `solver` is the leader's; `threads` is how many cores it gets, too."""

    who: str
    algo: str
    solver: str | None = None
    env: str = ENV
    threads: int = 1
    seeds: int = 1
    n_envs: int = 1
    sampling: bool = False  # on-policy: no update while measured

    @property
    def name(self):
        parts = [self.who, self.algo, self.solver, self.env != ENV and f"({self.env})"]
        parts += [self.n_envs > 1 and f"{self.n_envs} envs"]
        parts += [self.sampling and "sampling", self.seeds > 1 and f"{self.seeds} seeds at once"]
        parts += [self.threads > 1 and f"{self.threads} threads"]
        return " ".join(part for part in parts if part)

    @property
    def off_policy(self):
        return self.algo not in ("ac", "stac")

    @property
    def operations(self):
        """Of the update that follows each step; none on-policy, where epochs are compared."""
        if not self.off_policy:
            return None
        return operations(self.algo, self.solver, shapes=SHAPES[self.env])

    @property
    def width(self):
        """How many cores it takes."""
        return max(self.threads, self.seeds, self.n_envs)

    @property
    def cores(self):
        """The last ones: interrupts tend to come to the first."""
        return CORES[-self.width :]


def cases(every):
    """All of them, on a machine of `every` cores."""
    threads = sorted({1, every})
    peers = [Case(who, algo) for who, algos in PEERS.items() for algo in algos]
    peers += [Case("RLtools", algo, env=PENDULUM) for algo in PEERS["RLtools"]]
    plain = [Case(OURS, algo) for algo in ("ddpg", "sac", "td3")]
    wide = [
        Case(who, algo, threads=t)
        for who in ("SB3", "SBX", OURS)
        for algo in ("ddpg", "sac")
        for t in threads
    ]
    stackelberg = [
        ("stddpg-al", "woodbury"),
        ("stddpg-al", "cg"),
        ("stddpg-cl", "cg"),
        ("stsac-al", "woodbury"),
        ("stsac-cl", "cg"),
    ]
    led = [Case(OURS, algo, solver) for algo, solver in stackelberg]
    led += [Case(OURS, *stackelberg[0], threads=every)] * (every > 1)
    pairs = [
        Case(OURS, "ddpg", threads=2),
        Case(OURS, "ddpg", seeds=2),
        *(Case(OURS, algo) for algo in ("ac", "stac")),
        *(Case(OURS, "ac", sampling=True, n_envs=n) for n in (1, 2)),
    ]
    possible = [case for case in pairs if case.width <= every]
    return list(dict.fromkeys([*peers, *plain, *wide, *led, *possible]))


def environment(threads):
    """Variables under which OpenMP, BLAS and XLA take `threads` threads."""
    names = ("OMP", "MKL", "OPENBLAS", "NUMEXPR")
    single = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    return {
        **os.environ,
        **{f"{name}_NUM_THREADS": str(threads) for name in names},
        "XLA_FLAGS": single if threads == 1 else "",
        "JAX_PLATFORMS": "cpu",
        "CUDA_VISIBLE_DEVICES": "",
        "PYTHONWARNINGS": "ignore",
    }


def start(command, cores, threads):
    """The process, bound to its cores from its first instruction on."""
    bind = None
    if hasattr(os, "sched_setaffinity"):
        bind = lambda: os.sched_setaffinity(0, cores)  # noqa: E731
    return subprocess.Popen(
        [str(word) for word in command],
        env=environment(threads),
        preexec_fn=bind,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, codes=(0,)):
    """What it printed, once it has ended with one of these codes."""
    out, err = process.communicate()
    if process.returncode not in codes:
        command = " ".join(process.args)
        raise RuntimeError(f"{err.strip()}\n{command} ended with {process.returncode}")
    return out


def last_json(command, cores=CORES[-1:], threads=1):
    return json.loads(finish(start(command, cores, threads)).splitlines()[-1])


def available():
    """Names of the program's algorithms."""
    return finish(start([PROGRAM, "algos"], CORES, 1)).split()


def measure(case, seconds, seed, warm_up=WARM_UP):
    """A dictionary with at least `rate`, environment steps per second."""
    if case.who == OURS:
        return measure_ours(case, seconds, seed, warm_up if case.off_policy else EPOCH)
    peer = [PEER_PYTHON, ROOT / "benchmarks" / "peer.py", case.who.lower(), case.algo, case.env]
    options = [
        "--warm-up",
        warm_up,
        "--seconds",
        seconds,
        "--threads",
        case.threads,
        "--seed",
        seed,
    ]
    result = last_json([*peer, *options], case.cores, case.threads)
    return {**result, "rate": result["steps"] / result["seconds"]}


def as_options(settings):
    """The part of a command line that sets them."""
    return [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]


def words(case, seed, out):
    """The command line of one of our cases."""
    settings = {"eval_freq": NEVER, "eval_episodes": 1}
    if case.off_policy:
        settings |= LIKE_PEERS
    else:
        settings |= (
            {"log_freq": 250, "n_steps": 1_000_000} if case.sampling else {"log_freq": EPOCH}
        )
        settings |= {"n_envs": case.n_envs} if case.n_envs > 1 else {}
    line = [PROGRAM, "--env", ENV, "--algo", case.algo, "--seed", seed, "--steps", 10_000_000]
    line += ["--threads", case.threads, "--out", out, "--quiet"]
    line += CG if case.solver == "cg" else ()
    line += as_options(settings)
    return line + (["--seeds", case.seeds, "--jobs", case.seeds] if case.seeds > 1 else [])


def measure_ours(case, seconds, seed, warm_up):
    """Trains until every seed's `progress.csv` covers `seconds`, then interrupts."""
    with tempfile.TemporaryDirectory() as out:
        process = start(words(case, seed, out), case.cores, case.threads)
        runs, _ = watched(process, out, case.seeds, seconds, warm_up)
        manifest = json.loads(next(Path(out).rglob("manifest.json")).read_text())
    windows = [window(rows, warm_up) for rows in runs]
    result = {
        "steps": sum(w["steps"] for w in windows),
        "seconds": max(w["seconds"] for w in windows),
        "rate": sum(w["steps"] / w["seconds"] for w in windows),
        "engine": manifest["engine"],
    }
    if case.off_policy:
        # Steps without updates, policy or log: what of a step is not the update.
        idle = window(runs[0], LEARNING_STARTS // 2, LEARNING_STARTS - 1)
        result["idle_us"] = idle["seconds"] / idle["steps"] * 1e6
    return result


def watched(process, out, seeds, seconds, warm_up):
    """Lets a training process run until the progress of every seed below `out` covers `seconds`
    after `warm_up`, then interrupts it; returns the progress of each and the peak of memory, MB."""
    runs, peak = [], 0
    try:
        while process.poll() is None:
            time.sleep(0.2)
            runs = [read_progress(path) for path in Path(out).rglob("progress.csv")]
            spans = [window(rows, warm_up)["seconds"] for rows in runs]
            peak = max(peak, resident_peak(process))
            if len(spans) == seeds and min(spans) >= seconds:
                break
        process.send_signal(signal.SIGINT)
        finish(process, codes=(0, 130))
    finally:
        process.kill()
    return runs, peak


def read_progress(path):
    """`(steps, seconds since the start)` of every whole row."""
    lines = [line.split(",") for line in path.read_text().rpartition("\n")[0].splitlines()]
    if not lines:
        return []
    columns = [lines[0].index(f"time/{name}") for name in ("total_timesteps", "time_elapsed")]
    return [tuple(float(line[i]) for i in columns) for line in lines[1:]]


def window(rows, first, last=NEVER):
    """Steps and seconds between the first and the last row within these steps."""
    rows = [row for row in rows if first <= row[0] <= last] or [(0.0, 0.0)]
    (steps, seconds), (last_steps, last_seconds) = rows[0], rows[-1]
    return {"steps": last_steps - steps, "seconds": last_seconds - seconds}


def resident_peak(process):
    """MB: the largest resident memory of a process so far; 0 if it has ended, or if the system
    does not tell."""
    status = Path(f"/proc/{process.pid}/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text() if status.exists() else "")
    return int(found.group(1)) * 1024 / 1e6 if found else 0


def peak_memory(steps, full):
    """MB: largest resident memory of a DDPG run, replay of `steps` transitions or of one."""
    settings = {"eval_freq": NEVER, "eval_episodes": 1, "log_freq": max(steps // 10, 1)}
    if full:
        settings |= {"random_steps": steps, "learning_starts": steps, "buffer_size": steps}
    with tempfile.TemporaryDirectory() as out:
        line = [PROGRAM, "--env", ENV, "--algo", "ddpg", "--out", out, "--quiet"]
        line += ["--steps", steps + 100 if full else 1]
        line += as_options(settings)
        process, peak = start(line, CORES, 1), 0
        while process.poll() is None:
            peak = max(peak, resident_peak(process))
            time.sleep(0.01)
        finish(process)
    return peak
