"""Forecast day -> product: one lead day of one product, labelled by CF-1.11 and ACDD-1.3, honest about itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from pipeline import contracts, credits, provenance
from pipeline.contracts import ForecastDay, InitialState, Product
from pipeline.credits import Publisher
from pipeline.cycle import Cycle
from pipeline.errors import ForecastRefused
from pipeline.forecast import Forecaster
from pipeline.grids import Grid
from pipeline.output_gate import channels_of
from pipeline.precision import round_mantissa
from pipeline.products import ProductEntry
from pipeline.provenance import InputRecord
from pipeline.scoring.reliability import Reliability
from pipeline.systems import ForcingPolicy, System
from pipeline.variables import MIXED_LAYER_DEPTH, SEA_SURFACE_HEIGHT, Kind, Variable

CONVENTIONS = "CF-1.11, ACDD-1.3"
VOCABULARY = "CF Standard Name Table v93"
BOUND = "bound"
"""Name of the dimension of length two of cell bounds."""

TURN_DEGREES = 360.0

OF_THE_WHOLE_COLUMN = (SEA_SURFACE_HEIGHT, MIXED_LAYER_DEPTH)
"""Quantities without depth that are at none: they get no ``depth`` coordinate."""

FORCING_WORDS: Mapping[ForcingPolicy, str] = {
    "persistence": "no future atmosphere is used: the forcing of the start is kept for every lead day",
    "relaxed": "no future atmosphere is used: the forcing of the start relaxes to its day-of-year climatology",
    "forecast": "a weather forecast is used where there is one, {}: on every other lead day the forcing relaxes to its "
    "day-of-year climatology",
}
"""What is known of the future atmosphere, for readers; ``forcing_in_words`` says of which forecast."""

_DEPENDS_ON: Mapping[str, tuple[Kind, ...]] = {
    "ocean": (Kind.OCEAN, Kind.SURFACE, Kind.FORCING, Kind.STATIC),
    "kuroshio": (Kind.OCEAN, Kind.SURFACE, Kind.FORCING, Kind.STATIC),
    "waves": (Kind.OCEAN, Kind.SURFACE, Kind.FORCING, Kind.STATIC, Kind.WAVES),
    "biogeochemistry": (Kind.OCEAN, Kind.SURFACE, Kind.FORCING, Kind.STATIC, Kind.BIOGEOCHEMISTRY),
}
"""The kinds of input each of the forecaster's arrays is made from."""


def forcing_in_words(policy: ForcingPolicy, inputs: Iterable[InputRecord]) -> str:
    """What is known of the future atmosphere in a run with these inputs."""
    if policy != "forecast":
        return FORCING_WORDS[policy]
    notes = [record.note for record in inputs if record.kind is Kind.FORCING and record.note]
    return FORCING_WORDS["forecast"].format("; ".join(notes)) if notes else FORCING_WORDS["relaxed"]


class Facts(BaseModel):
    """What is true of one run and must be said on every product. No wall clock: equal facts, equal bytes.

    ``left_out``: products of the system that this run cannot have, by name, each with its reason.
    ``superseding``: why this revision was made over one that was published; empty for a first one. ``labels``: what
    the output gate has to say of a product, by name. ``skill``: how good its forecasts were lately, by product.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    revision: int = Field(ge=1)
    forecaster: str
    checkpoint_sha256: str
    trained_on: str
    code_version: str
    inputs: tuple[InputRecord, ...]
    left_out: dict[str, str] = Field(default_factory=dict)
    superseding: str = ""
    labels: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    skill: dict[str, Reliability] = Field(default_factory=dict)
    publisher: Publisher = Publisher()

    def degraded(self, entry: ProductEntry) -> tuple[str, ...]:
        """Why a product is less than its system asks for: the reasons of its inputs, and what the output gate says."""
        records = [record for record in self.inputs if record.kind in _DEPENDS_ON[entry.state]]
        reasons = [record.degraded for record in records if record.degraded]
        return tuple(dict.fromkeys((*reasons, *self.labels.get(entry.name, ()))))


def facts(
    initial: InitialState,
    forecaster: Forecaster,
    *,
    revision: int,
    code_version: str,
    publisher: Publisher,
    left_out: Mapping[str, str],
    superseding: str = "",
    skill: Mapping[str, Reliability] | None = None,
) -> Facts:
    """The facts of a run, from its initial state's provenance and its forecaster."""
    return Facts(
        revision=revision,
        forecaster=forecaster.name,
        checkpoint_sha256=forecaster.digest,
        trained_on=forecaster.trained_on,
        code_version=code_version,
        inputs=provenance.records(initial),
        left_out=dict(left_out),
        superseding=superseding,
        skill=dict(skill or {}),
        publisher=publisher,
    )


