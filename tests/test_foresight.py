"""The weather of days to come: the days there are, then relaxed from the last of them, and said on the product."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
import small_goms
import xarray as xr
from journeys import Here

from pipeline import channels, cycle, forcing, foresight, produce, products, provenance, systems
from pipeline.contracts import InitialState
from pipeline.earth import climatology
from pipeline.store import Store
from pipeline.systems import TWIN, Ladder, System, rungs
from pipeline.variables import Kind
from tests.archive_servers import weather as w
from tests.archive_servers.folder_server import FolderServer
from tests.test_weather_forecasts import GRID

START = datetime(2024, 3, 1, 12, tzinfo=UTC)
NAMES = [channel.variable for channel in channels.weather()]
SYSTEM = TWIN.model_copy(update={
    "grid": GRID, "forcing_policy": "forecast", "forecast_days": 6,
    "ladders": (Ladder(kind=Kind.FORCING, rungs=rungs("ifs", "gfs", maximum_age_days=1.0), required=False),),
})  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FolderServer]:
    """ECMWF's run has days 1, 2 and 4 (day 3 is missing), NOAA's of six hours before days 1 and 2."""
    folder = tmp_path_factory.mktemp("weather")
    w.write_ifs(folder / "ifs", START, [24, 48, 96])
    w.write_gfs(folder / "gfs", START - timedelta(hours=6), [30, 54])
    with FolderServer(folder) as found:
        yield found


def foreseen(server: FolderServer, tmp_path: Path, system: System = SYSTEM, **archives: str) -> xr.Dataset:
    places = {name: f"{server.address}/{name}" for name in ("ifs", "gfs")} | archives
    return foresight.foresee(system, START, inputs=None, scratch=tmp_path, archives=places)


def truth(lead: int) -> np.ndarray:
    """The twin on that day, on the system's rows: (channel, latitude, longitude)."""
    fields = w.truth(Kind.SURFACE, START + timedelta(days=lead))
    return np.stack([fields[name][1:-1] for name in NAMES])


def close(found: np.ndarray, expected: np.ndarray) -> None:
    """Each channel to GRIB's 24 bits and float32."""
    for row, name in enumerate(NAMES):
        spread = np.ptp(expected[row])
        np.testing.assert_allclose(found[row], expected[row], atol=2e-6 * spread + 1e-3, err_msg=name)


def state(dataset: xr.Dataset) -> InitialState:
    """An initial state with an analysis of the start and the days to come, as ``initialise`` makes it."""
    topography = np.full((1, *GRID.shape), -3000.0)
    analysis = np.concatenate([truth(0), topography]).astype(np.float32)
    dims = ("forcing_channel", "forcing_latitude", "forcing_longitude")
    future = np.stack([dataset[name].values for name in NAMES], axis=1)
    lead_days = {"future_lead_day": dataset["lead_day"].values}
    return InitialState(xr.Dataset(
        {"forcing": (dims, analysis),
         "future": (("future_lead_day", "future_channel", *dims[1:]), future)},
        coords={"time": np.datetime64(START.replace(tzinfo=None), "ns"), **lead_days},
    ))  # fmt: skip


def test_the_days_there_are_are_the_weather_of_those_days(server: FolderServer, tmp_path: Path) -> None:
    found = foreseen(server, tmp_path)
    assert found["lead_day"].values.tolist() == [1, 2, 4]
    for row, lead in enumerate((1, 2, 4)):
        close(np.stack([found[name].values[row] for name in NAMES]), truth(lead))
    (record,) = provenance.records(found)
    assert (record.source, record.rung, record.age_hours) == ("ifs", 0, 0.0)
    assert record.note == "ECMWF IFS run of 2024-03-01T12Z, lead days 1-2, 4"
    assert record.degraded == "ECMWF IFS does not hold lead days 3, 5"
    assert len(record.files) == 15


