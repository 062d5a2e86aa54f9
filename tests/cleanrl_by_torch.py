"""Makes one update of DDPG or TD3 by benchmarks/peers/cleanrl.py and by PyTorch, and compares, in
double precision: Adam's first step is all but the gradient's sign, to which rounding matters.

.venv-bench/bin/python tests/cleanrl_by_torch.py td3
"""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "benchmarks"))

import jax
import numpy as np
import torch
from peers.cleanrl import RULES, Network, Player, updates
from settings import OFF_POLICY

jax.config.update("jax_enable_x64", True)
N, M, ROWS = 5, 2, OFF_POLICY["batch_size"]
RULE = RULES[sys.argv[1]]


def tensors(params):
    """Weights and biases, layer by layer."""
    layers = [params["params"][f"Dense_{i}"] for i in range(len(params["params"]))]
    return [torch.tensor(np.array(p[k])) for p in layers for k in ("kernel", "bias")]


def net(weights, x):
    for i in range(0, len(weights) - 2, 2):
        x = torch.relu(x @ weights[i] + weights[i + 1])
    return x @ weights[-2] + weights[-1]


def q(weights, obs, actions):
    return net(weights, torch.cat([obs, actions], 1))[:, 0]


def stepped(weights, loss):
    """After one step of Adam."""
    weights = [w.clone().requires_grad_() for w in weights]
    adam = torch.optim.Adam(weights, lr=OFF_POLICY["learning_rate"])
    loss(weights).backward()
    adam.step()
    return [w.detach() for w in weights]


def averaged(new, old):
    tau = OFF_POLICY["tau"]
    return [tau * a + (1 - tau) * b for a, b in zip(new, old, strict=True)]


def same(player, weights, targets):
    for ours, theirs in ((player.params, weights), (player.target, targets)):
        for a, b in zip(tensors(ours), theirs, strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=OFF_POLICY["learning_rate"] * 1e-6)


def doubled(player):
    """In double precision, its targets different from its weights, so that one taken for the other
    shows."""
    params = jax.tree.map(lambda w: w.astype(np.float64), player.params)
    target = jax.tree.map(lambda w: 0.9 * w, params)
    return player.replace(params=params, target=target, opt_state=player.tx.init(params))


def main():
    key, first, *keys = jax.random.split(jax.random.key(0), 2 + RULE["critics"])
    actor = Player.new(Network(M, bounded=True), first, N)
    critics = [Player.new(Network(1), k, N + M) for k in keys]
    actor, *critics = map(doubled, (actor, *critics))
    rng = np.random.default_rng(1)
    shapes = ((ROWS, N), (ROWS, M), (ROWS, N), ROWS)
    batch = [rng.normal(size=shape) for shape in shapes]
    batch[1] = np.tanh(batch[1])
    batch.append(rng.integers(0, 2, ROWS).astype(float))
    noise = RULE["noise"] * np.array(jax.random.normal(key, (ROWS, M)))
    noise = torch.tensor(noise).clip(-RULE["clip"], RULE["clip"])

    of_critics, of_actor_and_targets = updates(RULE)
    new_critics = of_critics(actor, critics, tuple(batch), key)
    new_actor, new_critics = of_actor_and_targets(actor, new_critics, batch[0])

    obs, actions, next_obs, rewards, dones = map(torch.tensor, batch)
    next_actions = torch.tanh(net(tensors(actor.target), next_obs)) + noise
    next_values = [q(tensors(c.target), next_obs, next_actions.clip(-1, 1)) for c in critics]
    y = rewards + OFF_POLICY["gamma"] * (1 - dones) * torch.stack(next_values).amin(0)
    stepped_critics = [
        stepped(tensors(c.params), lambda w: (q(w, obs, actions) - y).square().mean())
        for c in critics
    ]
    through = stepped_critics[0]
    stepped_actor = stepped(
        tensors(actor.params), lambda w: -q(through, obs, torch.tanh(net(w, obs))).mean()
    )
    for new, old, weights in zip(
        [new_actor, *new_critics], [actor, *critics], [stepped_actor, *stepped_critics], strict=True
    ):
        same(new, weights, averaged(weights, tensors(old.target)))


main()
