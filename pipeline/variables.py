"""THE registry: each quantity's names, units, bounds, precision, colour map. One entry says all of it.

Names in Python are full words; ``name`` is the community's short name on disk; ``standard_name`` is CF's.
Units are those of the product on disk (UDUNITS); sources convert to them, nothing else does.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field


class Entry(BaseModel):
    """A frozen, strict registry entry: a misspelt field fails at import."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")


class Kind(StrEnum):
    """What a quantity belongs to: each kind is ingested, gridded and checked as one.

    No quantity is of ``FORCING``: it is the surface of the days after the start, as a weather forecast has it.
    """

    OCEAN = "ocean"
    SURFACE = "surface"
    WAVES = "waves"
    BIOGEOCHEMISTRY = "biogeochemistry"
    STATIC = "static"
    FORCING = "forcing"


class Variable(Entry):
    """One quantity.

    ``lower``/``upper``: the values outside which a field is not this quantity, in ``units``: the gate's bounds
    on inputs and outputs (their origin is ``bounds_from``). ``mantissa_bits`` are kept on disk (float32 has 23):
    rounding adds at most a twentieth to differences between neighbouring cells (``tests/benchmarks/precision.py``).
    ``has_depth``: given at every depth of the system. ``circular``: an angle in degrees, averaged as a vector.
    ``logarithmic``: spread over decades: drawn and modelled on a logarithmic scale.
    """

    name: str
    kind: Kind
    title: str
    standard_name: str
    units: str
    lower: float
    upper: float
    bounds_from: str
    mantissa_bits: int = Field(ge=1, le=23)
    colour_map: str
    has_depth: bool = False
    circular: bool = False
    diverging: bool = False
    logarithmic: bool = False
    units_metadata: str | None = None
    comment: str | None = None


WORLD_OCEAN = "World Ocean Database accepted range, widened to the nearest round number"
ERA5_RANGE = "ERA5 climatological extremes, widened to the nearest round number"
NOBM_RANGE = "NASA NOBM 1998-2015 extremes, widened to the nearest round number"

TEMPERATURE = Variable(
    name="to",
    kind=Kind.OCEAN,
    title="Sea water temperature (in situ)",
    standard_name="sea_water_temperature",
    units="degC",
    lower=-3.0,
    upper=40.0,
    bounds_from=WORLD_OCEAN,
    mantissa_bits=12,
    colour_map="thermal",
    has_depth=True,
    units_metadata="temperature: on_scale",
)
SALINITY = Variable(
    name="so",
    kind=Kind.OCEAN,
    title="Sea water practical salinity",
    standard_name="sea_water_practical_salinity",
    units="1",
    lower=0.0,
    upper=45.0,
    bounds_from=WORLD_OCEAN,
    mantissa_bits=14,
    colour_map="haline",
    has_depth=True,
)
EASTWARD_VELOCITY = Variable(
    name="uo",
    kind=Kind.OCEAN,
    title="Eastward sea water velocity",
    standard_name="eastward_sea_water_velocity",
    units="m s-1",
    lower=-5.0,
    upper=5.0,
    bounds_from="twice the fastest drifter speed on record",
    mantissa_bits=9,
    colour_map="balance",
    has_depth=True,
    diverging=True,
)
NORTHWARD_VELOCITY = Variable(
    name="vo",
    kind=Kind.OCEAN,
    title="Northward sea water velocity",
    standard_name="northward_sea_water_velocity",
    units="m s-1",
    lower=-5.0,
    upper=5.0,
    bounds_from="twice the fastest drifter speed on record",
    mantissa_bits=9,
    colour_map="balance",
    has_depth=True,
    diverging=True,
)
SEA_SURFACE_HEIGHT = Variable(
    name="zos",
    kind=Kind.OCEAN,
    title="Sea surface height above geoid",
    standard_name="sea_surface_height_above_geoid",
    units="m",
    lower=-5.0,
    upper=5.0,
    bounds_from="HYCOM surf_el extremes with tides, widened",
    mantissa_bits=12,
    colour_map="balance",
    diverging=True,
)

