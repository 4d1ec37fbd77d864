"""Every input of one start as channel arrays, in order, none of them of another time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import xarray as xr

from pipeline import channels, contracts, provenance
from pipeline.contracts import ARRAYS
from pipeline.earth import landmask, relief
from pipeline.errors import InputRefused
from pipeline.initialise import initialise
from pipeline.provenance import InputRecord
from pipeline.systems import CORAL_SEA, Ladder, rungs
from pipeline.variables import Kind, of_kind

START = datetime(2023, 1, 1, tzinfo=UTC)
SYSTEM = CORAL_SEA.model_copy(
    update={
        "ladders": (
            Ladder(kind=Kind.OCEAN, rungs=rungs("hycom"), required=True),
            Ladder(kind=Kind.SURFACE, rungs=rungs("era5", "climatology", maximum_age_days=7.0), required=True),
        )
    }
)


def gridded(kind, age=timedelta(0), dated=True, without=()):
    """Each cell of variable i at level k holds i + k / 100 + row / 1000 + column / 1e5 above its lower bound."""
    mask = landmask.kind_mask(SYSTEM, kind)
    row, column = np.indices(SYSTEM.grid.shape)
    fields = {}
    for index, entry in enumerate(of_kind(kind)):
        if entry.name not in without:
            levels = len(SYSTEM.depths_m) if entry.has_depth else 1
            place = index + row / 1000 + column / 1e5
            values = np.stack([entry.lower + place + level / 100 for level in range(levels)])
            values = values if mask is None else np.where(mask[:levels], values, np.nan)
            dims = ("depth", "latitude", "longitude")[0 if entry.has_depth else 1 :]
            data = (values if entry.has_depth else values[0]).astype(np.float32)
            fields[entry.name] = (dims, data, {"units": entry.units})
    coords = {"latitude": SYSTEM.grid.latitude, "longitude": SYSTEM.grid.longitude, "depth": list(SYSTEM.depths_m)}
    record = InputRecord(
        kind=kind, variables=tuple(fields), source="era5" if kind is Kind.SURFACE else "hycom", rung=0,
        valid_time=START - age if dated else None, age_hours=age.total_seconds() / 3600,
    )  # fmt: skip
    dataset = provenance.attach(xr.Dataset(fields, coords=coords), (record,))
    return contracts.gridded(dataset, kind, SYSTEM, mask)


def test_channels_stand_in_the_order_of_the_paper():
    ocean, surface = gridded(Kind.OCEAN), gridded(Kind.SURFACE)
    state = initialise({Kind.OCEAN: ocean, Kind.SURFACE: surface}, SYSTEM, START)
    assert state["ocean"].shape == (61, 44, 24)
    assert state["ocean"].dtype == state["forcing"].dtype == np.float32
    for number, name in enumerate(("to", "so", "uo", "vo")):
        np.testing.assert_array_equal(state["ocean"].values[15 * number : 15 * number + 15], ocean[name].values)
    np.testing.assert_array_equal(state["ocean"].values[60], ocean["zos"].values)
    assert [str(label) for label in state["ocean_channel"].values[[0, 7, 59, 60]]] == [
        "to@0",
        "to@100",
        "vo@500",
        "zos",
    ]
    assert [str(c) for c in state["forcing_channel"].values] == ["u10", "v10", "t2m", "msl", "sp", "elevation"]
    np.testing.assert_array_equal(state["forcing"].values[3], surface["msl"].values)
    assert not set(ARRAYS[1:]) & set(state.data_vars)


def test_the_state_is_valid_at_the_start_and_tells_where_it_is_from():
    state = initialise({Kind.SURFACE: gridded(Kind.SURFACE), Kind.OCEAN: gridded(Kind.OCEAN)}, SYSTEM, START)
    assert state["time"].values == np.datetime64("2023-01-01T00:00:00", "ns")
    assert [record.source for record in provenance.records(state)] == ["hycom", "era5"]


def test_the_topography_is_under_the_sea_where_the_deep_ocean_is():
    state = initialise({Kind.OCEAN: gridded(Kind.OCEAN), Kind.SURFACE: gridded(Kind.SURFACE)}, SYSTEM, START)
    heights = state["forcing"].values[5]
    assert (heights[landmask.depth_mask(SYSTEM)[-1]] < -200.0).mean() > 0.97
    assert heights[0, 0] > 0.0
    assert channels.forcing()[5].label == "elevation"


def test_the_mean_height_of_a_cell_is_that_of_its_parts():
    """Means of two halves of a cell, each weighted with its own sin(north) - sin(south), give the whole's."""
    whole = CORAL_SEA.grid.model_copy(update={"rows": 10, "columns": 10, "latitude_step": 2.0, "longitude_step": 2.0})
    halves = whole.model_copy(update={"south": whole.south - 0.5, "latitude_step": 1.0, "rows": 20})
    weight = np.diff(np.sin(np.deg2rad(halves.latitude_edges)))[:, None]
    parts = (relief.topography(halves) * weight).reshape(10, 2, 10).sum(axis=1) / weight.reshape(10, 2, 1).sum(axis=1)
    np.testing.assert_allclose(relief.topography(whole), parts, rtol=2e-4, atol=0.5)


def test_input_of_another_day_is_refused_with_its_age():
    with pytest.raises(InputRefused, match=r"ocean input at most 0 days older.* 1 days old; in source hycom"):
        initialise({Kind.OCEAN: gridded(Kind.OCEAN, timedelta(days=1))}, SYSTEM, START)
    with pytest.raises(InputRefused, match=r"2023-01-03 00Z, -2 days old"):
        initialise({Kind.OCEAN: gridded(Kind.OCEAN, timedelta(days=-2))}, SYSTEM, START)
    with pytest.raises(InputRefused, match="8 days old"):
        initialise({Kind.SURFACE: gridded(Kind.SURFACE, timedelta(days=8))}, SYSTEM, START)


@pytest.mark.parametrize("hours", [3, -1])
def test_a_near_step_is_taken_across_midnight(hours: int) -> None:
    """21Z of the day before a start at 00Z, and 00Z of the day after one at 23Z."""
    start = START if hours > 0 else START + timedelta(hours=23)
    ocean, surface = gridded(Kind.OCEAN, START - start + timedelta(hours=hours)), gridded(Kind.SURFACE)
    state = initialise({Kind.OCEAN: ocean, Kind.SURFACE: surface}, SYSTEM, start)
    assert provenance.records(state)[0].valid_time == start - timedelta(hours=hours)
    far = gridded(Kind.OCEAN, START - start + timedelta(hours=4 * hours // abs(hours)))
    with pytest.raises(InputRefused, match="1 days old"):
        initialise({Kind.OCEAN: far, Kind.SURFACE: surface}, SYSTEM, start)


def test_input_within_the_ladder_s_age_and_climatology_without_a_date_are_taken():
    ocean = gridded(Kind.OCEAN, timedelta(hours=-3))
    for surface in (gridded(Kind.SURFACE, timedelta(days=7)), gridded(Kind.SURFACE, dated=False)):
        state = initialise({Kind.OCEAN: ocean, Kind.SURFACE: surface}, SYSTEM, START)
        assert len(provenance.records(state)) == 2


def test_a_missing_kind_or_variable_is_refused():
    with pytest.raises(InputRefused, match="surface input to start from; found only ocean"):
        initialise({Kind.OCEAN: gridded(Kind.OCEAN)}, SYSTEM, START)
    with pytest.raises(InputRefused, match="needed zos to start from; found only to, so, uo, vo"):
        initialise({Kind.OCEAN: gridded(Kind.OCEAN, without=("zos",))}, SYSTEM, START)
