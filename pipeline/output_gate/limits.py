"""Every threshold on a forecast's days, and where it came from."""

from __future__ import annotations

from pipeline.gate.thresholds import Thresholds
from pipeline.output_gate.laws import Law
from pipeline.variables import BIOGEOCHEMISTRY, OCEAN


class Limit(Thresholds):
    """A law for some variables of one of the forecaster's arrays; ``own`` units are the variable's."""

    law: Law
    array: str
    variables: tuple[str, ...]


_TRACERS, _CURRENTS, _HEIGHT = ("to", "so"), ("uo", "vo"), ("zos",)
_OCEAN, _LIFE = tuple(entry.name for entry in OCEAN), tuple(entry.name for entry in BIOGEOCHEMISTRY)
_OF_SPREAD, _TIMES, _SHARE, _DECADES = "of the spread", "times", "of the cells", "decades"


def _of_the_sea(array: str) -> tuple[Limit, ...]:
    """What holds for the ocean and for its downscaled surface alike."""
    return (
        Limit(law=Law.JUMP, array=array, variables=_OCEAN, label=0.5, refuse=1.0, units=_OF_SPREAD,
              origin="twin 0.18, real 0.10, regional 0.15; a field of another place or sign has 1.4 to 2"),
        Limit(law=Law.LEAP, array=array, variables=("to",), label=3.0, refuse=10.0, units="own",
              origin="twin 0.51, real 0.21, regional 0.23; a field of elsewhere is off by 5 to 20"),
        Limit(law=Law.LEAP, array=array, variables=("so",), label=1.0, refuse=5.0, units="own",
              origin="twin 0.03, real and regional 0.015; kilograms per kilogram are off by 35"),
        Limit(law=Law.LEAP, array=array, variables=_CURRENTS, label=1.0, refuse=3.0, units="own",
              origin="twin 0.16, real and regional 0.04; a component at its cap with the wrong sign is 10"),
        Limit(law=Law.LEAP, array=array, variables=_HEIGHT, label=0.5, refuse=1.5, units="own",
              origin="twin 0.04, real and regional 0.02; storm surges, which no forecast here has, are 1"),
        Limit(law=Law.SPREAD, array=array, variables=_OCEAN, label=4.0, refuse=10.0, units=_TIMES,
              origin="twin 1.18, real 3.1 (currents at 500 m on day 30), regional 2.3; a rollout that blows up doubles "
              "every few days"),
        Limit(law=Law.FASTEST, array=array, variables=("uo",), label=3.0, units="m s-1",
              origin="twin 1.42, real 1.39; the fastest drifters on record made 2.5, and 5 is out of bounds"),
        Limit(law=Law.ENERGY, array=array, variables=("uo",), label=5.0, refuse=20.0, units=_TIMES,
              origin="twin 1.28, real 6.1 (at 500 m on day 30, which is doubtful and labelled), regional 3.8"),
        Limit(law=Law.ENERGY_LEFT, array=array, variables=("uo",), label=0.3, refuse=0.02, least=True, units=_TIMES,
              origin="twin 0.82, real 1.0, regional 0.56; a rollout that blurs loses its eddies"),
    )  # fmt: skip


LIMITS: tuple[Limit, ...] = (
    *_of_the_sea("ocean"),
    *_of_the_sea("kuroshio"),
    Limit(law=Law.DRIFT, array="ocean", variables=("to",), label=1.5, refuse=5.0, units="own",
          origin="twin 0.085, real 0.98 (at 100 m on day 30), regional 0.20; the season itself is taken off before"),
    Limit(law=Law.DRIFT, array="ocean", variables=("so",), label=0.3, refuse=1.0, units="own",
          origin="twin 0.004, real 0.09, regional 0.011; rain and rivers do not move a sea's mean by 1 in a month"),
    Limit(law=Law.DRIFT, array="ocean", variables=("zos",), label=0.2, refuse=1.0, units="own",
          origin="twin 0.0007, real 0.06, regional 0.015; the means of real seas move by 0.1 with the season"),
    Limit(law=Law.STABILITY, array="ocean", variables=("to",), label=0.05, refuse=0.25, units=_SHARE,
          origin="twin 0.004, real 0.001; a column upside down has 1, levels of noise have half"),
    Limit(law=Law.JUMP, array="waves", variables=("swh", "mwp"), label=2.0, units=_OF_SPREAD,
          origin="twin 0.22; unrelated seas have 1.4, and seas follow the weather: labelled only"),
    Limit(law=Law.LEAP, array="waves", variables=("swh",), label=8.0, refuse=18.0, units="own",
          origin="twin 1.6; a cyclone raises the sea by some 10 within a day"),
    Limit(law=Law.SPREAD, array="waves", variables=("swh", "mwp"), label=3.0, refuse=6.0, units=_TIMES,
          origin="twin 1.0, and less as the forecast forgets its storms"),
    Limit(law=Law.STEEPNESS, array="waves", variables=("swh",), label=0.01, refuse=0.1, units=_SHARE,
          origin="twin 0.000 on every day; period and height out of step, as of another day's sea, break in a tenth"),
    Limit(law=Law.JUMP, array="biogeochemistry", variables=_LIFE, label=0.5, refuse=1.0, units=_OF_SPREAD,
          origin="twin 0.145; a field of another place or sign has 1.4 to 2"),
    Limit(law=Law.LEAP, array="biogeochemistry", variables=_LIFE, label=2.5, refuse=4.0, units=_DECADES,
          origin="twin 0.33; plankton doubles once or twice a day, 0.3 each; from nothing to a bloom is 5"),
    Limit(law=Law.SPREAD, array="biogeochemistry", variables=_LIFE, label=2.0, refuse=4.0, units=_TIMES,
          origin="twin 1.03; concentrations are compared by their logarithms, whose spread hardly moves in a month"),
)  # fmt: skip
"""The laws of a forecast. Bounds, the current cap and the land are in ``bounds`` and in the contracts."""
