"""`game_gradients` against PyTorch, and between engines."""

import numpy as np
import pytest
import stac_bench
import torch as th
from stac_bench import AC, STAC, STDDPG, STSAC, game_gradients, game_solve
from test_python import QUICK


def batch_of(seed, size=12, noise=False):
    rng = np.random.default_rng(seed)
    batch = {
        "obs": rng.normal(size=(size, 3)),
        "actions": rng.uniform(-1, 1, (size, 1)),
        "rewards": rng.normal(size=size),
        "next_obs": rng.normal(size=(size, 3)),
        "dones": rng.integers(0, 2, size),
    }
    if noise:
        batch |= {"noise": rng.normal(size=(size, 1)), "next_noise": rng.normal(size=(size, 1))}
    return {name: values.astype(np.float32) for name, values in batch.items()}


def oracle(model, batch, lam, gamma=0.99):
    """The total derivative by PyTorch in float64, with the follower's whole Hessian."""
    b = {name: th.as_tensor(values, dtype=th.float64) for name, values in batch.items()}
    state = {k: v.double() for k, v in model.policy.state_dict().items()}
    names = {p: [k for k in state if k.startswith(f"{p}.")] for p in ("actor", "critic")}
    flat = {p: th.cat([state[k].flatten() for k in names[p]]) for p in names}

    def unflatten(vector, player):
        sizes = [state[k].numel() for k in names[player]]
        parts = th.split(vector, sizes)
        return {k: part.view_as(state[k]) for k, part in zip(names[player], parts, strict=True)}

    def layers(parameters, prefix, x):
        indices = sorted(
            {
                int(k[len(prefix) + 1 :].split(".")[0])
                for k in parameters
                if k.startswith(prefix + ".")
            }
        )
        for i in indices:
            x = x @ parameters[f"{prefix}.{i}.weight"].T + parameters[f"{prefix}.{i}.bias"]
            x = th.relu(x) if i != indices[-1] else x
        return x

    def mu(theta, obs):
        return th.tanh(layers(theta, "actor.mu", obs))

    def q(w, name, obs, actions):
        return layers(w, name, th.cat([obs, actions], 1)).squeeze(1)

    def losses(theta, w):
        theta, w = unflatten(theta, "actor"), unflatten(w, "critic")
        actor = -q(w, "critic.qf0", b["obs"], mu(theta, b["obs"])).mean()
        target = q(state, "critic_target.qf0", b["next_obs"], mu(theta, b["next_obs"]))
        y = b["rewards"] + gamma * (1 - b["dones"]) * target
        critic = ((q(w, "critic.qf0", b["obs"], b["actions"]) - y) ** 2).mean()
        return {"actor": actor, "critic": critic}

    leader = getattr(model, "leader", "actor")
    follower = "critic" if leader == "actor" else "actor"
    x = {p: v.clone().requires_grad_(True) for p, v in flat.items()}
    f = losses(x["actor"], x["critic"])
    d1f1, d2f1 = th.autograd.grad(f[leader], [x[leader], x[follower]], create_graph=True)
    d2f2 = th.autograd.grad(f[follower], x[follower], create_graph=True)[0]
    rows = [th.autograd.grad(g, x[follower], retain_graph=True)[0] for g in d2f2]
    hessian = th.stack(rows) + lam * th.eye(len(rows), dtype=th.float64)
    solution = th.linalg.solve(hessian, d2f1.detach())
    implicit = th.autograd.grad(d2f2 @ solution, x[leader])[0]
    return {
        "leader_gradient": unflatten(d1f1.detach(), leader),
        "implicit_term": unflatten(implicit, leader),
        "total_derivative": unflatten((d1f1 - implicit).detach(), leader),
        "follower_gradient": unflatten(d2f2.detach(), follower),
    }


@pytest.mark.parametrize("leader", ["actor", "critic"])
def test_game_gradients_are_those_of_pytorch(leader):
    keywords = {**QUICK, "policy_kwargs": {"net_arch": [5]}}
    model = STDDPG("MlpPolicy", "Pendulum-v1", leader=leader, **keywords).learn(70)
    batch = batch_of(0)
    ours = game_gradients(model, batch, solver="dense", lam=1.0)
    for kind, expected in oracle(model, batch, lam=1.0).items():
        assert list(ours[kind]) == list(expected), kind
        for name, values in expected.items():
            scale = max(1e-3, float(values.abs().max()))
            assert np.allclose(ours[kind][name], values, atol=1e-3 * scale), (kind, name)
    norm = np.sqrt(sum((v**2).sum() for v in ours["implicit_term"].values()))
    assert norm > 1e-5


