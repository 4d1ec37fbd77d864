"""What a forecast must be before readers see it: bounds of every value, and laws that hold from day to day.

``bounds`` looks at a day by itself, and what it refuses ends the rollout at once. ``laws`` measures how a day follows
from the one before and from the start; ``limits`` has every threshold and where it came from; ``judging`` holds one
against the other while the days stream by; ``report`` is what is kept of it all.
"""

from pipeline.output_gate.bounds import SPEED_CAP_M_S, channels_of, check, grid_of

__all__ = ["SPEED_CAP_M_S", "channels_of", "check", "grid_of"]