def test_a_step_sees_the_weather_of_its_beginning_then_what_is_left_of_it(server: FolderServer, tmp_path: Path) -> None:
    """Lead 3 is not held: the anomaly of day 2 worn down for a day, on the climatology of day 3; so lead 5 of day 4."""
    initial = state(foreseen(server, tmp_path))
    path = list(forcing.future_forcing(initial, SYSTEM, 6))
    close(path[0][:5], truth(0))
    for lead in (1, 2, 4):
        close(path[lead][:5], truth(lead))
    memory = np.exp(-1.0 / np.array([2.0, 2.0, 10.0, 2.0, 2.0]))[:, None, None]
    for lead, held in ((3, 2), (5, 4)):
        now, then = (mean(START + timedelta(days=day)) for day in (lead, held))
        close(path[lead][:5], now + (truth(held) - then) * memory)
    assert all((field[5] == -3000.0).all() for field in path)
    again = list(forcing.future_forcing(initial, SYSTEM, 2, first_lead=3))
    assert np.array_equal(again[0], path[3])
    assert np.array_equal(again[1], path[4])


def mean(when: datetime) -> np.ndarray:
    fields = climatology.fields(Kind.SURFACE, when, GRID.latitude, GRID.longitude, ())
    return np.stack([fields[name] for name in NAMES]).astype(np.float64)


def test_the_next_forecast_is_taken_with_the_reason_and_its_age(server: FolderServer, tmp_path: Path) -> None:
    found = foreseen(server, tmp_path, ifs=f"{server.address}/nowhere")
    assert found["lead_day"].values.tolist() == [1, 2]
    (record,) = provenance.records(found)
    assert (record.source, record.rung, record.age_hours) == ("gfs", 1, 6.0)
    assert "ifs: needed ECMWF IFS forcing" in record.degraded
    assert "run is from 6 h before the start" in record.degraded
    close(np.stack([found[name].values[1] for name in NAMES]), truth(2))


def test_without_any_forecast_it_relaxes_and_says_so(server: FolderServer, tmp_path: Path) -> None:
    found = foreseen(server, tmp_path, ifs=f"{server.address}/nowhere", gfs=f"{server.address}/nowhere")
    assert found.sizes["lead_day"] == 0
    records = provenance.records(found)
    assert "no weather forecast was to be had" in records[0].degraded
    assert produce.forcing_in_words("forecast", records) == produce.FORCING_WORDS["relaxed"]
    initial = state(found)
    analysis = initial["forcing"].values
    expected = forcing.path(analysis, START, 6, GRID, "relaxed")
    np.testing.assert_array_equal(np.stack(list(forcing.future_forcing(initial, SYSTEM, 6))), expected)


def test_a_forecast_of_one_day_needs_no_weather_but_that_of_its_start(server: FolderServer, tmp_path: Path) -> None:
    found = foreseen(server, tmp_path, SYSTEM.model_copy(update={"forecast_days": 1}))
    assert found.sizes["lead_day"] == 0
    assert provenance.records(found) == ()
    (only,) = forcing.future_forcing(state(found), SYSTEM, 1)
    close(only[:5], truth(0))


def test_a_forecast_that_is_refused_is_passed_over_with_the_reason(server: FolderServer, tmp_path: Path) -> None:
    """A pressure of 2000 hPa on one day: nobody's weather."""
    folder = tmp_path / "wrong"
    w.write_ifs(folder, START, [24])
    (path,) = folder.rglob("*-24h-oper-fc.grib2")
    fields = w.truth(Kind.SURFACE, START + timedelta(days=1))
    body, offset = path.read_bytes(), path.read_bytes().find(b"GRIB", 1)
    assert offset > 0
    wrong = w.message("msl", fields["msl"][::-1] * 2, START, 24)
    index = path.with_suffix(".index")
    lines = [line for line in index.read_text().splitlines() if '"param": "msl"' not in line]
    entry = {"levtype": "sfc", "param": "msl", "step": "24", "_offset": len(body), "_length": len(wrong)}
    path.write_bytes(body + wrong)
    index.write_text("\n".join([*lines, str(entry).replace("'", '"')]) + "\n")
    with FolderServer(folder) as other:
        found = foreseen(server, tmp_path, ifs=other.address)
    (record,) = provenance.records(found)
    assert record.source == "gfs"
    assert "needed msl within" in record.degraded


def test_the_product_names_the_forecast_that_was_used(server: FolderServer, tmp_path: Path) -> None:
    words = produce.forcing_in_words("forecast", provenance.records(foreseen(server, tmp_path)))
    assert words == (
        "a weather forecast is used where there is one, ECMWF IFS run of 2024-03-01T12Z, lead days 1-2, 4: on every "
        "other lead day the forcing relaxes to its day-of-year climatology"
    )
    assert Kind.FORCING in produce._DEPENDS_ON["ocean"]


