"""What every program measured is given. Names are Stable-Baselines3's, and so are ours."""

ENV = "Walker2d-v4"
HIDDEN = [256, 256]
ROUND = 50
OFF_POLICY = {
    "learning_rate": 1e-3,
    "buffer_size": 1_000_000,
    "learning_starts": 1_000,
    "batch_size": 100,
    "tau": 0.005,
    "gamma": 0.99,
    "train_freq": ROUND,
    "gradient_steps": ROUND,
}
EXPLORATION_NOISE = 0.1  # of DDPG and TD3: standard deviation, of actions between -1 and 1
ENTROPY_COEFFICIENT = 0.2  # of SAC, fixed
# RLtools' own environment. Smaller networks than ENV's: 3 observations, 1 action.
PENDULUM = "its C++ pendulum"
