"""Yesterday's own published forecast as today's start: the right lead day, held to the manifest, with its age."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import native_files as native
import numpy as np
import pytest
import small_goms
import xarray as xr
from journeys import Here

from pipeline import credits, provenance, systems
from pipeline.earth import landmask, monthly_means
from pipeline.errors import InputRefused, InputUnavailable
from pipeline.ingest import ingest
from pipeline.provenance import InputRecord, records
from pipeline.sources import Request
from pipeline.sources.climatology import ClimatologySource
from pipeline.sources.own_forecast import OwnForecastSource
from pipeline.store import Store
from pipeline.systems import Ladder, rungs
from pipeline.variables import Kind

LAST = datetime(2023, 1, 2, tzinfo=UTC)
"""The start of the newest forecast in the store; its waves are of that very hour."""
SYSTEM = small_goms.SMALL_SEA


@pytest.fixture
def store(
    both_days: tuple[Store, Store], small_sea: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Store:
    """A store of one's own with two days' forecasts, in a process that knows the small sea."""
    monkeypatch.setattr(landmask, "FOLDER", small_sea[1])
    monkeypatch.setattr(systems, "SYSTEMS", (*systems.SYSTEMS, SYSTEM))
    shutil.copytree(both_days[1].address(""), tmp_path / "store")
    return Store(tmp_path / "store")


def asked(store: Store, tmp_path: Path, when: datetime, **changes: object) -> Request:
    request = Request(Kind.WAVES, when, ("swh", "mwp", "mwd"), SYSTEM.depths_m, SYSTEM.wave_grid, None, tmp_path,
                      maximum_age_days=3.0, system="small-sea", store=store.uri)  # fmt: skip
    return request._replace(**changes)


def published(store: Store, day: str, lead: int) -> xr.Dataset:
    return xr.open_zarr(store.address(f"small-sea/cycles/{day}T00/r1/waves.zarr"), consolidated=False).isel(time=lead)


@pytest.mark.parametrize("lead", [1, 2])
def test_the_lead_day_that_is_valid_then_is_the_start(lead: int, store: Store, tmp_path: Path) -> None:
    native = OwnForecastSource().fetch(asked(store, tmp_path, LAST + timedelta(days=lead)))
    expected = published(store, "20230102", lead)
    assert expected["time"].values == native.dataset["time"].values[0]
    for name in ("swh", "mwp", "mwd"):
        np.testing.assert_array_equal(native.dataset[name].values[0], expected[name].values)
    assert native.analysed == LAST
    assert native.note == f"own forecast of 20230102T00 r1, lead day {lead}; begun from era5 of 2023-01-02T00Z"


def test_it_is_never_taken_for_an_analysis(store: Store, tmp_path: Path) -> None:
    """On the ladder's first rung, valid at the very start, and yet degraded with its age in hours."""
    ladder = Ladder(kind=Kind.WAVES, rungs=rungs("own-forecast", maximum_age_days=3.0), required=False)
    system = SYSTEM.model_copy(update={"ladders": (ladder,)})
    (part,) = ingest(system, Kind.WAVES, LAST + timedelta(days=2), inputs=None, scratch=tmp_path, store=store.uri)
    (record,) = records(part)
    assert (record.valid_time, record.age_hours) == (LAST + timedelta(days=2), 48.0)
    assert record.degraded == "swh, mwp and mwd from own-forecast forecast from 2023-01-02T00Z, 48 h old"


def test_a_chain_of_own_forecasts_is_as_old_as_its_beginning(store: Store, tmp_path: Path) -> None:
    """A manifest whose waves were themselves an own forecast, begun three days before from ERA5."""
    path = "small-sea/cycles/20230102T00/r1/manifest.json"
    manifest = store.read_json(path)
    for record in manifest["facts"]["inputs"]:
        if record["kind"] == "waves":
            note = "own forecast of 20230101T00 r1, lead day 1; begun from era5 of 2022-12-30T00Z"
            record |= {"source": "own-forecast", "age_hours": 72.0, "note": note}
    store.write_bytes(path, json.dumps(manifest).encode())
    when = LAST + timedelta(days=1)
    native = OwnForecastSource().fetch(asked(store, tmp_path, when, maximum_age_days=5.0))
    assert native.analysed == LAST - timedelta(days=3)
    assert native.note.endswith("begun from era5 of 2022-12-30T00Z")
    older = OwnForecastSource().fetch(asked(store, tmp_path, when))
    assert older.note.startswith("own forecast of 20230101T00 r1, lead day 2")


