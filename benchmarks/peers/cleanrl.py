"""The JAX form of CleanRL's DDPG and TD3: its update rule, restated.

One jitted function updates the critics, another the actor and all targets; transitions come from
Stable-Baselines3's replay buffer. As there, an update follows every step, and actions are drawn on
the host. Other than there, the environment stands alone (not in a vector of one), nothing is
logged, and DDPG's actor steps at every update (there, at every second), as that of all others here.
"""

import flax.linen as nn
import gymnasium as gym
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax.training.train_state import TrainState
from gymnasium.spaces import Box
from settings import EXPLORATION_NOISE, HIDDEN, OFF_POLICY
from stable_baselines3.common.buffers import ReplayBuffer

# Standard deviation and bound of the noise on a target's actions; updates per step of the actor.
RULES = {"ddpg": {"noise": 0.0, "clip": 0.0, "delay": 1, "critics": 1}}
RULES["td3"] = {"noise": 0.2, "clip": 0.5, "delay": 2, "critics": 2}


class Network(nn.Module):
    outputs: int
    bounded: bool = False

    @nn.compact
    def __call__(self, x):
        for width in HIDDEN:
            x = nn.relu(nn.Dense(width)(x))
        x = nn.Dense(self.outputs)(x)
        return jnp.tanh(x) if self.bounded else x


class Player(TrainState):
    """A network with its optimiser and its target."""

    target: dict

    @classmethod
    def new(cls, network, key, inputs):
        params = network.init(key, jnp.zeros((1, inputs)))
        adam = optax.adam(OFF_POLICY["learning_rate"])
        return cls.create(apply_fn=network.apply, params=params, target=params, tx=adam)

    def follow(self):
        average = optax.incremental_update(self.params, self.target, OFF_POLICY["tau"])
        return self.replace(target=average)


def value(critic, params, obs, actions):
    return critic.apply_fn(params, jnp.concatenate([obs, actions], -1))[:, 0]


def updates(rules):
    """The two jitted functions."""

    @jax.jit
    def of_critics(actor, critics, batch, key):
        obs, actions, next_obs, rewards, dones = batch
        noise = rules["noise"] * jax.random.normal(key, actions.shape)
        noise = jnp.clip(noise, -rules["clip"], rules["clip"])
        next_actions = jnp.clip(actor.apply_fn(actor.target, next_obs) + noise, -1, 1)
        next_values = [value(c, c.target, next_obs, next_actions) for c in critics]
        targets = rewards + OFF_POLICY["gamma"] * (1 - dones) * jnp.stack(next_values).min(0)

        def step(critic):
            loss = lambda params: ((value(critic, params, obs, actions) - targets) ** 2).mean()  # noqa: E731
            return critic.apply_gradients(grads=jax.grad(loss)(critic.params))

        return [step(critic) for critic in critics]

    @jax.jit
    def of_actor_and_targets(actor, critics, obs):
        first = critics[0]

        def loss(params):
            return -value(first, first.params, obs, actor.apply_fn(params, obs)).mean()

        actor = actor.apply_gradients(grads=jax.grad(loss)(actor.params))
        return actor.follow(), [critic.follow() for critic in critics]

    return of_critics, of_actor_and_targets


def train(peer, algo, env, seed, threads, watch):
    """Trains until `watch(steps)` says that it is enough. XLA takes its threads from variables."""
    rules = RULES[algo]
    env = gym.make(env)
    obs_space, action_space = env.observation_space, env.action_space
    (n,), (m,) = obs_space.shape, action_space.shape
    floats = Box(obs_space.low, obs_space.high, dtype=np.float32)
    replay = ReplayBuffer(OFF_POLICY["buffer_size"], floats, action_space, device="cpu")
    rng = np.random.default_rng(seed)
    action_space.seed(seed)
    key, *keys = jax.random.split(jax.random.key(seed), 2 + rules["critics"])
    actor = Player.new(Network(m, bounded=True), keys[0], n)
    critics = [Player.new(Network(1), k, n + m) for k in keys[1:]]
    policy = jax.jit(actor.apply_fn)
    of_critics, of_actor_and_targets = updates(rules)

    obs, _ = env.reset(seed=seed)
    step = 0
    while True:
        if step < OFF_POLICY["learning_starts"]:
            action = action_space.sample()
        else:
            action = np.asarray(policy(actor.params, obs[None]))[0]
            action = np.clip(action + rng.normal(0, EXPLORATION_NOISE, m), -1, 1)
        next_obs, reward, terminated, truncated, _ = env.step(action)
        replay.add(obs, next_obs, action, reward, np.array([terminated]), [{}])
        obs = env.reset()[0] if terminated or truncated else next_obs

        if step > OFF_POLICY["learning_starts"]:
            batch = [part.numpy() for part in replay.sample(OFF_POLICY["batch_size"])[:5]]
            obs_rows, actions, next_rows, dones, rewards = batch
            batch = obs_rows, actions, next_rows, rewards[:, 0], dones[:, 0]
            key, noise = jax.random.split(key)
            critics = of_critics(actor, critics, batch, noise)
            if step % rules["delay"] == 0:
                actor, critics = of_actor_and_targets(actor, critics, obs_rows)
        step += 1
        if not watch(step):
            return
