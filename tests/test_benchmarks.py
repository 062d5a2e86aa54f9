"""The parts of `benchmarks/` that compute: the operations counted, the bars, the report."""

import json
import math
from itertools import pairwise

import pytest
import torch
import yaml
from cases import OURS, Case, cases, read_progress, window
from conftest import ROOT
from flops import Net, Shapes, Update, operations
from sections import README
from settings import PENDULUM
from speed_report import Bar, bars, claim, draw, render
from torch.utils.flop_counter import FlopCounterMode

SHAPES = Shapes(obs=5, actions=2, hidden=(7, 6), batch=4)


def counted(compute):
    """What `compute()` returns, and the operations of the matrix products it made."""
    with FlopCounterMode(display=False) as counter:
        result = compute()
    return result, counter.get_total_flops()


def network(*widths):
    torch.manual_seed(sum(widths))
    return [numbers(m, n).requires_grad_() for n, m in pairwise(widths)]


def numbers(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def frozen(weights):
    return [w.detach() for w in weights]


def forward(weights, inputs):
    for w in weights[:-1]:
        inputs = torch.relu(inputs @ w.T)
    return inputs @ weights[-1].T


def q(weights, obs, actions):
    """A critic whose first layer takes its inputs apart, so that only actions get a gradient."""
    first = weights[0][:, : obs.shape[1]], weights[0][:, obs.shape[1] :]
    hidden = torch.relu(obs @ first[0].T + actions @ first[1].T)
    return forward(weights[1:], hidden)[:, 0]


@pytest.mark.parametrize("algo", ["ddpg", "td3", "sac"])
def test_a_baseline_update_makes_the_products_of_the_formula(algo):
    twins, heads = 1 if algo == "ddpg" else 2, 2 if algo == "sac" else 1
    # TD3's actor steps at every second update, through the first critic.
    times, through = (2, 1) if algo == "td3" else (1, twins)
    n, m, hidden = SHAPES.obs, SHAPES.actions, SHAPES.hidden
    actor = network(n, *hidden, heads * m)
    critics = [network(n + m, *hidden, 1) for _ in range(twins)]
    obs, next_obs, actions = numbers(4, n), numbers(4, n), numbers(4, m)

    def policy(obs):
        output = forward(actor, obs)
        return torch.tanh(output[:, :m] + (output[:, m:].exp() if heads == 2 else 0))

    def smaller(obs, actions, of=critics):
        return torch.stack([q(frozen(c), obs, actions) for c in of]).amin(0)

    def updates():
        for _ in range(times):
            with torch.no_grad():
                target = smaller(next_obs, policy(next_obs))
            for critic in critics:
                loss = (q(critic, obs, actions) - target).square().mean()
                torch.autograd.grad(loss, critic)
        torch.autograd.grad(-smaller(obs, policy(obs), critics[:through]).mean(), actor)

    _, made = counted(updates)
    # Autograd goes back through both critics, although each row needs the smaller only.
    to_actions = Update(SHAPES, twins, heads).critic.to_actions
    assert times * operations(algo, shapes=SHAPES) == made - (through - 1) * to_actions


def passes(weights, inputs, gradient):
    """Inputs, gradients of outputs and slopes of every layer, from the gradient of the last."""
    layers, slopes = [inputs], []
    for w in weights[:-1]:
        z = layers[-1] @ w.T
        slopes.append((z > 0).double())
        layers.append(z * slopes[-1])
    deltas = [gradient]
    for w, slope in zip(weights[:0:-1], slopes[::-1], strict=True):
        deltas.insert(0, (deltas[0] @ w) * slope)
    return layers, deltas, slopes


def test_gram_matrices_make_the_products_of_the_formula():
    weights, other = network(7, 7, 6, 1), numbers(4, 7)
    inputs, ones = numbers(4, 7), torch.ones(4, 1, dtype=torch.float64)
    a, d, _ = passes(frozen(weights), inputs, ones)
    a2, d2, _ = passes(frozen(weights), other, ones)

    def gram():
        pairs = zip(a, a2, d, d2, strict=True)
        return sum((x @ x2.T) * (g @ g2.T) for x, x2, g, g2 in pairs)

    def jacobian(inputs):
        outputs = forward(weights, inputs)[:, 0]
        rows = [torch.autograd.grad(y, weights, retain_graph=True) for y in outputs]
        return torch.stack([torch.cat([g.flatten() for g in row]) for row in rows])

    k, made = counted(gram)
    torch.testing.assert_close(k, jacobian(inputs) @ jacobian(other).T)
    assert made == Net((7, 7, 6, 1), 4).gram


def test_a_gram_matrix_times_a_vector_takes_each_layer_by_the_cheaper_way():
    widths, batch = (3, 2, 9, 1), 2  # the third layer by the gradient, the second by the matrix
    weights, u = network(*widths), numbers(batch)
    inputs, ones = numbers(batch, 3), torch.ones(batch, 1, dtype=torch.float64)
    a, d, _ = passes(frozen(weights), inputs, ones)
    a2, d2, _ = passes(frozen(weights), numbers(batch, 3), ones)

    def by_matrix(x, x2, g, g2):
        return ((x @ x2.T) * (g @ g2.T)) @ u

    def by_gradient(x, x2, g, g2):
        return ((x @ ((g2 * u[:, None]).T @ x2).T) * g).sum(1)

    least = 0
    for layer in zip(a, a2, d, d2, strict=True):
        one, several = counted(lambda x=layer: by_matrix(*x))
        other, few = counted(lambda x=layer: by_gradient(*x))
        torch.testing.assert_close(one, other)
        least += min(several, few)  # the counter counts no products with vectors, nor do we
    assert least == Net(widths, batch).gram_times_vector


def test_a_hessian_product_of_a_scalar_net_keeps_what_does_not_change():
    weights, inputs, y = network(5, 7, 6, 1), numbers(4, 5), numbers(4, 1)
    w = frozen(weights)
    r = 2 * (forward(w, inputs) - y)
    unit = torch.ones_like(r)
    a, d, slopes = passes(w, inputs, unit)  # of the output itself; times r they are the loss's
    mask, out_w = slopes[1], w[2]

    kept, once = counted(lambda: mask.T @ (r * a[1]))

    def product(v):
        ra1 = (a[0] @ v[0].T) * slopes[0]
        ra2 = (a[1] @ v[1].T + ra1 @ w[1].T) * mask
        rr = 2 * (a[2] @ v[2].T + ra2 @ w[2].T)
        top = out_w.T * (mask.T @ (r * ra1 + rr * a[1])) + v[2].T * kept
        # `d[0]` is m (w o W), masked: part of the gradient's own backward pass.
        rd = r * (mask @ (out_w.T * v[1] + v[2].T * w[1])) * slopes[0] + rr * d[0]
        return [rd.T @ a[0], top, rr.T @ a[2] + r.T @ ra2]

    def loss(*weights):
        return (forward(weights, inputs) - y).square().sum()

    v = [torch.randn_like(x) for x in w]
    _, expected = torch.autograd.functional.hvp(loss, tuple(weights), tuple(v))
    hvp, every = counted(lambda: product(v))
    torch.testing.assert_close(hvp, list(expected))
    assert (once, every) == Net((5, 7, 6, 1), 4).scalar_hvp


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_hessian_product_makes_the_products_of_the_formula(outputs):
    weights, inputs, y = network(5, 7, 6, outputs), numbers(4, 5), numbers(4, outputs)
    v = [torch.randn_like(w) for w in weights]

    def loss(*weights):
        return (forward(weights, inputs) - y).square().sum()

    _, expected = torch.autograd.functional.hvp(loss, tuple(weights), tuple(v))
    w = frozen(weights)
    residual = 2 * (forward(w, inputs) - y)
    a, d, slopes = passes(w, inputs, residual)

    def product():
        ra, rz = [None], a[0] @ v[0].T
        for i in range(1, len(w)):
            ra.append(rz * slopes[i - 1])
            rz = a[i] @ v[i].T + ra[i] @ w[i].T
        rd, out = 2 * rz, []
        for i in reversed(range(1, len(w))):
            out.insert(0, rd.T @ a[i] + d[i].T @ ra[i])
            rd = (rd @ w[i] + d[i] @ v[i]) * slopes[i - 1]
        return [rd.T @ a[0], *out]

    hvp, made = counted(product)
    torch.testing.assert_close(hvp, list(expected))
    assert made == Net((5, 7, 6, outputs), 4).hvp


def test_the_cross_derivative_of_a_leading_critic_makes_the_products_of_the_formula():
    n, m = SHAPES.obs, SHAPES.actions
    actor, critic, obs = network(n, 7, 6, m), network(n + m, 7, 6, 1), numbers(4, n)
    x = [torch.randn_like(w) for w in actor]

    # D_w <D_theta sum Q(s, mu(s)), x>, by automatic differentiation
    value = q(critic, obs, forward(actor, obs)).sum()
    along = sum(
        (g * v).sum()
        for g, v in zip(torch.autograd.grad(value, actor, create_graph=True), x, strict=True)
    )
    expected = torch.autograd.grad(along, critic)

    net, w = frozen(actor), frozen(critic)
    layers, _, slopes = passes(net, obs, numbers(4, m))
    ones = torch.ones(4, 1, dtype=torch.float64)
    _, d, kinks = passes(w, torch.cat([obs, forward(net, obs)], 1), ones)

    def product():
        tangent = layers[0] @ x[0].T
        for i in range(1, len(net)):
            tangent = layers[i] @ x[i].T + (tangent * slopes[i - 1]) @ net[i].T
        ra = [tangent, (tangent @ w[0][:, n:].T) * kinks[0]]
        for i in range(1, len(w)):
            ra.append((ra[i] @ w[i].T) * kinks[i] if i < len(w) - 1 else ra[i] @ w[i].T)
        return [g.T @ r for g, r in zip(d, ra[:-1], strict=True)]

    out, made = counted(product)
    torch.testing.assert_close(out[1:], list(expected[1:]))
    torch.testing.assert_close(out[0], expected[0][:, n:])
    update = Update(SHAPES, 1, 1)
    formula = update.critic_leads_cg(0) - update.through_targets
    assert made == formula


def test_counts_at_the_measured_shapes_are_those_of_the_issue():
    ddpg = operations("ddpg") / 1e6
    assert ddpg == pytest.approx(140, abs=1)
    # "85 more", which counts both Gram matrices whole.
    critic = Update(Shapes(17, 6), 1, 1).critic
    saved = (1.5 * critic.gram - critic.gram_times_vector) / 1e6
    assert operations("stddpg-al", "woodbury") / 1e6 - ddpg + saved == pytest.approx(85, abs=3)
    with pytest.raises(ValueError, match="stsac-cl with woodbury"):
        operations("stsac-cl", "woodbury")


def results(case, rate):
    if case.who != OURS:
        return [{"rate": rate * x} for x in (0.9, 1, 1.2)]
    return [{"rate": rate * x, "engine": "fused", "idle_us": 50.0} for x in (0.8, 1, 1.1)]


@pytest.fixture
def data():
    """Of a machine with four cores, without on-policy algorithms."""
    rates = {"SB3": 100.0, "SBX": 500.0, "CleanRL": 300.0, "RLtools": 400.0, OURS: 800.0}
    off_policy = [case for case in cases(4) if case.off_policy]
    return {
        "results": {case.name: results(case, rates[case.who]) for case in off_policy}
        | {
            "matrix products": [
                {
                    "gflops": 200.0,
                    "forward": 190.0,
                    "input_gradient": 210.0,
                    "weight_gradient": 200.0,
                    "faer": 200.0,
                    "gemm": 180.0,
                }
            ],
            "bridge": [{"ratio": 1.02}, {"ratio": 1.06}, {"ratio": 1.08}],
            "on policy, CartPole-v1": [
                {
                    "ac_ms": 30.0,
                    "stac_ms": 33.0,
                    "stac_over_ac": 1.1,
                    "rate_1": 9e4,
                    "rate_2": 8e4,
                    "two_over_one": 0.9,
                }
            ],
        },
        "failures": {"stac-bench stac": "ended with 1"},
        "memory": {"base": 300.0, "full": 790.0, "steps": 1_000_000},
        "cpu": "a processor",
        "cores": 4,
        "memory_gb": 8,
        "python": "3.11",
        "versions": {"jax": "1"},
        "program": ["stac-bench 0.1.0 (abc)", "mujoco 3"],
        "command": "bench.py",
        "repeats": 3,
        "window": 2.0,
        "warm_up": 1_500,
        "minutes": 12.0,
        "load_before": 0.1,
    }


def bar(data, words):
    (found,) = [bar for bar in bars(data) if bar.what.startswith(words)]
    return found


def test_bars_compare_medians_and_say_what_fails(data):
    sbx = bars(data)[0]
    assert (sbx.value, sbx.bound, sbx.verdict) == (1.6, 1.3, "pass")
    assert sbx.spread == pytest.approx((0.8 * 8 / 4.5, 1.6))
    assert bars(data)[1].verdict == "FAIL"  # 1.6 x on all cores, where 2 x is asked
    same = bar(data, "STDDPG-AL (woodbury) / our DDPG")
    assert (same.value, same.verdict, same.row["bar"]) == (1, "pass", "<= 1.5 x")
    bridge = bar(data, "bridge")
    assert (bridge.value, bridge.verdict) == (pytest.approx(6), "FAIL")
    memory = bar(data, "resident memory")
    assert (memory.value, memory.verdict) == (490, "pass")
    stac = bar(data, "STAC / AC")
    assert math.isnan(stac.value)
    assert (stac.verdict, stac.row["measured"]) == ("not measured", "-")
    # 140 MFLOP at 200 GFLOP/s are 701 us, of the 1250 - 50 us that the update took
    assert bar(data, "DDPG: matrix-product floor").value == pytest.approx(58.4, abs=0.1)
    assert Bar("", 2.0, 2.0).verdict == Bar("", 2.0, 2.0, at_least=False).verdict == "pass"


def test_the_claim_names_the_fastest_peer_whoever_it_is(data):
    peers = "DDPG 1.60 times SBX's (800 steps/s against 500), TD3 1.60 times SBX's (800"
    assert peers in claim(data)
    for case in (Case("CleanRL", "ddpg"), Case("RLtools", "sac")):
        data["results"][case.name] = results(case, 1_000.0)
    # On its own pendulum a peer is faster than all, on another problem.
    data["results"][Case("RLtools", "td3", env=PENDULUM).name] = results(case, 5_000.0)
    del data["results"]["SBX td3"]
    assert claim(data) == (
        "Beside the fastest of SB3, SBX, CleanRL and RLtools, on one core: DDPG 0.80 times "
        "CleanRL's (800 steps/s against 1,000), TD3 2.00 times RLtools's (800 steps/s against "
        "400), SAC 0.80 times RLtools's (800 steps/s against 1,000)."
    )
    assert claim(data) in render(data)


def test_the_readme_says_what_was_measured():
    data = json.loads((ROOT / "benchmarks" / "results" / "speed.json").read_text())
    assert claim(data) in README.read_text()


def test_the_report_has_a_row_per_bar_and_case_and_the_chart_is_drawn(data, tmp_path):
    text = render(data)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    measured = [case for case in cases(4) if case.off_policy]
    assert len(rows) == 2 + len(bars(data)) + 2 + len(measured) + 2 + 1
    assert {line.count("|") for line in rows} == {5, 8, 9}
    assert [cell.strip() for cell in rows[-1].split("|")[1:4]] == ["CartPole-v1", "30", "33"]
    for case in measured:
        assert sum(line.split("|")[1].strip() == case.name for line in rows) == 1, case.name
    assert "Did not run: stac-bench stac." in text
    assert "nan" not in text
    draw(data, tmp_path / "speed.png")
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")


def test_a_report_of_next_to_nothing_is_written_too(data, tmp_path):
    data["results"] = {"matrix products": data["results"]["matrix products"]}
    del data["memory"]
    assert {bar.verdict for bar in bars(data)} == {"not measured"}
    assert claim(data) == ""
    assert "not measured" in render(data)
    draw(data, tmp_path / "speed.png")


def test_each_case_has_a_name_and_cores_of_its_own():
    for every in (1, 2, 8):
        names = [case.name for case in cases(every)]
        assert len(set(names)) == len(names)
        assert max(case.width for case in cases(every)) == every
    assert Case(OURS, "ddpg", threads=2) in cases(2)
    assert Case(OURS, "ddpg", threads=2) not in cases(1)


def test_a_row_that_is_being_written_is_not_read(tmp_path):
    path = tmp_path / "progress.csv"
    path.write_text("")
    assert read_progress(path) == []
    path.write_text(
        "time/total_timesteps,train/actor_loss,time/time_elapsed\n"
        "1450,,1.0\n1500,0.5,1.5\n1550,0.5,2.0\n1600,0.5,2."
    )
    rows = read_progress(path)
    assert rows == [(1450, 1.0), (1500, 1.5), (1550, 2.0)]
    assert window(rows, 1500) == {"steps": 50, "seconds": 0.5}
    assert window(rows, 9000) == {"steps": 0, "seconds": 0}


@pytest.mark.parametrize("grid", sorted((ROOT / "benchmarks" / "grids").glob("*.yml")))
def test_each_grid_has_a_plan_and_its_files_name(stac_bench, tmp_path, grid):
    done = stac_bench(tmp_path, "sweep", grid, "--status")
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(grid.read_text())["name"] == grid.stem
