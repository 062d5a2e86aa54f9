"""`benchmarks/cost.py`: the products of a critic that leads exactly, memory, the program itself."""

import json
import subprocess
import sys

import pytest
import torch
from conftest import ROOT
from cost_report import megabytes
from flops import WALKER, Shapes, Update
from test_benchmarks import counted, forward, frozen, network, numbers


def test_the_matrix_of_a_leading_critic_makes_the_products_of_the_formula():
    batch, n, m, hidden = 4, 5, 2, (7, 6)
    weights, obs = frozen(network(n, *hidden, m)), numbers(batch, n)
    layers, slopes = [obs], []
    for w in weights[:-1]:
        z = layers[-1] @ w.T
        slopes.append((z > 0).double())
        layers.append(z * slopes[-1])

    def units():  # d z_ik / d(pre-activations), row by row; the last hidden layer's is a mask
        last = weights[-1][None] * slopes[1][:, None]
        first = (last.reshape(-1, hidden[1]) @ weights[1]).reshape(batch, m, -1)
        return [first * slopes[0][:, None], last]

    def matrix(derivatives):
        total = 0
        for x, d in zip(layers[:2], derivatives, strict=True):
            inner = d.reshape(batch * m, -1)
            total = total + (x @ x.T).repeat_interleave(m, 0).repeat_interleave(m, 1) * (
                inner @ inner.T
            )
        return total + torch.kron(layers[2] @ layers[2].T, torch.eye(m, dtype=torch.float64))

    derivatives, once = counted(units)
    k, whole = counted(lambda: matrix(derivatives))
    jacobian = torch.autograd.functional.jacobian(
        lambda *w: forward(w, obs).flatten(), tuple(weights)
    )
    j = torch.cat([part.reshape(batch * m, -1) for part in jacobian], 1)
    torch.testing.assert_close(k, j @ j.T)
    # Both products of a layer are symmetric: one half, with the diagonal.
    half = whole // 2 + batch * sum((n, *hidden)) + batch * m * sum(hidden)
    update = Update(Shapes(n, m, hidden, batch), twins=1, heads=1)
    rows = batch * m
    others = update.through_targets + 2 * update.critic.to_actions + rows**3 // 3 + 2 * rows**2
    others += update.actor.forward + update.actor.hidden
    assert update.critic_leads_woodbury() == others + once + half


def test_a_leading_critic_holds_a_system_of_batch_times_actions_rows():
    extra = megabytes("stddpg-cl", "woodbury", WALKER) - megabytes("ddpg", None, WALKER)
    assert extra * 1e6 == pytest.approx(4 * (100 * 6) ** 2)


def test_every_line_is_measured_and_one_that_is_refused_is_named(binary, tmp_path):
    line = [sys.executable, ROOT / "benchmarks" / "cost.py", "--quick", "--gflops", "100"]
    line += ["--out", tmp_path, "--line", "stddpg-al", "solver=woodbury", "--line", "ddpg", "lam=1"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=580)
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "cost.json").read_text())
    assert {entry["line"] for entry in data["lines"]} == {"stddpg-al solver=woodbury"}
    assert len(data["lines"]) == 4  # the smallest, and one for each of batch, width and actions
    for entry in data["lines"]:
        (measured,) = entry["rounds"]
        assert measured["us"] > 0 and measured["mb"] > 0 and measured["solver"] == "woodbury"
    assert "Did not run: ddpg lam=1: error: --set" in (tmp_path / "cost.md").read_text()
    assert (tmp_path / "cost.png").read_bytes().startswith(b"\x89PNG")