def test_game_gradients_of_sac_take_the_noise_and_add_up():
    model = STSAC("MlpPolicy", "Pendulum-v1", **QUICK).learn(70)
    batch = batch_of(1, noise=True)
    ours = game_gradients(model, batch, solver="cg", lam=10.0, cg_iterations=50, cg_tolerance=1e-8)
    dense = game_gradients(model, batch, solver="dense", lam=10.0)
    for name, total in ours["total_derivative"].items():
        parts = ours["leader_gradient"][name] - ours["implicit_term"][name]
        assert np.allclose(total, parts, atol=1e-6)
        assert np.allclose(total, dense["total_derivative"][name], atol=1e-4)
    other = game_gradients(model, {**batch, "noise": -batch["noise"]}, solver="dense", lam=10.0)
    weight = "actor.mu.weight"
    assert not np.allclose(other["leader_gradient"][weight], dense["leader_gradient"][weight])
    with pytest.raises(ValueError, match="next_noise"):
        game_gradients(model, batch_of(1))
    with pytest.raises(ValueError, match=r"obs has shape"):
        game_gradients(model, {**batch, "obs": batch["obs"][:, :2]})


def test_an_empty_batch_is_a_value_error():
    """Not a panic in Rust."""
    model = STDDPG("MlpPolicy", "Pendulum-v1", **QUICK)
    with pytest.raises(ValueError, match="empty"):
        game_gradients(model, batch_of(0, size=0))


@pytest.mark.parametrize("lam", [float("nan"), float("inf"), -1.0])
def test_a_lam_that_is_no_damping_is_refused_by_name(lam):
    """Also NaN, which JSON cannot express."""
    model = STDDPG("MlpPolicy", "Pendulum-v1", **QUICK)
    with pytest.raises(ValueError, match="lam"):
        game_gradients(model, batch_of(0), lam=lam)


def test_a_failed_solve_warns():
    """An implicit term of zero alone would not tell."""
    model = STDDPG("MlpPolicy", "Pendulum-v1", leader="critic", **QUICK).learn(70)
    batch = batch_of(0)
    weights = {k: 1e18 * v for k, v in model.get_parameters()["policy"].items()}
    good = game_solve(model, batch, solver="dense", lam=100.0)
    assert good["residual"] < 1e-3 and not good["fallback"]
    rough = game_solve(model, batch, solver="cg", lam=0.1, cg_iterations=1, curvature_stop=False)
    assert rough["residual"] > good["residual"] and rough["iterations"] == 1
    model.policy.load_state_dict(weights)
    with pytest.warns(RuntimeWarning, match="the implicit term is zero"):
        gradients = game_gradients(model, batch, solver="cg")
    assert not any(v.any() for v in gradients["implicit_term"].values())
    assert game_solve(model, batch, solver="cg")["fallback"]


@pytest.mark.parametrize("kind", [AC, STAC])
def test_gradients_on_a_batch_are_the_off_policy_classes_alone(kind):
    """By the name of the class, not by the batch's keys."""
    with pytest.raises(TypeError, match=f"the model is {kind.__name__}"):
        game_gradients(kind("MlpPolicy", "Pendulum-v1"), batch_of(0))


def test_a_batch_with_nan_is_refused_by_name():
    batch = batch_of(0)
    batch["next_obs"][3, 1] = np.nan
    with pytest.raises(ValueError, match="next_obs"):
        game_gradients(STDDPG("MlpPolicy", "Pendulum-v1", **QUICK), batch)


def test_a_critic_that_policies_cannot_hold_is_refused_by_name():
    """Not by the sizes of its tensors."""
    with pytest.raises(ValueError, match="critic='q'"):
        stac_bench.STAC("MlpPolicy", "CartPole-v1", critic="q").learn(10)


def test_a_schedule_of_ones_own_is_taken():
    model = stac_bench.DDPG("MlpPolicy", "Pendulum-v1", **QUICK)
    model.lr_schedule = lambda _: 1e-4
    model.learn(60)
    assert model.num_timesteps == 60


@pytest.mark.parametrize("n_critics", [1, 2, 3])
def test_engines_agree_on_any_number_of_critics(n_critics):
    keywords = {**QUICK, "policy_kwargs": {"net_arch": [6, 5], "n_critics": n_critics}}
    batch, gradients = batch_of(2, noise=True), []
    for engine in ("autograd", "fused"):
        model = STSAC("MlpPolicy", "Pendulum-v1", engine=engine, **keywords)
        gradients.append(game_gradients(model, batch, solver="woodbury", lam=0.1))
    for kind, expected in gradients[0].items():
        for name, values in expected.items():
            scale = max(1e-4, np.abs(values).max())
            assert np.allclose(gradients[1][kind][name], values, atol=1e-3 * scale), (kind, name)


@pytest.mark.parametrize("given", [{"cg_iterations": 2}, {"solver": "cg", "solver_rank": 2}])
def test_settings_of_another_solver_are_refused(given):
    model = STDDPG("MlpPolicy", "Pendulum-v1", **QUICK)
    with pytest.raises(ValueError, match=list(given)[-1]):
        game_gradients(model, batch_of(0), **given)