EASTWARD_WIND = Variable(
    name="u10",
    kind=Kind.SURFACE,
    title="Eastward wind at 10 m",
    standard_name="eastward_wind",
    units="m s-1",
    lower=-70.0,
    upper=70.0,
    bounds_from=ERA5_RANGE,
    mantissa_bits=10,
    colour_map="balance",
    diverging=True,
)
NORTHWARD_WIND = Variable(
    name="v10",
    kind=Kind.SURFACE,
    title="Northward wind at 10 m",
    standard_name="northward_wind",
    units="m s-1",
    lower=-70.0,
    upper=70.0,
    bounds_from=ERA5_RANGE,
    mantissa_bits=10,
    colour_map="balance",
    diverging=True,
)
AIR_TEMPERATURE = Variable(
    name="t2m",
    kind=Kind.SURFACE,
    title="Air temperature at 2 m",
    standard_name="air_temperature",
    units="K",
    lower=180.0,
    upper=335.0,
    bounds_from=ERA5_RANGE,
    mantissa_bits=13,
    colour_map="thermal",
    units_metadata="temperature: on_scale",
)
SEA_LEVEL_PRESSURE = Variable(
    name="msl",
    kind=Kind.SURFACE,
    title="Air pressure at mean sea level",
    standard_name="air_pressure_at_mean_sea_level",
    units="Pa",
    lower=85_000.0,
    upper=110_000.0,
    bounds_from=ERA5_RANGE,
    mantissa_bits=16,
    colour_map="matter",
)
SURFACE_PRESSURE = Variable(
    name="sp",
    kind=Kind.SURFACE,
    title="Surface air pressure",
    standard_name="surface_air_pressure",
    units="Pa",
    lower=45_000.0,
    upper=110_000.0,
    bounds_from=ERA5_RANGE,
    mantissa_bits=16,
    colour_map="matter",
)

WAVE_HEIGHT = Variable(
    name="swh",
    kind=Kind.WAVES,
    title="Significant height of combined wind waves and swell",
    standard_name="sea_surface_wave_significant_height",
    units="m",
    lower=0.0,
    upper=25.0,
    bounds_from=ERA5_RANGE,
    mantissa_bits=9,
    colour_map="amp",
)
WAVE_PERIOD = Variable(
    name="mwp",
    kind=Kind.WAVES,
    title="Mean wave period",
    standard_name="sea_surface_wave_mean_period_from_variance_spectral_density_inverse_frequency_moment",
    units="s",
    lower=0.5,
    upper=30.0,
    bounds_from=ERA5_RANGE,
    mantissa_bits=10,
    colour_map="tempo",
)
WAVE_DIRECTION = Variable(
    name="mwd",
    kind=Kind.WAVES,
    title="Mean wave direction, from which the waves come",
    standard_name="sea_surface_wave_from_direction",
    units="degree",
    lower=0.0,
    upper=360.0,
    bounds_from="a compass bearing, clockwise from north",
    mantissa_bits=9,
    colour_map="phase",
    circular=True,
)

