"""ERA5 by the Climate Data Store's queue, asked by the centre's own client: both layouts, mixtures, refusals."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from pipeline.errors import InputUnavailable
from pipeline.sources import Request
from pipeline.sources.era5_cds import Era5CdsSource
from pipeline.twin import Twin, native
from pipeline.variables import Kind, of_kind
from tests.archive_servers import cds
from tests.archive_servers import weather as w
from tests.test_weather_forecasts import GRID

DAY = datetime(2024, 3, 1, 12, tzinfo=UTC)
layout = {"of": "new"}


def make(job: dict[str, Any], path: Path) -> Path:
    """The file that a job asks for, of the twin's weather, in the layout of the hour."""
    when = datetime(int(job["year"][0]), int(job["month"][0]), int(job["day"][0]), int(job["time"][0][:2]), tzinfo=UTC)
    when += timedelta(days=layout["of"] == "another day")
    kind = Kind.WAVES if "mean_wave_period" in job["variable"] else Kind.SURFACE
    shape = {"layout": "old" if layout["of"] == "old" else "new", "latitude": w.LATITUDE, "longitude": w.EASTWARD}
    native.write_era5(path, kind, [when], Twin(), **shape)
    if layout["of"] == "mixed":
        both = xr.open_dataset(path, decode_cf=False).load()
        both.close()
        names = [str(name) for name in both.data_vars if "valid_time" in both[name].dims and name != "expver"]
        wide = {name: xr.concat([both[name] * np.nan, both[name]], dim="expver") for name in names}
        mixed = both.drop_vars([*names, "expver"]).assign({n: f.assign_attrs(both[n].attrs) for n, f in wide.items()})
        path.unlink()
        mixed.assign_coords(expver=[1, 5]).to_netcdf(path)
    if layout["of"] == "zip":
        packed = path.with_suffix(".zip")
        with zipfile.ZipFile(packed, "w") as archive:
            archive.write(path, "data_stream-oper.nc")
        return packed
    return path


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[cds.ClimateDataStore]:
    monkeypatch.setenv("GOMS_LOGINS__CDS_KEY", cds.KEY)
    monkeypatch.setitem(layout, "of", "new")
    (tmp_path / "files").mkdir()
    with cds.ClimateDataStore(tmp_path / "files", make, "2024-03-01T00:00:00Z") as found:
        yield found


def asked(store: cds.ClimateDataStore, tmp_path: Path, **changes: object) -> Request:
    names = tuple(entry.name for entry in of_kind(Kind.SURFACE))
    request = Request(Kind.SURFACE, DAY, names, (), GRID, None, tmp_path / "scratch",
                      archives={"era5-cds": store.address or store.upstream}, deadline_seconds=60.0)  # fmt: skip
    return request._replace(**changes)


@pytest.mark.parametrize("of", ["mixed", "zip"])
def test_what_comes_out_of_the_queue_is_the_weather(of: str, store, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(layout, "of", of)
    native_ = Era5CdsSource().fetch(asked(store, tmp_path))
    for name, values in w.truth(Kind.SURFACE, DAY).items():
        found = native_.dataset[name].isel(time=0).sortby("latitude").values
        np.testing.assert_allclose(found, values, atol=1e-3 * max(1.0, np.ptp(values)) if of == "old" else 1e-6)
    assert store.jobs[0]["time"] == ["12:00"]
    assert ("preliminary" in native_.note) == (of == "mixed")


def test_a_file_of_another_day_is_not_kept(store, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(layout, "of", "another day")
    with pytest.raises(InputUnavailable):
        Era5CdsSource().fetch(asked(store, tmp_path))
    monkeypatch.setitem(layout, "of", "new")
    assert Era5CdsSource().fetch(asked(store, tmp_path)).dataset["u10"].size
    assert len(store.jobs) == 2


def test_an_age_asks_for_the_newest_day_that_is_reached(store, tmp_path: Path) -> None:
    late = asked(store, tmp_path, when=DAY + timedelta(days=6))
    with pytest.raises(InputUnavailable, match="reaching to 2024-03-01T23Z"):
        Era5CdsSource().fetch(late)
    native_ = Era5CdsSource().fetch(late._replace(maximum_age_days=7.0))
    assert native_.dataset["time"].values[0] == np.datetime64("2024-03-01T12", "ns")
    Era5CdsSource().fetch(late._replace(maximum_age_days=7.0))  # what was fetched is not asked for again
    sighting = Era5CdsSource().look(late)
    assert (sighting.ready, len(store.jobs)) == (False, 1)


def test_a_wrong_key_and_none_are_not_available(store, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("GOMS_LOGINS__CDS_KEY", "another")
    with pytest.raises(InputUnavailable, match=r"Unauthorized|401"):
        Era5CdsSource().fetch(asked(store, tmp_path))
    monkeypatch.delenv("GOMS_LOGINS__CDS_KEY")
    with pytest.raises(InputUnavailable, match="GOMS_LOGINS__CDS_KEY"):
        Era5CdsSource().fetch(asked(store, tmp_path))