SEA = small_goms.SMALL_SEA.model_copy(update={
    "forcing_policy": "forecast", "products": (products.OCEAN,),
    "ladders": (*small_goms.SMALL_SEA.ladders[:2],
                Ladder(kind=Kind.FORCING, rungs=rungs("ifs", "gfs", maximum_age_days=1.0), required=False)),
})  # fmt: skip


@pytest.fixture(scope="module")
def weather(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FolderServer]:
    """Of the small sea's first day: ECMWF's run reaches lead day 4, NOAA's of six hours before lead day 2."""
    folder = tmp_path_factory.mktemp("weather")
    w.write_ifs(folder / "ifs", small_goms.START, [24, 48, 72, 96])
    w.write_gfs(folder / "gfs", small_goms.START - timedelta(hours=6), [30, 54])
    with FolderServer(folder) as found:
        yield found


@pytest.fixture
def forecasts(
    here: Here, weather: FolderServer, folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, str]]:
    """``goms run`` of the sea's first day with these addresses of the weather; what its ocean says of itself."""
    monkeypatch.setattr(systems, "SYSTEMS", (*(s for s in systems.SYSTEMS if s.name != SEA.name), SEA))

    def published(**archives: str) -> dict[str, str]:
        places = {name: f"{weather.address}/{name}" for name in ("ifs", "gfs")} | archives
        monkeypatch.setenv("GOMS_ARCHIVES", json.dumps(places))
        answer = here.run(small_goms.DAY, folder_store)
        assert answer.code == 0, answer.err
        place = cycle.cycle(SEA.name, small_goms.DAY, 0).revision_prefix(1)
        with xr.open_zarr(folder_store.address(f"{place}/ocean.zarr"), chunks=None) as ocean:
            return {name: str(value) for name, value in ocean.attrs.items()}

    return published


def test_a_run_s_product_says_which_weather_was_used_and_how_far(forecasts: Callable[..., dict[str, str]]) -> None:
    said = forecasts()
    assert said["future_forcing"] == (
        "a weather forecast is used where there is one, ECMWF IFS run of 2023-01-01T00Z, lead days 1-4: on every other "
        "lead day the forcing relaxes to its day-of-year climatology"
    )
    assert "ECMWF IFS does not hold lead days 5" in said["degraded_reasons"]
    assert "ECMWF" in said["contributor_name"]
    assert "CC-BY-4.0" in said["acknowledgement"]


def test_a_run_without_the_first_weather_takes_the_second(
    forecasts: Callable[..., dict[str, str]], weather: FolderServer
) -> None:
    said = forecasts(ifs=f"{weather.address}/nowhere")
    assert "NOAA GFS run of 2022-12-31T18Z, lead days 1-2:" in said["future_forcing"]
    assert "6 h before the start" in said["degraded_reasons"]
    assert "National Centers for Environmental Prediction" in said["contributor_name"]


def test_a_run_without_any_weather_relaxes_and_says_why(
    forecasts: Callable[..., dict[str, str]], weather: FolderServer
) -> None:
    said = forecasts(ifs=f"{weather.address}/nowhere", gfs=f"{weather.address}/nowhere")
    assert said["future_forcing"] == produce.FORCING_WORDS["relaxed"]
    assert "no weather forecast was to be had (ifs: needed ECMWF IFS forcing" in said["degraded_reasons"]


def test_an_operator_can_go_on_without_the_weather(
    forecasts: Callable[..., dict[str, str]], here: Here, folder_store: Store
) -> None:
    decided = here("set-complete", small_goms.DAY, "--system", SEA.name, "--store", folder_store.uri, "--stage",
                   "forcing", "--reason", "a cyclone that is not there")  # fmt: skip
    assert decided.code == 0, decided.err
    said = forecasts()
    assert said["future_forcing"] == produce.FORCING_WORDS["relaxed"]
    assert "the weather forecast left out by " in said["degraded_reasons"]
    assert "a cyclone that is not there" in said["degraded_reasons"]
