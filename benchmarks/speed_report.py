"""What `bench.py` measured, as tables beside the bars we set ourselves, and as a chart."""

from dataclasses import dataclass

import matplotlib
import numpy as np
import pandas as pd

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from cases import CG, ENV, OURS, PEERS, Case, cases
from pytablewriter import MarkdownTableWriter

# STDDPG-AL of the authors (PyTorch) and SB3's DDPG, us per step on one other machine.
AUTHORS_US, SB3_THERE_US = 26_724, 4_558


@dataclass(frozen=True)
class Bar:
    """A bound on a measured number; `value` is NaN where a part of it was not measured."""

    what: str
    value: float
    bound: float
    at_least: bool = True
    unit: str = "x"
    spread: tuple[float, float] | None = None

    @property
    def verdict(self):
        if np.isnan(self.value):
            return "not measured"
        met = self.value >= self.bound if self.at_least else self.value <= self.bound
        return "pass" if met else "FAIL"

    @property
    def row(self):
        number = lambda x: f"{x:,.0f}" if self.unit != "x" else f"{x:.2f}"  # noqa: E731
        value = "-" if np.isnan(self.value) else f"{number(self.value)} {self.unit}"
        spread = f" ({number(self.spread[0])}..{number(self.spread[1])})" if self.spread else ""
        sign = ">=" if self.at_least else "<="
        bound = f"{sign} {self.bound:g} {self.unit}"
        return {"": self.what, "bar": bound, "measured": value + spread, "verdict": self.verdict}


class Measured:
    """Medians over the rounds of one run."""

    def __init__(self, data):
        self.data = data

    def values(self, case, key="rate"):
        """One number per round."""
        name = case.name if isinstance(case, Case) else case
        results = self.data["results"].get(name, [])
        return np.array([result[key] for result in results])

    def median(self, case, key="rate"):
        values = self.values(case, key)
        return float(np.median(values)) if len(values) else np.nan

    def faster(self, case, other):
        """Steps per second / `other`'s: ratio of medians, and range of the rounds' ratios."""
        ours, theirs = self.values(case), self.values(other)
        rounds = min(len(ours), len(theirs))
        if not rounds:
            return np.nan, None
        ratios = ours[:rounds] / theirs[:rounds]
        return self.median(case) / self.median(other), (ratios.min(), ratios.max())

    def floor_us(self, case):
        """Of one update's matrix products on this case's cores, at the rate measured on one."""
        return case.operations / (self.median("matrix products", "gflops") * 1e3 * case.threads)

    def update_share(self, case):
        """Percent: floor / (time per step - time of a step without update)."""
        update = 1e6 / self.median(case) - self.median(case, "idle_us")
        return 100 * self.floor_us(case) / update


def bars(data):
    """Every bar, with what was measured."""
    m, every = Measured(data), data["cores"]
    ddpg, sac, td3 = (Case(OURS, algo) for algo in ("ddpg", "sac", "td3"))
    al, stsac = Case(OURS, "stddpg-al", "woodbury"), Case(OURS, "stsac-al", "woodbury")
    cg = Case(OURS, "stddpg-al", "cg")

    def speed(what, bound, case, other):
        value, spread = m.faster(case, other)
        return Bar(what, value, bound, True, spread=spread)

    def cost(what, bound, case, other):
        value, spread = m.faster(other, case)
        return Bar(what, value, bound, False, spread=spread)

    def on_all(what, bound, algo, solver, peer):
        return speed(
            f"{what}, all cores",
            bound,
            Case(OURS, algo, solver, threads=every),
            Case("SBX", peer, threads=every),
        )

    sb3 = Case("SB3", "ddpg")
    rows = [
        speed("DDPG / SBX's DDPG, steps/s", 1.3, ddpg, Case("SBX", "ddpg")),
        on_all("DDPG / SBX's DDPG, steps/s", 2, "ddpg", None, "ddpg"),
        speed("SAC / SBX's SAC, steps/s", 1.5, sac, Case("SBX", "sac")),
        on_all("SAC / SBX's SAC, steps/s", 2, "sac", None, "sac"),
        speed("DDPG / SB3's DDPG, steps/s", 4, ddpg, sb3),
        speed("SAC / SB3's SAC, steps/s", 4, sac, Case("SB3", "sac")),
        speed("TD3 / SB3's TD3, steps/s", 4, td3, Case("SB3", "td3")),
        speed("TD3 / SBX's TD3, steps/s", 1.4, td3, Case("SBX", "td3")),
        cost("STDDPG-AL (woodbury) / our DDPG, time per step", 1.5, al, ddpg),
        speed("STDDPG-AL (woodbury) / SBX's plain DDPG, steps/s", 1, al, Case("SBX", "ddpg")),
        on_all("STDDPG-AL (woodbury) / SBX's plain DDPG, steps/s", 1.5, al.algo, al.solver, "ddpg"),
        cost("STSAC-AL (woodbury) / our SAC, time per step", 1.5, stsac, sac),
        cost("STDDPG-AL (cg, full Hessian, 10 iterations) / our DDPG, time per step", 6, cg, ddpg),
        Bar(
            "the authors' STDDPG-AL (26.7 ms, other machine) / ours (cg), time per step",
            AUTHORS_US * m.median(cg) / 1e6,
            4,
        ),
        Bar(
            "the same, the authors' time scaled by SB3's DDPG (4.56 ms there)",
            AUTHORS_US / SB3_THERE_US * m.median(cg) / m.median(sb3),
            4,
        ),
        *(
            Bar(f"{name}: matrix-product floor / update", m.update_share(case), 75, unit="%")
            for name, case in {"DDPG": ddpg, "SAC": sac, "STDDPG-AL": al, "STSAC-AL": stsac}.items()
        ),
        speed(
            "DDPG with 2 threads / 1, one run, steps/s", 1.5, Case(OURS, "ddpg", threads=2), ddpg
        ),
        speed("2 seeds with --jobs 2 / 1 seed, steps/s", 1.8, Case(OURS, "ddpg", seeds=2), ddpg),
        cost("STAC / AC, time per epoch", 1.1, Case(OURS, "stac"), Case(OURS, "ac")),
        speed(
            "AC sampling, 2 environments / 1, steps/s",
            1.6,
            Case(OURS, "ac", sampling=True, n_envs=2),
            Case(OURS, "ac", sampling=True),
        ),
    ]
    added = m.values("bridge", "ratio") * 100 - 100
    spread = (added.min(), added.max()) if len(added) else None
    value = float(np.median(added)) if len(added) else np.nan
    rows.append(Bar("bridge, added to Python's env.step", value, 5, False, "%", spread))
    memory = data.get("memory", {"full": np.nan, "base": np.nan})
    used = memory["full"] - memory["base"]
    steps = memory.get("steps", 1_000_000)
    what = f"resident memory of DDPG, {steps:,} transitions, beyond interpreter and libtorch"
    rows.append(Bar(what, used, 500, False, "MB"))
    return rows