def begin(store: Store, day: str, *inputs: InputRecord) -> None:
    """Make these the waves that a day's published forecast began from."""
    path = f"small-sea/cycles/{day}T00/r1/manifest.json"
    manifest = store.read_json(path)
    others = [record for record in manifest["facts"]["inputs"] if record["kind"] != "waves"]
    manifest["facts"]["inputs"] = [*others, *(json.loads(record.model_dump_json()) for record in inputs)]
    store.write_bytes(path, json.dumps(manifest).encode())


def gone_on_with(store: Store, tmp_path: Path, when: datetime) -> InputRecord:
    """The record of an own forecast of the day before."""
    ladder = Ladder(kind=Kind.WAVES, rungs=rungs("own-forecast", maximum_age_days=3.0, usual_age_days=3.0),
                    required=False)  # fmt: skip
    system = SYSTEM.model_copy(update={"ladders": (ladder,)})
    return records(ingest(system, Kind.WAVES, when, inputs=None, scratch=tmp_path, store=store.uri)[0])[0]


def test_a_chain_names_thanks_and_degrades_by_all_it_began_with(store: Store, tmp_path: Path) -> None:
    """Begun from two sources, one a climatology of others that the system did not ask for: as said on the second day,
    so on the third."""
    missing = ("needed an own forecast of waves for 2023-01-01T00Z, begun at most 3 days before, found none published "
               "that reaches it in the store of small-sea")  # fmt: skip
    one = InputRecord(kind=Kind.WAVES, variables=("swh",), source="copernicus", rung=1, age_hours=0.0,
                      valid_time=LAST - timedelta(days=1), degraded=f"swh from copernicus: {missing}")  # fmt: skip
    other = one.model_copy(update={
        "variables": ("mwp", "mwd"), "source": "climatology", "rung": 2,
        "note": "monthly means of 2001..2004, 60 days; made from era5 and nobm; coastal cells filled from their ocean "
        "neighbours: mwp 3",
        "degraded": f"mwp and mwd from climatology: {missing}; Copernicus Marine does not hold mwp and mwd",
    })  # fmt: skip
    began = "copernicus and climatology (era5, nobm) of 2023-01-01T00Z"
    begin(store, "20230101", one, other)
    second = gone_on_with(store, tmp_path, LAST)
    begin(store, "20230102", second)
    third = gone_on_with(store, tmp_path, LAST + timedelta(days=1))
    for record in (second, third):
        assert f"lead day 1; begun from {began}" in record.note
        assert record.degraded == (
            f"swh, mwp and mwd from own-forecast: its chain began with less than was asked for, {began}"
        )
        assert credits.contributors([record]) == (
            "E.U. Copernicus Marine Service, Copernicus Climate Change Service, "
            "NASA Global Modeling and Assimilation Office"
        )
    assert (second.age_hours, third.age_hours) == (24.0, 48.0)
    begin(store, "20230102", one)  # complete, and degraded only because there was no own forecast then
    assert gone_on_with(store, tmp_path, LAST + timedelta(days=1)).degraded is None
    begin(store, "20230102", other.model_copy(update={"degraded": f"mwp and mwd from climatology: {missing}"}))
    assert "began with less" in (gone_on_with(store, tmp_path, LAST + timedelta(days=1)).degraded or "")