def _history(facts: Facts) -> str:
    made = f"goms {facts.code_version}: ingest, regrid, initialise, forecast, produce, publish"
    return f"{made}; revision {facts.revision}: {facts.superseding}" if facts.superseding else made


def produce(day: ForecastDay, entry: ProductEntry, system: System, cycle: Cycle, facts: Facts) -> Product:
    """One lead day of one product: (time, depth, latitude, longitude), float32, rounded to the bits kept.

    ``ForecastRefused`` where the day lacks the product's array or its valid time is not start plus lead.
    """
    lead = int(day["lead_day"])
    if entry.state not in day:
        raise _refused(f"the array {entry.state} for product {entry.name}", f"only {list(day.data_vars)}", lead)
    if day["time"].values != _instant(cycle.valid_time(lead)):
        raise _refused(f"valid time {cycle.valid_time(lead):%Y-%m-%dT%H} UTC", f"{day['time'].values}", lead)
    frame = layout(entry, system, cycle, facts).isel(time=[lead])
    labels = channels_of(entry.state, system)
    for item in entry.variables:
        rows = [index for index, channel in enumerate(labels) if channel.variable == item.name]
        values = day[entry.state].values[rows[0] : rows[-1] + 1].copy(order="C")
        _round(values, item)
        shape = tuple(frame.sizes[dim] for dim in dims(item, entry))
        frame[item.name] = (dims(item, entry), values.reshape(shape), field_attributes(item, entry))
    return contracts.product(frame, entry, system)


def _round(values: NDArray[np.float32], item: Variable) -> None:
    """Round in place to the bits kept; an angle that is a whole turn then is 0."""
    round_mantissa(values, item.mantissa_bits)
    if item.circular:
        values[values >= TURN_DEGREES] = 0.0


def dims(item: Variable, entry: ProductEntry) -> tuple[str, ...]:
    """The dimensions of a product's variable, in order."""
    deep = item.has_depth and is_deep(entry)
    return ("time", "depth", "latitude", "longitude") if deep else ("time", "latitude", "longitude")


def is_deep(entry: ProductEntry) -> bool:
    """Whether a product has levels; if not, its depth is a scalar: the sea surface."""
    return any(item.has_depth for item in entry.variables) and not entry.surface_only


def layout(entry: ProductEntry, system: System, cycle: Cycle, facts: Facts) -> xr.Dataset:
    """A product without its fields: every lead day's coordinates, and the global attributes."""
    grid = system.product_grid(entry)
    leads = np.arange(system.forecast_days + 1, dtype=np.int32)
    times = np.array([_instant(cycle.valid_time(int(lead))) for lead in leads])
    coordinates: dict[str, Any] = {
        "time": ("time", times, {"standard_name": "time", "long_name": "valid time", "axis": "T",
                                 "coverage_content_type": "coordinate"}),
        "forecast_period": ("time", leads, {"standard_name": "forecast_period", "units": "day",
                                            "long_name": "lead time: valid time minus forecast reference time"}),
        "forecast_reference_time": ((), _instant(cycle.start), {
            "standard_name": "forecast_reference_time", "long_name": "time of the initial state"}),
        **_axis("latitude", grid.latitude, grid.latitude_edges, "degrees_north", "Y"),
        **_axis("longitude", grid.longitude, grid.longitude_edges, "degrees_east", "X"),
    }  # fmt: skip
    deep = is_deep(entry)
    depths = np.array(system.depths_m, dtype=np.float64) if deep else np.float64(system.depths_m[0])
    coordinates["depth"] = (
        ("depth",) if deep else (),
        depths,
        {
            "standard_name": "depth",
            "long_name": "depth below the sea surface",
            "units": "m",
            "positive": "down",
            "axis": "Z",
            "coverage_content_type": "coordinate",
        },
    )
    return xr.Dataset(coords=coordinates, attrs=_attributes(entry, system, cycle, facts, grid))


