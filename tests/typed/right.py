"""What a user writes, fully typed: `mypy --strict` must have nothing to say."""

import numpy as np
from stac_bench import AC, DDPG, SAC, STAC, STDDPG, STSAC, game_gradients, game_solve
from stac_bench.keywords import SolverName


def train(solver: SolverName = "cg", lam: float | None = None) -> STDDPG:
    model = STDDPG("MlpPolicy", "Pendulum-v1", leader="actor", solver=solver, lam=lam, seed=0)
    return model.learn(1_000)


baselines = [
    DDPG("MlpPolicy", "Pendulum-v1", noise_std=0.1, batch_size=100, policy_kwargs={"net_arch": []}),
    SAC("MlpPolicy", "Pendulum-v1", ent_coef="auto_0.1", target_update_interval=2, device="cpu"),
]
trajectories = [
    AC("MlpPolicy", "CartPole-v1", critic_steps=80, step_match=True),
    STAC("MlpPolicy", "CartPole-v1", n_steps=4_000, lam=500.0, leader="actor"),
]
model = train()
damping: float | None = model.lam
leader: str = STSAC("MlpPolicy", "Pendulum-v1", leader="critic", curvature="hessian").leader
model.save("model")
model = STDDPG.load("model")
actions, _ = model.predict(np.zeros(3, np.float32), deterministic=True)
batch: dict[str, np.ndarray] = {}
total = game_gradients(model, batch, solver="dense", lam=0.1)["total_derivative"]
residual: float = game_solve(model, batch, cg_iterations=100)["residual"]
