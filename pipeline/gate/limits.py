"""Every threshold of the gate on gridded fields, and where it came from.

Measured, with ``python tests/benchmarks/gate_limits.py``: *real*, HYCOM's Coral Sea of 2023-01-02 beside that of the
day before at 15 depths, and ERA5's winds there on three days; *twin*, the twin ocean on the Coral Sea's points, 12 days
of a year and as many seeds, and globally at 1 degree, 2 days. A threshold stands well outside what was measured and
inside what the fault does that it is there for; what is between is labelled and goes on.
"""

from __future__ import annotations

from enum import StrEnum

from pipeline.gate import measures, physics
from pipeline.gate.measures import Measuring
from pipeline.gate.thresholds import Thresholds
from pipeline.variables import BIOGEOCHEMISTRY, OCEAN, SURFACE, WAVES


class Check(StrEnum):
    """What is looked at, by the name that a report gives it."""

    SEASON = "departure from the season"
    COMMON = "share of one value"
    LINES = "share of repeated lines"
    SPIKES = "largest spike"
    STALE = "share unchanged since yesterday"
    JUMP = "change since yesterday"
    LOCAL_JUMP = "change of a block since yesterday"
    PATTERN = "likeness to yesterday"
    SPREAD = "change of spread since yesterday"
    FORECAST = "change from yesterday's forecast"
    FORECAST_PATTERN = "likeness to yesterday's forecast"
    BALANCE = "likeness to geostrophic currents"
    BALANCE_SIZE = "size against geostrophic currents"
    WIND = "likeness to balanced winds"


MEASURING: dict[Check, Measuring] = {
    Check.SEASON: measures.off_season,
    Check.COMMON: measures.most_common,
    Check.LINES: measures.repeated_lines,
    Check.SPIKES: measures.spikes,
    Check.STALE: measures.unchanged,
    Check.JUMP: measures.jump,
    Check.LOCAL_JUMP: measures.local_jump,
    Check.PATTERN: measures.pattern,
    Check.SPREAD: measures.spread_change,
    Check.FORECAST: measures.forecast_jump,
    Check.FORECAST_PATTERN: measures.forecast_pattern,
    Check.BALANCE: physics.geostrophy,
    Check.BALANCE_SIZE: physics.geostrophic_size,
    Check.WIND: physics.wind_balance,
}
"""How each check is measured."""

OF_YESTERDAY = {Check.STALE, Check.JUMP, Check.LOCAL_JUMP, Check.PATTERN, Check.SPREAD}
OF_FORECAST = {Check.FORECAST, Check.FORECAST_PATTERN}


class Limit(Thresholds):
    """A check of some variables of an input, with its thresholds; ``own units`` are the variable's."""

    check: Check
    variables: tuple[str, ...]


_OCEAN, _SURFACE, _WAVES, _LIFE = (tuple(entry.name for entry in kind) for kind in (
    OCEAN, SURFACE, WAVES, BIOGEOCHEMISTRY))  # fmt: skip
_TRACERS, _CURRENTS, _HEIGHT = ("to", "so"), ("uo", "vo"), ("zos",)
_OF_SPREAD, _SHARE = "of the spread", "of the cells"