_TAXON = "CF names this phytoplankton group only through a taxon coordinate; the title says which group it is"
CHLOROPHYLL = Variable(
    name="chl",
    kind=Kind.BIOGEOCHEMISTRY,
    title="Total chlorophyll a",
    standard_name="mass_concentration_of_chlorophyll_a_in_sea_water",
    units="mg m-3",
    lower=0.0,
    upper=100.0,
    bounds_from=NOBM_RANGE,
    mantissa_bits=9,
    logarithmic=True,
    colour_map="algae",
)
CHLOROPHYTES = Variable(
    name="chlorophytes",
    kind=Kind.BIOGEOCHEMISTRY,
    title="Chlorophytes expressed as chlorophyll",
    standard_name="mass_concentration_of_phytoplankton_expressed_as_chlorophyll_in_sea_water",
    units="mg m-3",
    lower=0.0,
    upper=100.0,
    bounds_from=NOBM_RANGE,
    mantissa_bits=9,
    logarithmic=True,
    colour_map="algae",
    comment=_TAXON,
)
DIATOMS = Variable(
    name="diatoms",
    kind=Kind.BIOGEOCHEMISTRY,
    title="Diatoms expressed as chlorophyll",
    standard_name="mass_concentration_of_diatoms_expressed_as_chlorophyll_in_sea_water",
    units="mg m-3",
    lower=0.0,
    upper=100.0,
    bounds_from=NOBM_RANGE,
    mantissa_bits=9,
    logarithmic=True,
    colour_map="algae",
)
COCCOLITHOPHORES = Variable(
    name="coccolithophores",
    kind=Kind.BIOGEOCHEMISTRY,
    title="Coccolithophores expressed as chlorophyll",
    standard_name="mass_concentration_of_calcareous_phytoplankton_expressed_as_chlorophyll_in_sea_water",
    units="mg m-3",
    lower=0.0,
    upper=100.0,
    bounds_from=NOBM_RANGE,
    mantissa_bits=9,
    logarithmic=True,
    colour_map="algae",
)
CYANOBACTERIA = Variable(
    name="cyanobacteria",
    kind=Kind.BIOGEOCHEMISTRY,
    title="Cyanobacteria expressed as chlorophyll",
    standard_name="mass_concentration_of_phytoplankton_expressed_as_chlorophyll_in_sea_water",
    units="mg m-3",
    lower=0.0,
    upper=100.0,
    bounds_from=NOBM_RANGE,
    mantissa_bits=9,
    logarithmic=True,
    colour_map="algae",
    comment=_TAXON,
)
IRON = Variable(
    name="fe",
    kind=Kind.BIOGEOCHEMISTRY,
    title="Dissolved iron",
    standard_name="mole_concentration_of_dissolved_iron_in_sea_water",
    units="umol m-3",
    lower=0.0,
    upper=100.0,
    bounds_from=NOBM_RANGE,
    mantissa_bits=9,
    logarithmic=True,
    colour_map="matter",
    comment="1 umol m-3 is 1 nmol L-1",
)
NITRATE = Variable(
    name="no3",
    kind=Kind.BIOGEOCHEMISTRY,
    title="Nitrate",
    standard_name="mole_concentration_of_nitrate_in_sea_water",
    units="mmol m-3",
    lower=0.0,
    upper=100.0,
    bounds_from=NOBM_RANGE,
    mantissa_bits=9,
    logarithmic=True,
    colour_map="matter",
    comment="1 mmol m-3 is 1 umol L-1",
)
MIXED_LAYER_DEPTH = Variable(
    name="mld",
    kind=Kind.BIOGEOCHEMISTRY,
    title="Ocean mixed layer thickness",
    standard_name="ocean_mixed_layer_thickness",
    units="m",
    lower=0.0,
    upper=6000.0,
    bounds_from="no deeper than the ocean's abyssal plains",
    mantissa_bits=9,
    logarithmic=True,
    colour_map="deep",
)

TOPOGRAPHY = Variable(
    name="elevation",
    kind=Kind.STATIC,
    title="Height of the solid Earth above the geoid, negative under the sea",
    standard_name="ground_level_altitude",
    units="m",
    lower=-12_000.0,
    upper=9_000.0,
    bounds_from="Challenger Deep and Mount Everest, widened",
    mantissa_bits=12,
    colour_map="topo",
    diverging=True,
)

OCEAN = (TEMPERATURE, SALINITY, EASTWARD_VELOCITY, NORTHWARD_VELOCITY, SEA_SURFACE_HEIGHT)
SURFACE = (EASTWARD_WIND, NORTHWARD_WIND, AIR_TEMPERATURE, SEA_LEVEL_PRESSURE, SURFACE_PRESSURE)
WAVES = (WAVE_HEIGHT, WAVE_PERIOD, WAVE_DIRECTION)
BIOGEOCHEMISTRY = (
    CHLOROPHYLL,
    CHLOROPHYTES,
    DIATOMS,
    COCCOLITHOPHORES,
    CYANOBACTERIA,
    IRON,
    NITRATE,
    MIXED_LAYER_DEPTH,
)
STATIC = (TOPOGRAPHY,)
VARIABLES: tuple[Variable, ...] = OCEAN + SURFACE + WAVES + BIOGEOCHEMISTRY + STATIC

DEPTHS_M: tuple[float, ...] = (0, 6, 10, 20, 30, 50, 70, 100, 125, 150, 200, 250, 300, 400, 500)
"""AI-GOMS's fifteen depths in metres, an exact subset of HYCOM's forty (arXiv 2308.03152)."""


def variable(name: str) -> Variable:
    """The registry entry with this on-disk name; ``KeyError`` names the nearest if there is none."""
    for entry in VARIABLES:
        if entry.name == name:
            return entry
    raise KeyError(f"no variable {name!r} in the registry; it has {', '.join(v.name for v in VARIABLES)}")


def of_kind(kind: Kind) -> tuple[Variable, ...]:
    """All variables of a kind, in registry order."""
    return tuple(v for v in VARIABLES if v.kind == kind)