def claim(data):
    """A sentence for the README: how this compares with the fastest peer, whoever it is, on the
    same environment with one core."""
    m, parts, measured = Measured(data), [], {}
    for algo in ("ddpg", "td3", "sac"):
        own, known = Case(OURS, algo), [Case(who, algo) for who in PEERS if algo in PEERS[who]]
        peers = [peer for peer in known if len(m.values(peer))]
        measured |= {peer.who: None for peer in peers}
        if peers and len(m.values(own)):
            fastest = max(peers, key=m.median)
            ratio = m.median(own) / m.median(fastest)
            rates = f"{m.median(own):,.0f} steps/s against {m.median(fastest):,.0f}"
            parts.append(f"{algo.upper()} {ratio:.2f} times {fastest.who}'s ({rates})")
    if not parts:
        return ""
    *others, last = measured
    names = f"the fastest of {', '.join(others)} and {last}" if others else last
    return f"Beside {names}, on one core: {', '.join(parts)}."


def speeds(data):
    """A row per case that was measured."""
    m = Measured(data)
    rows = []
    for case in cases_of(data):
        rates = m.values(case)
        row = {"": case.name, "steps/s": f"{np.median(rates):,.0f}"}
        row["min..max"] = f"{rates.min():,.0f}..{rates.max():,.0f}"
        row["us per step"] = f"{1e6 / np.median(rates):,.0f}"
        if case.off_policy:
            row["MFLOP per update"] = f"{case.operations / 1e6:,.0f}"
            row["floor, us"] = f"{m.floor_us(case):,.0f}"
            row["floor / step"] = f"{m.floor_us(case) * np.median(rates) / 1e4:.0f} %"
            own = case.who == OURS and case.seeds == 1
            row["floor / update"] = f"{m.update_share(case):.0f} %" if own else "-"
        rows.append({key: row.get(key, "-") for key in HEAD})
    return rows


PRODUCTS = ["gflops", "forward", "input_gradient", "weight_gradient", "faer", "gemm"]
HEAD = ["", "steps/s", "min..max", "us per step", "MFLOP per update"]
HEAD += ["floor, us", "floor / step", "floor / update"]


def cases_of(data):
    """The cases with results, in the order of `cases`."""
    return [case for case in cases(data["cores"]) if data["results"].get(case.name)]


def on_policy(data):
    """A row per environment of `on_policy.rs`: an epoch of AC and of STAC, sampling with one
    environment and with two."""
    m, rows = Measured(data), []
    for name in data["results"]:
        if name.startswith("on policy, "):
            of = lambda key, n=name: m.median(n, key)  # noqa: E731
            row = {"": name.removeprefix("on policy, ")}
            row["AC, ms per epoch"] = f"{of('ac_ms'):,.1f}"
            row["STAC"] = f"{of('stac_ms'):,.1f}"
            row["STAC / AC"] = f"{of('stac_over_ac'):.2f}"
            row["steps/s with 1 environment"] = f"{of('rate_1'):,.0f}"
            row["with 2"] = f"{of('rate_2'):,.0f}"
            rows.append(row | {"2 / 1": f"{of('two_over_one'):.2f}"})
    return sorted(rows, key=lambda row: row[""])


