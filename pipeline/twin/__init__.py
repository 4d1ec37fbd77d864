"""The twin: an ocean we make ourselves, deterministic in (seed, date), with a date for every day there is."""

from pipeline.twin.world import Twin

__all__ = ["Twin"]