LIMITS: tuple[Limit, ...] = (
    Limit(check=Check.SEASON, variables=("to",), refuse=15.0, units="degC",
          origin="real 0.9, twin 0.5; degrees Fahrenheit are off by 29 and more, a column upside down by 17"),
    Limit(check=Check.SEASON, variables=("so",), label=2.0, refuse=5.0, units="1",
          origin="real 0.11, twin 0.04; kilograms per kilogram are off by 35"),
    Limit(check=Check.SEASON, variables=("zos",), label=1.0, refuse=3.0, units="m",
          origin="real 0.01, twin 0.05; geoids and reference periods of archives differ by some 0.5"),
    Limit(check=Check.SEASON, variables=("u10", "v10"), label=8.0, units="m s-1",
          origin="real 3.7, twin 1.3; trade winds of 6 with the wrong sign are off by 12"),
    Limit(check=Check.SEASON, variables=("t2m",), label=8.0, refuse=20.0, units="K",
          origin="twin 0.3; weather moves a small sea's mean by 5 or so, Celsius is out of bounds, Fahrenheit far off"),
    Limit(check=Check.SEASON, variables=("msl", "sp"), label=3000.0, units="Pa",
          origin="real 362, twin 178; the centre of a strong cyclone is 6000 below its surroundings"),
    Limit(check=Check.COMMON, variables=_TRACERS + _HEIGHT + _SURFACE, label=0.15, refuse=0.3, units=_SHARE,
          origin="real 0.021, twin 0.055 (salinity at 500 m in steps of 0.001); a fifth of zeros has 0.2"),
    Limit(check=Check.COMMON, variables=_CURRENTS, label=0.25, refuse=0.3, units=_SHARE,
          origin="real 0.037 (at 500 m in steps of 0.001 m s-1), twin 0.21 (a quiet sea there); zeros for nulls 0.4"),
    Limit(check=Check.COMMON, variables=_WAVES + _LIFE, label=0.3, refuse=0.6, units=_SHARE,
          origin="twin 0.006; real plankton and waves clip at the packing's ends, how often is not known"),
    Limit(check=Check.LINES, variables=_OCEAN + _SURFACE, label=0.01, refuse=0.05, units="of the rows or columns",
          origin="real and twin 0.000 on every day; a transfer that broke off repeats its last line"),
    Limit(check=Check.SPIKES, variables=_TRACERS, label=9.0, refuse=15.0, units=_OF_SPREAD,
          origin="real 6.2 (at the Great Barrier Reef, 200 m), twin 2.9; a flipped bit of 4 degC at depth is 20"),
    Limit(check=Check.SPIKES, variables=_CURRENTS, label=15.0, refuse=25.0, units=_OF_SPREAD,
          origin="real 3.4, twin 11.1 (the equatorial jets over the quiet of the rest)"),
    Limit(check=Check.SPIKES, variables=_HEIGHT, label=2.0, refuse=4.0, units=_OF_SPREAD,
          origin="real 0.43, twin 0.46; one packed value of 2 m among tenths is 10"),
    Limit(check=Check.SPIKES, variables=_SURFACE, label=4.0, refuse=12.0, units=_OF_SPREAD,
          origin="real 1.9 (temperature 1.2), twin 3.3; of temperature and pressure at the ground the open sea"),
    Limit(check=Check.STALE, variables=_OCEAN + _SURFACE, label=0.9, refuse=0.99, units=_SHARE,
          origin="real 0.14 (salinity), twin 0.77 (salinity at 500 m in steps of 0.001); yesterday's file again has 1"),
    Limit(check=Check.STALE, variables=_WAVES + _LIFE, label=0.99, units=_SHARE,
          origin="twin 0.27; means of a month may stand for each of its days, so that it is not refused"),
    Limit(check=Check.JUMP, variables=_TRACERS, label=0.7, refuse=1.0, units=_OF_SPREAD,
          origin="real 0.47 (salinity at 200 m), twin 0.16; a field of another place or sign has 1.4 to 2"),
    Limit(check=Check.JUMP, variables=_CURRENTS, label=0.9, refuse=1.2, units=_OF_SPREAD,
          origin="real 0.66 (surface, 0.33 below), twin 0.2, satellite currents off the Agulhas 0.33 over a year; "
          "unrelated fields of equal spread have 1.41"),
    Limit(check=Check.JUMP, variables=_HEIGHT, label=0.5, refuse=1.0, units=_OF_SPREAD,
          origin="real 0.19, twin 0.11; unrelated fields of equal spread have 1.41"),
    Limit(check=Check.JUMP, variables=_SURFACE, label=10.0, units=_OF_SPREAD,
          origin="real 2.8 (pressure over a small sea, whose mean moves), twin 1.9, 5.2 on a year's calmest day over "
          "9 by 13 degrees: weather changes within a day"),
    Limit(check=Check.JUMP, variables=_WAVES, label=2.0, units=_OF_SPREAD,
          origin="twin 0.56; real waves follow the weather: labelled only"),
    Limit(check=Check.JUMP, variables=_LIFE, label=0.6, units=_OF_SPREAD,
          origin="twin 0.125 (mixed layer); between two archives more is to be expected: labelled only"),
    Limit(check=Check.LOCAL_JUMP, variables=_OCEAN, label=1.5, refuse=3.0, units=_OF_SPREAD,
          origin="real 0.82, twin 0.78; a tile of zeros in temperature has 10, one from elsewhere 2 to 5"),
    Limit(check=Check.PATTERN, variables=_TRACERS, label=0.85, refuse=0.5, least=True, units="correlation",
          origin="real 0.906 (salinity at 200 m, else 0.95), twin 0.989; turned over in latitude it is negative"),
    Limit(check=Check.PATTERN, variables=_CURRENTS, label=0.7, refuse=0.3, least=True, units="correlation",
          origin="real 0.83 (surface, 0.94 below), twin 0.98; a field of another place has 0"),
    Limit(check=Check.PATTERN, variables=_HEIGHT, label=0.9, refuse=0.6, least=True, units="correlation",
          origin="real 0.986, twin 0.994; moved by two degrees it has 0.6"),
    Limit(check=Check.PATTERN, variables=_LIFE, label=0.8, least=True, units="correlation",
          origin="twin 0.993; between two archives less is to be expected: labelled only"),
    Limit(check=Check.SPREAD, variables=_OCEAN, label=1.5, refuse=2.0, units="times",
          origin="real 1.20 (surface currents, 1.1 below), twin 1.07; a wrong scale factor has 2 or 10"),
    Limit(check=Check.FORECAST, variables=_OCEAN, label=1.5, units=_OF_SPREAD,
          origin="a forecast that knows nothing has 1.41: the forecast itself may be what is wrong, labelled only"),
    Limit(check=Check.FORECAST_PATTERN, variables=_OCEAN, label=0.5, least=True, units="correlation",
          origin="half of what persistence has over a day at the least (real 0.83): labelled only"),
    Limit(check=Check.BALANCE, variables=_HEIGHT, label=0.6, refuse=0.2, least=True, units="correlation",
          origin="real 0.89, twin 0.94; with a wrong sign it is negative, with a height of another place 0. Measured "
          "without tides, which lower it"),
    Limit(check=Check.BALANCE_SIZE, variables=_HEIGHT, label=1.6, refuse=2.5, units="times",
          origin="real 1.06, twin 1.0 to 1.2; knots have 1.9, kilometres an hour 3.6, heights in feet 3.3"),
    Limit(check=Check.WIND, variables=("msl",), label=0.3, least=True, units="correlation",
          origin="twin 0.87 globally; on small seas anything (real 0.26, twin down to -0.6): it is not asked there"),
)  # fmt: skip
"""The gate on gridded fields. What is read off the archive's own points has its limits in ``reading``, the coast in
``pipeline.earth.coast``."""