def test_bytes_that_are_not_the_manifest_s_are_refused(store: Store, tmp_path: Path) -> None:
    paths = [path for path, _ in store.objects("small-sea/cycles/20230102T00/r1/waves.zarr/swh") if "/c/1/" in path]
    assert len(paths) == 1
    data = bytearray(store.read_bytes(paths[0]))
    data[len(data) // 2] ^= 1
    store.write_bytes(paths[0], bytes(data))
    with pytest.raises(InputRefused, match="SHA-256"):
        OwnForecastSource().fetch(asked(store, tmp_path, LAST + timedelta(days=1)))


def test_what_is_not_published_is_not_there(store: Store, tmp_path: Path) -> None:
    source, when = OwnForecastSource(), LAST + timedelta(days=1)
    assert source.look(asked(store, tmp_path, when)).ready
    store.delete("small-sea/cycles/20230102T00/r1/manifest.json")
    assert source.fetch(asked(store, tmp_path, when)).note.startswith("own forecast of 20230101T00")
    late = asked(store, tmp_path, when + timedelta(days=30))
    assert not source.look(late).ready
    with pytest.raises(InputUnavailable, match="none published that reaches it"):
        source.fetch(late)
    with pytest.raises(InputUnavailable, match="store"):
        source.fetch(asked(store, tmp_path, when)._replace(store=None))


def test_a_climatology_of_waves_is_of_the_twin_alone_and_says_so(tmp_path: Path) -> None:
    twin, real = systems.system("twin"), systems.system("global-quarter-degree")
    request = Request(Kind.WAVES, LAST, ("swh", "mwp", "mwd"), (), twin.wave_grid, None, tmp_path, system=twin.name)
    native = ClimatologySource().fetch(request)
    assert native.note == "day-of-year mean of the synthetic twin's waves"
    assert np.array_equal(~np.isnan(native.dataset["swh"].values[0]), landmask.array_mask(twin, "waves"))
    with pytest.raises(InputUnavailable, match="only the synthetic twin's is packaged"):
        ClimatologySource().fetch(request._replace(system=real.name, grid=real.wave_grid))


def test_a_climatology_is_built_from_an_archive_and_used_with_its_name(
    here: Here, small_sea: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a file of twelve days of January: in its middle their mean, thanked and degraded by name."""
    folder, inputs = tmp_path / "climatologies", tmp_path / "inputs"
    inputs.mkdir()
    native.write_era5(inputs / "waves.nc", hours_after=[24.0 * day for day in range(12)], fields=("swh", "mwp", "mwd"))
    made = here("climatology", "2023-01-01", "2023-02-28", "--out", folder, "--system", "small-sea", "--kind", "waves",
                "--every", "1", "--inputs", inputs)  # fmt: skip
    assert made.code == 0, made.err
    assert "12 of 59 days from era5" in made.err
    ladder = Ladder(kind=Kind.WAVES, rungs=rungs("era5", "climatology"), required=False)
    system = SYSTEM.model_copy(update={"ladders": (ladder,)})
    middle = datetime(2023, 1, 16, 12, tzinfo=UTC)
    archives = {"climatology": str(folder)}
    (part,) = ingest(system, Kind.WAVES, middle, inputs=None, scratch=tmp_path, archives=archives)
    grid = SYSTEM.wave_grid
    for name, tolerance in (("swh", 0.01), ("mwd", 0.5)):
        fields = [native.era5_values(name, 24.0 * day, grid.latitude, grid.longitude) for day in range(12)]
        mean = np.mean([np.exp(1j * np.deg2rad(field)) if name == "mwd" else field for field in fields], axis=0)
        expected = np.rad2deg(np.angle(mean)) % 360.0 if name == "mwd" else mean
        wet = ~np.isnan(part[name].values)
        assert wet.any()
        np.testing.assert_allclose(part[name].values[wet], expected[wet], atol=tolerance)
    (record,) = records(part)
    assert record.note == "monthly means of 2023-01-01..2023-01-12, 12 days; made from era5"
    assert (record.rung, record.files[0].uri) == (1, "climatology/waves.nc")
    assert record.degraded.startswith("swh, mwp and mwd from climatology: needed")
    assert credits.contributors([record]) == "Copernicus Climate Change Service"
    with pytest.raises(InputUnavailable, match="fewer than 10 days of month 2"):
        monthly_means.at(str(folder), Kind.WAVES, SYSTEM, middle + timedelta(days=3))
    with pytest.raises(InputUnavailable, match="one of system small-sea"):
        monthly_means.at(str(folder), Kind.WAVES, systems.system("twin"), middle)
    path = monthly_means.path_of(str(folder), Kind.WAVES)
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(InputRefused, match="needed a climatology that goms climatology made"):
        monthly_means.at(str(folder), Kind.WAVES, SYSTEM, middle)


def test_between_the_middles_of_months_a_climatology_goes_from_one_to_the_other(tmp_path: Path) -> None:
    """January: 1 m from 350 degrees, February: 3 m from 10 degrees; where they meet 2 m from the north."""
    shape = SYSTEM.wave_grid.shape

    def take(when: datetime) -> xr.Dataset:
        values = {"swh": 2.0 * when.month - 1.0, "mwp": 8.0, "mwd": (350.0, 10.0)[when.month - 1]}
        fields = {name: (("latitude", "longitude"), np.full(shape, value)) for name, value in values.items()}
        return provenance.attach(xr.Dataset(fields), ())

    days = [date(2023, month, day) for month in (1, 2) for day in range(1, 11)]
    monthly_means.save(monthly_means.build(SYSTEM, Kind.WAVES, days, take, said=str), str(tmp_path))
    half = datetime(2023, 1, 16, 12, tzinfo=UTC) + timedelta(days=29.5) / 2
    found = monthly_means.at(str(tmp_path), Kind.WAVES, SYSTEM, half).fields
    np.testing.assert_allclose(found["swh"], 2.0, atol=1e-6)
    np.testing.assert_allclose((found["mwd"] + 180.0) % 360.0, 180.0, atol=1e-4)
