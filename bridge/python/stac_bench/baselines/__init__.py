"""Baselines of Stable-Baselines3, trained by RL Zoo with our settings."""
