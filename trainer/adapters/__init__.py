"""Trainers that own their loop: one package each, `outside.py` on our side and `inside.py` in a container."""

NAMES = ("nanogpt",)
