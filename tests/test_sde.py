"""State-dependent exploration against Stable-Baselines3's own distribution."""

import itertools

import gymnasium as gym
import numpy as np
import pytest
import stable_baselines3 as sb3
import torch as th
from stac_bench import AC, SAC, STAC, STSAC, game_gradients

QUICK = {
    "seed": 0,
    "learning_starts": 30,
    "random_steps": 30,
    "batch_size": 16,
    "policy_kwargs": {"net_arch": [16, 16]},
    "use_sde": True,
}


def observations(size=7):
    return np.random.default_rng(0).normal(size=(size, 3)).astype(np.float32)


def test_zips_load_in_both_directions_and_act_the_same(tmp_path):
    for clip_mean in (2.0, 0.0):
        keywords = {**QUICK, "policy_kwargs": {"net_arch": [16], "clip_mean": clip_mean}}
        model = SAC("MlpPolicy", "Pendulum-v1", sde_sample_freq=4, **keywords).learn(60)
        assert not th.allclose(model.actor.log_std, th.tensor(-3.0), atol=1e-5)
        model.save(tmp_path / "ours.zip")
        other = sb3.SAC.load(tmp_path / "ours.zip", env=model.get_env())
        expected = model.predict(observations(), deterministic=True)[0]
        for name, tensor in model.policy.state_dict().items():
            assert th.equal(tensor, other.policy.state_dict()[name]), name
        assert np.allclose(
            other.predict(observations(), deterministic=True)[0], expected, atol=1e-5
        )

        other.learn(40, reset_num_timesteps=False)
        other.save(tmp_path / "theirs.zip")
        back = SAC.load(tmp_path / "theirs.zip", env=other.get_env())
        theirs = other.predict(observations(), deterministic=True)[0]
        assert np.allclose(back.predict(observations(), deterministic=True)[0], theirs, atol=1e-5)
        assert not np.allclose(theirs, expected)
        back.learn(10, reset_num_timesteps=False)


@pytest.mark.parametrize("kind", [STSAC, AC, STAC])
def test_saved_models_act_the_same(kind, tmp_path):
    keywords = QUICK
    if issubclass(kind, AC):
        keywords = {"seed": 0, "n_steps": 20, "use_sde": True, "sde_sample_freq": 4}
    model = kind("MlpPolicy", "Pendulum-v1", **keywords).learn(60)
    expected = model.predict(observations(), deterministic=True)[0]
    assert np.allclose(
        expected, model.policy.predict(observations(), deterministic=True)[0], atol=1e-5
    )
    model.save(tmp_path / "model.zip")
    again = kind.load(tmp_path / "model.zip")
    assert np.array_equal(again.predict(observations(), deterministic=True)[0], expected)


@pytest.mark.parametrize("use_expln", [False, True])
def test_gradients_are_those_of_stable_baselines3s_distribution(use_expln):
    kwargs = {"net_arch": [6], "use_expln": use_expln, "log_std_init": -0.5}
    model = STSAC(
        "MlpPolicy", "Pendulum-v1", ent_coef=0.3, **{**QUICK, "policy_kwargs": kwargs}
    ).learn(60)
    if use_expln:  # both branches
        with th.no_grad():
            model.policy.actor.log_std[:3] += 1.0
    rng = np.random.default_rng(1)
    size, noise = 12, rng.normal(size=(6, 1))
    batch = {
        "obs": observations(size),
        "actions": rng.uniform(-1, 1, (size, 1)),
        "rewards": rng.normal(size=size),
        "next_obs": rng.normal(size=(size, 3)),
        "dones": rng.integers(0, 2, size),
        "noise": noise,
        "next_noise": noise,
    }
    ours = game_gradients(model, batch, solver="dense", lam=1.0)

    tensors = {name: th.as_tensor(values, dtype=th.float32) for name, values in batch.items()}
    actor, critic, target = model.policy.actor, model.policy.critic, model.policy.critic_target
    actor.action_dist.exploration_mat = actor.get_std() * tensors["noise"]
    actor.action_dist.exploration_matrices = actor.action_dist.exploration_mat.unsqueeze(0)

    actions, log_pi = actor.action_log_prob(tensors["obs"])
    q = th.cat(critic(tensors["obs"], actions), dim=1).min(dim=1).values
    compare(ours["leader_gradient"], "actor", actor, (0.3 * log_pi - q).mean())

    next_actions, next_log_pi = actor.action_log_prob(tensors["next_obs"])
    next_q = th.cat(target(tensors["next_obs"], next_actions), dim=1).min(dim=1).values
    y = tensors["rewards"] + 0.99 * (1 - tensors["dones"]) * (next_q - 0.3 * next_log_pi)
    loss = sum((q.flatten() - y.detach()).square().mean() for q in critic(*both(tensors)))
    compare(ours["follower_gradient"], "critic", critic, loss)
    assert max(np.abs(term).max() for term in ours["implicit_term"].values()) > 1e-4

    with pytest.raises(ValueError, match=r"noise has shape"):
        game_gradients(model, {**batch, "noise": noise[:5]})


def both(tensors):
    return tensors["obs"], tensors["actions"]


def compare(ours, prefix, module, loss):
    names, parameters = zip(*module.named_parameters(), strict=True)
    assert {f"{prefix}.{name}" for name in names} == set(ours)
    for name, gradient in zip(names, th.autograd.grad(loss, parameters), strict=True):
        scale = max(1e-3, float(gradient.abs().max()))
        assert np.allclose(ours[f"{prefix}.{name}"], gradient, atol=1e-3 * scale), name


@pytest.mark.parametrize(
    "kind, keywords, words",
    [
        (SAC, {"engine": "fused"}, "use_sde"),
        (AC, {"policy_kwargs": {"full_std": False}}, "full_std"),
        (AC, {"policy_kwargs": {"squash_output": True}}, "squash_output"),
    ],
)
def test_what_it_does_not_go_with_is_refused_by_name(kind, keywords, words):
    with pytest.raises(ValueError, match=words):
        kind("MlpPolicy", "Pendulum-v1", use_sde=True, **keywords)


class Still(gym.Env):
    """Where nothing changes."""

    observation_space = gym.spaces.Box(-1, 1, (3,))
    action_space = gym.spaces.Box(-1, 1, (2,))

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return np.ones(3, np.float32), {}

    def step(self, action):
        return np.ones(3, np.float32), 0.0, False, False, {}


@pytest.mark.parametrize("train_freq, sde_sample_freq", [(1, -1), (8, -1), (12, 5)])
def test_exploration_matrices_last_as_long_as_in_stable_baselines3(train_freq, sde_sample_freq):
    """Under one state and one policy, actions change with the matrix alone."""
    changes = {}
    for kind in (SAC, sb3.SAC):
        actions = []
        keywords = {"train_freq": train_freq, "sde_sample_freq": sde_sample_freq}
        keywords |= {"use_sde": True, "use_sde_at_warmup": True, "learning_starts": 1000, "seed": 0}
        model = kind("MlpPolicy", Still(), **keywords)
        model.learn(40, callback=lambda local, _, to=actions: to.append(local["actions"]) or True)
        pairs = enumerate(itertools.pairwise(actions), 1)
        changes[kind] = [step for step, (a, b) in pairs if not np.array_equal(a, b)]
    assert changes[SAC] == changes[sb3.SAC] != []