def markdown(rows):
    table = pd.DataFrame(rows)
    return MarkdownTableWriter(dataframe=table, margin=1, enable_ansi_escape=False).dumps()


def render(data):
    """The section's text."""
    m = Measured(data)
    versions = ", ".join(f"{name} {number}" for name, number in data["versions"].items())
    engines = {r["engine"] for rows in data["results"].values() for r in rows if "engine" in r}
    rate = {key: f"{m.median('matrix products', key):.0f}" for key in PRODUCTS}
    lines = [
        "Environment steps per second of full training on Walker2d-v4: batch 100, (256, 256), 50 "
        "updates every 50 steps, random actions until the first update at step 1,000, SAC's "
        f"entropy coefficient fixed at 0.2. Medians of {data['repeats']} rounds; each round "
        f"measures every case once for {data['window']:g} s in a process of its own, in random "
        f"order, after {data['warm_up']:,} steps of warm-up. N threads are N cores, bound.",
        f"`{data['command']}`, {data['program'][0]}, engine {', '.join(sorted(engines))}, "
        f"{data['cpu']}, {data['cores']} cores, {data['memory_gb']} GB, Python {data['python']}, "
        f"{versions}; {data['minutes']:.0f} minutes, load before {data['load_before']:.1f}.",
        "Matrix products of 100 x 256 x 256 (f32, one thread, by the faster of the crates `faer`, "
        f"{rate['faer']} GFLOP/s, and `gemm`, {rate['gemm']}): {rate['gflops']} GFLOP/s over a "
        f"layer's three (outputs {rate['forward']}, gradients of inputs "
        f"{rate['input_gradient']}, of weights {rate['weight_gradient']}). Floor: the "
        "operations that an update's products need (`benchmarks/flops.py`) at this rate, times "
        "the cores. Floor / update leaves out of a step what one without update takes. `cg` is "
        f"`{' '.join(CG)}`: ten iterations, with more damping than the paper's so that no run "
        "diverges while it is timed; `woodbury` and all else are defaults.",
        "CleanRL is the update rule of its JAX scripts, restated in `peers/cleanrl.py`. It and "
        "RLtools update after every step, not fifty times after fifty. RLtools has no DDPG, and "
        "its TD3 learns from step 100 on, which cannot be set. With its own pendulum in C++ "
        "neither Python nor much physics runs, and its networks have 3 and 4 inputs and 1 output: "
        "that rate compares with no other, its share of the floor does.",
        claim(data),
        "![speed](results/speed.png)",
        markdown([bar.row for bar in bars(data)]).strip(),
        markdown(speeds(data)).strip() if cases_of(data) else "",
        markdown(on_policy(data)).strip() if on_policy(data) else "",
    ]
    if data["failures"]:
        lines.append("Did not run: " + "; ".join(data["failures"]) + ".")
    return "\n\n".join(line for line in lines if line)


COLORS = {"SB3": "tab:gray", "SBX": "tab:orange", OURS: "tab:blue"}
COLORS |= {"CleanRL": "tab:green", "RLtools": "tab:red"}


def family(algo):
    """Where it stands in the chart: DDPG and its forms first, then TD3, then SAC."""
    return [name in algo for name in ("ddpg", "td3", "sac")].index(True)


def draw(data, picture):
    """Steps per second, a panel per number of cores: off-policy training, one process."""
    m = Measured(data)
    shown = [c for c in cases_of(data) if c.off_policy and c.seeds == 1 and c.env == ENV]
    panels = sorted({1, data["cores"]})
    tall = max((sum(c.threads == n for c in shown) for n in panels), default=1)
    figure, axes = plt.subplots(
        1, len(panels), figsize=(6.5 * len(panels), 1.6 + 0.36 * tall), squeeze=False, sharex=True
    )
    for axis, threads in zip(axes[0], panels, strict=True):
        rows = [case for case in shown if case.threads == threads]
        rows.sort(key=lambda case: (family(case.algo), m.median(case)))
        rates = [m.median(case) for case in rows]
        labels = [" ".join(filter(None, (case.who, case.algo, case.solver))) for case in rows]
        low = [m.median(case) - m.values(case).min() for case in rows]
        high = [m.values(case).max() - m.median(case) for case in rows]
        colors = [COLORS[case.who] for case in rows]
        axis.barh(labels, rates, xerr=[low, high], color=colors, error_kw={"elinewidth": 1})
        for y, (rate, up) in enumerate(zip(rates, high, strict=True)):
            axis.text(rate + up, y, f" {rate:,.0f}", va="center", fontsize=9)
        axis.set(
            title="1 thread" if threads == 1 else f"{threads} threads",
            xlabel="environment steps per second",
        )
        axis.margins(x=0.15)
        axis.grid(axis="x", alpha=0.3)
        axis.set_axisbelow(True)
    figure.suptitle("Full training on Walker2d-v4 (bar: median, whisker: range)")
    figure.tight_layout()
    figure.savefig(picture, dpi=110)
    plt.close(figure)