def field_attributes(item: Variable, entry: ProductEntry) -> dict[str, Any]:
    """A variable's CF attributes. ``mantissa_bits_kept`` of 23: its relative precision is 2**-(that + 1)."""
    attributes: dict[str, Any] = {
        "standard_name": item.standard_name,
        "long_name": item.title,
        "units": item.units,
        "cell_methods": "time: point",
        "valid_min": item.lower,
        "valid_max": item.upper,
        "mantissa_bits_kept": item.mantissa_bits,
        "coverage_content_type": "modelResult",
    }
    if item.units_metadata:
        attributes["units_metadata"] = item.units_metadata
    if item.comment:
        attributes["comment"] = item.comment
    return attributes


def auxiliary_coordinates(item: Variable, entry: ProductEntry) -> str:
    """The CF ``coordinates`` attribute of a product's variable: with the scalar depth where it is at the surface."""
    depth = "" if is_deep(entry) or item in OF_THE_WHOLE_COLUMN else " depth"
    return f"forecast_period forecast_reference_time{depth}"


def _axis(name: str, centres: NDArray[np.float64], edges: NDArray[np.float64], units: str, axis: str) -> dict[str, Any]:
    attributes = {"standard_name": name, "long_name": f"{name} of the cell's centre", "units": units, "axis": axis,
                  "bounds": f"{name}_bounds", "coverage_content_type": "coordinate"}  # fmt: skip
    return {
        name: (name, centres, attributes),
        f"{name}_bounds": ((name, BOUND), np.stack([edges[:-1], edges[1:]], axis=1), {}),
    }


def _attributes(entry: ProductEntry, system: System, cycle: Cycle, facts: Facts, grid: Grid) -> dict[str, Any]:
    return {
        **_discovery(entry, system, cycle, facts),
        **_origin(facts),
        **_extent(entry, system, cycle, grid),
        **_honesty(entry, system, facts),
        **(facts.skill[entry.name].attributes if entry.name in facts.skill else {}),
    }


def _discovery(entry: ProductEntry, system: System, cycle: Cycle, facts: Facts) -> dict[str, Any]:
    ocean = "" if system.real_ocean else " Synthetic twin: not the real ocean."
    return {
        "Conventions": CONVENTIONS,
        "title": f"{entry.title}, {system.region}, from {cycle.start:%Y-%m-%d %H} UTC",
        "summary": f"{entry.described(system.forecast_days)} System: {system.title}.{ocean}",
        "keywords": ", ".join(dict.fromkeys(item.standard_name for item in entry.variables)),
        "keywords_vocabulary": VOCABULARY,
        "standard_name_vocabulary": VOCABULARY,
        "id": f"{system.name}.{entry.name}.{cycle.key}.r{facts.revision}",
        "naming_authority": facts.publisher.naming_authority,
        "product_version": f"r{facts.revision}",
        "processing_level": "L4 model forecast",
        "cdm_data_type": "Grid",
        "project": "GOMS",
        "program": "GOMS",
        "platform": "MODELS",
        "platform_vocabulary": "GCMD platform keywords",
        "instrument": "NOT APPLICABLE",
        "instrument_vocabulary": "GCMD instrument keywords",
        "references": "AI-GOMS: https://arxiv.org/abs/2308.03152",
        "metadata_link": facts.publisher.url,
    }


