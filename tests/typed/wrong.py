"""What a user gets wrong: `mypy` must find every line that ends in `# wrong`."""

from stac_bench import AC, DDPG, SAC, STDDPG, game_gradients

STDDPG("MlpPolicy", "Pendulum-v1", leader=3)  # wrong
STDDPG("MlpPolicy", "Pendulum-v1", leader="referee")  # wrong
STDDPG("MlpPolicy", "Pendulum-v1", lam="x")  # wrong
STDDPG("MlpPolicy", "Pendulum-v1", lamda=0.1)  # wrong
DDPG("MlpPolicy", "Pendulum-v1", leader="actor")  # wrong
SAC("MlpPolicy", "Pendulum-v1", ent_coef=None)  # wrong
AC("MlpPolicy", "CartPole-v1", vf_coef=0.5)  # wrong
model = STDDPG("MlpPolicy", "Pendulum-v1")
model.lam = "large"  # wrong
game_gradients(model, {}, solver="magic")  # wrong