def _origin(facts: Facts) -> dict[str, Any]:
    publisher = facts.publisher
    return {
        "source": credits.sources_in_words(facts.inputs, facts.forecaster),
        "acknowledgement": credits.acknowledgement(facts.inputs),
        "contributor_name": credits.contributors(facts.inputs),
        "contributor_role": "data provider",
        "history": _history(facts),
        "comment": "The date of creation is in manifest.json beside this store, not here: equal inputs give equal "
        "bytes. Values over land are NaN.",
        "license": publisher.licence,
        "institution": publisher.institution,
        "creator_name": publisher.name,
        "creator_institution": publisher.institution,
        "creator_type": "institution",
        "creator_url": publisher.url,
        "creator_email": publisher.email,
        "publisher_name": publisher.name,
        "publisher_institution": publisher.institution,
        "publisher_type": "institution",
        "publisher_url": publisher.url,
        "publisher_email": publisher.email,
    }


def _extent(entry: ProductEntry, system: System, cycle: Cycle, grid: Grid) -> dict[str, Any]:
    deep = is_deep(entry)
    south, north = float(grid.latitude_edges[0]), float(grid.latitude_edges[-1])
    west, east = float(grid.longitude_edges[0]), float(grid.longitude_edges[-1])
    return {
        "geospatial_lat_min": float(grid.latitude[0]),
        "geospatial_lat_max": float(grid.latitude[-1]),
        "geospatial_lat_units": "degrees_north",
        "geospatial_lat_resolution": grid.latitude_step,
        "geospatial_lon_min": float(grid.longitude[0]),
        "geospatial_lon_max": float(grid.longitude[-1]),
        "geospatial_lon_units": "degrees_east",
        "geospatial_lon_resolution": grid.longitude_step,
        "geospatial_vertical_min": float(system.depths_m[0]),
        "geospatial_vertical_max": float(system.depths_m[-1] if deep else system.depths_m[0]),
        "geospatial_vertical_units": "m",
        "geospatial_vertical_positive": "down",
        "geospatial_vertical_resolution": ", ".join(f"{d:g}" for d in system.depths_m) if deep else "surface only",
        "geospatial_bounds": f"POLYGON (({south:g} {west:g}, {north:g} {west:g}, {north:g} {east:g}, "
        f"{south:g} {east:g}, {south:g} {west:g}))",
        "geospatial_bounds_crs": "EPSG:4326",
        "geospatial_bounds_vertical_crs": "EPSG:5831",
        "time_coverage_start": f"{cycle.start:%Y-%m-%dT%H:%M:%SZ}",
        "time_coverage_end": f"{cycle.valid_time(system.forecast_days):%Y-%m-%dT%H:%M:%SZ}",
        "time_coverage_duration": f"P{system.forecast_days}D",
        "time_coverage_resolution": "P1D",
    }


def _honesty(entry: ProductEntry, system: System, facts: Facts) -> dict[str, Any]:
    reasons = facts.degraded(entry)
    return {
        "forecast_system": system.name,
        "real_ocean": "true" if system.real_ocean else "false",
        "ocean": system.region if system.real_ocean else "synthetic twin: not the real ocean",
        "forecaster": facts.forecaster,
        "forecaster_checkpoint_sha256": facts.checkpoint_sha256 or "none: the forecaster has no weights",
        "forecaster_trained_on": facts.trained_on,
        "future_forcing": forcing_in_words(system.forcing_policy, facts.inputs),
        "degraded": "true" if reasons else "false",
        "degraded_reasons": "; ".join(reasons) or "none",
        "input_ages": credits.ages_in_words(facts.inputs),
    }


def _instant(when: datetime) -> np.datetime64:
    return np.datetime64(when.replace(tzinfo=None), "ns")


def _refused(needed: str, found: str, lead: int) -> ForecastRefused:
    return ForecastRefused(needed, found=found, where=f"lead day {lead}", action="look at the stage before this one")
