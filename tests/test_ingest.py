"""The ladder is walked variable by variable, and what was used is written on what comes out."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import ModuleType

import netCDF4
import numpy as np
import pytest
import xarray as xr

from pipeline import translate
from pipeline import weights as w
from pipeline.errors import InputRefused, InputUnavailable, UsageError
from pipeline.grids import Grid
from pipeline.ingest import ingest
from pipeline.provenance import records
from pipeline.sources import SOURCES, Native, Request, Source, Term, era5, hycom, nobm
from pipeline.systems import CORAL_SEA, SYSTEMS, Ladder, System, rungs
from pipeline.variables import BIOGEOCHEMISTRY, OCEAN, SURFACE, WAVES, Kind, Variable
from tests import native_files as native

NAMES = tuple(entry.name for entry in SURFACE)


class Shelf:
    """An archive that always has what it was made with, on a coarse grid of its own, in its own names and units."""

    title = "the shelf"
    kinds: tuple[Kind, ...] = (Kind.SURFACE,)

    def __init__(self, name: str, holds: tuple[str, ...], stamps: tuple[str, ...] = ("2023-01-01",)) -> None:
        self.name, self.holds, self.stamps = name, holds, stamps
        self.asked: list[tuple[str, ...]] = []

    def fetch(self, request: Request) -> Native:
        self.asked.append(request.variables)
        latitude, longitude = np.arange(-10.0, -31.0, -1.0), np.arange(140.0, 160.0)
        times = np.array(self.stamps, dtype="datetime64[ns]")
        fields = {}
        for name in self.holds:
            values = native.era5_values(name, 0, latitude, longitude)
            values = values / 100 if name in ("msl", "sp") else values
            unit = {"msl": "hPa", "sp": "hPa", "t2m": "K"}.get(name, "m/s")
            field = np.broadcast_to(values, (len(times), *values.shape))
            fields[name.upper()] = (("time", "lat", "lon"), field, {"units": unit})
        lexicon = {
            name: Term(name.upper(), {"hPa": (100.0, 0.0)} if name in ("msl", "sp") else {"K": (1, 0), "m/s": (1, 0)})
            for name in NAMES
        }
        return Native(xr.Dataset(fields, {"time": times, "lat": latitude, "lon": longitude}), lexicon, (), "shelved")


class Empty(Shelf):
    """An archive that has nothing today."""

    def fetch(self, request: Request) -> Native:
        self.asked.append(request.variables)
        raise InputUnavailable("the day", found="nothing", where=self.name, action="wait")


def on_ladder(*sources: Source, age_days: float = 0.0) -> tuple[System, dict[str, Source]]:
    names = tuple(source.name for source in sources)
    ladder = Ladder(kind=Kind.SURFACE, rungs=rungs(*names, maximum_age_days=age_days), required=True)
    return CORAL_SEA.model_copy(update={"ladders": (ladder,)}), {source.name: source for source in sources}


def surface(tmp_path: Path, *sources: Source, age_days: float = 0.0) -> tuple[xr.Dataset, ...]:
    system, named = on_ladder(*sources, age_days=age_days)
    return ingest(system, Kind.SURFACE, native.START, inputs=None, scratch=tmp_path, sources=named)


def test_every_source_of_every_ladder_is_there_and_gives_that_kind() -> None:
    for system in SYSTEMS:
        for ladder in system.ladders:
            for name in ladder.sources:
                assert ladder.kind in SOURCES[name].kinds, f"{system.name}: {ladder.kind} from {name}"


def test_a_source_is_named_as_it_is_listed() -> None:
    assert all(source.name == name and source.title for name, source in SOURCES.items())


@pytest.mark.parametrize(
    ("archive", "entries"),
    [(hycom, OCEAN), (era5, SURFACE + WAVES), (nobm, BIOGEOCHEMISTRY)],
)
def test_an_archive_has_words_for_each_variable_of_its_kinds(
    archive: ModuleType, entries: tuple[Variable, ...]
) -> None:
    lexicon = archive.LEXICON
    assert set(lexicon) == {entry.name for entry in entries}
    assert all(term.units for term in lexicon.values())


def test_the_first_rung_is_enough_where_it_has_everything(tmp_path: Path) -> None:
    first, second = Shelf("first", NAMES), Shelf("second", NAMES)
    (part,) = surface(tmp_path, first, second)
    (record,) = records(part)
    assert (record.rung, record.source, record.variables) == (0, "first", NAMES)
    assert record.degraded is None
    assert record.note == "shelved"
    assert second.asked == []


def test_what_a_rung_lacks_comes_from_the_next_with_the_reason(tmp_path: Path) -> None:
    first, second = Shelf("first", ("u10", "v10", "msl")), Shelf("second", NAMES)
    parts = surface(tmp_path, first, second)
    assert [set(part.data_vars) for part in parts] == [{"u10", "v10", "msl"}, {"t2m", "sp"}]
    assert second.asked == [("t2m", "sp")]
    (record,) = records(parts[1])
    assert record.degraded == "t2m and sp from second: the shelf does not hold t2m and sp for 2023-01-01T00Z"
    assert records(parts[0])[0].degraded is None


def test_a_rung_that_has_nothing_is_passed_with_the_reason(tmp_path: Path) -> None:
    (part,) = surface(tmp_path, Empty("first", ()), Shelf("second", NAMES))
    (record,) = records(part)
    assert record.rung == 1
    assert record.degraded is not None
    assert "from second: needed the day, found nothing in first" in record.degraded


def test_nothing_on_any_rung_is_unavailable_as_the_first_said(tmp_path: Path) -> None:
    with pytest.raises(InputUnavailable) as caught:
        surface(tmp_path, Empty("first", ()), Empty("second", ()))
    assert caught.value.where == "first"


def test_a_variable_that_no_rung_has_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match=r"needed sp for the surface input"):
        surface(tmp_path, Shelf("first", NAMES[:3]), Shelf("second", NAMES[:4]))


def test_refused_input_is_not_replaced_by_a_lower_rung(tmp_path: Path) -> None:
    """A file that is wrong is for a person to look at: the forecast does not go on without a word from below."""
    native.write_era5(tmp_path / "a.nc")
    whole = (tmp_path / "a.nc").read_bytes()
    (tmp_path / "a.nc").write_bytes(whole[:-100])
    system, sources = on_ladder(SOURCES["era5"], Shelf("second", NAMES))
    with pytest.raises(InputRefused, match="a whole netCDF file"):
        ingest(system, Kind.SURFACE, native.START, inputs=str(tmp_path), scratch=tmp_path, sources=sources)


def test_a_ladder_that_names_no_known_source_says_so(tmp_path: Path) -> None:
    system, _ = on_ladder(Shelf("first", NAMES))
    with pytest.raises(UsageError, match="a source named 'first'"):
        ingest(system, Kind.SURFACE, native.START, inputs=None, scratch=tmp_path, sources=SOURCES)


def test_a_kind_without_a_ladder_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(InputUnavailable, match="without a ladder"):
        ingest(CORAL_SEA, Kind.STATIC, native.START, inputs=None, scratch=tmp_path)


def test_units_are_converted_by_the_lexicon(tmp_path: Path) -> None:
    """The shelf's 1010 hPa are 101000 Pa: ours = 100 * native."""
    (part,) = surface(tmp_path, Shelf("first", NAMES))
    expected = native.era5_values("msl", 0, part["latitude"].values, part["longitude"].values)
    np.testing.assert_allclose(part["msl"].values, expected, rtol=1e-7)
    assert part["msl"].attrs["units"] == "Pa"
    assert part["msl"].dtype == np.float32


def test_fields_face_north_and_east_and_are_cut_with_a_margin(tmp_path: Path) -> None:
    """Grid edges -24.74..-15.94 N and 144.76..154.36 E, two native degrees beyond: -26..-14 N, 143..156 E."""
    (part,) = surface(tmp_path, Shelf("first", NAMES))
    np.testing.assert_array_equal(part["latitude"].values, np.arange(-26.0, -13.0))
    np.testing.assert_array_equal(part["longitude"].values, np.arange(143.0, 157.0))
    expected = native.era5_values("u10", 0, part["latitude"].values, part["longitude"].values)
    np.testing.assert_allclose(part["u10"].values, expected, rtol=1e-6)


@pytest.mark.parametrize("west", [350.5, 344.5, 358.5])
def test_a_region_astride_greenwich_is_what_the_whole_globe_has_there(west: float, tmp_path: Path) -> None:
    """Means over its cells from its own cut of a file of the globe, and the same cells of all the globe's means."""
    native.write_era5(tmp_path / "globe.nc", latitude=np.arange(60.0, 39.0, -1.0), longitude=np.arange(0.0, 360.0))
    globe = Grid(south=45.0, west=0.5, latitude_step=2.0, longitude_step=2.0, rows=5, columns=180)
    region = globe.model_copy(update={"west": west, "columns": 9})
    ladder = Ladder(kind=Kind.SURFACE, rungs=rungs("era5"), required=True)
    means = []
    for grid in (globe, region):
        system = CORAL_SEA.model_copy(update={"ladders": (ladder,), "grid": grid})
        (part,) = ingest(system, Kind.SURFACE, native.START, inputs=str(tmp_path), scratch=tmp_path)
        means.append(w.mean(part["t2m"].values, w.weights(part["latitude"].values, part["longitude"].values, grid))[0])
    assert (np.diff(part["longitude"].values) > 0).all()
    assert part.sizes["longitude"] == 18 + 2 * translate.MARGIN_CELLS
    columns = [globe.longitude.tolist().index(east) for east in region.longitude % 360.0]
    assert np.ptp(means[1]) > 1.0
    np.testing.assert_allclose(means[1], means[0][:, columns], rtol=1e-6)


@pytest.mark.parametrize(
    "stamps", [("2023-01-01", "2023-01-01"), ("2023-01-01T01",), ("2022-12-31",), ("2022-12-30", "2022-12-31")]
)
def test_the_instant_must_be_there_exactly_once(tmp_path: Path, stamps: tuple[str, ...]) -> None:
    with pytest.raises(InputRefused, match="at 2023-01-01T00:00:00 exactly once"):
        surface(tmp_path, Shelf("first", NAMES, stamps))


def test_an_allowed_age_is_recorded_and_degrades(tmp_path: Path) -> None:
    (part,) = surface(tmp_path, Shelf("first", NAMES, ("2022-12-26T12",)), age_days=7.0)
    (record,) = records(part)
    assert record.age_hours == 132.0
    assert record.valid_time == native.START - timedelta(hours=132)
    assert record.degraded == "u10, v10, t2m, msl and sp from first valid 2022-12-26T12Z, 132 h old"
    assert part["time"].values == np.datetime64("2022-12-26T12")
    with pytest.raises(InputRefused, match="exactly once"):
        surface(tmp_path, Shelf("first", NAMES, ("2022-12-26T12",)), age_days=5.4)


def test_an_input_of_the_future_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputRefused, match="exactly once"):
        surface(tmp_path, Shelf("first", NAMES, ("2023-01-02",)), age_days=7.0)


def test_an_atmosphere_with_a_gap_is_refused(tmp_path: Path) -> None:
    """One cell of the 45 x 49 file; of the 41 x 43 cells within the cut it is 0.06 %."""
    native.write_era5(tmp_path / "a.nc", layout="new")
    with netCDF4.Dataset(tmp_path / "a.nc", "r+") as file:
        file["u10"][0, 20, 20] = np.nan
    system, sources = on_ladder(SOURCES["era5"])
    with pytest.raises(InputRefused, match=r"u10 everywhere \(the atmosphere has no land\); found 0\.1 % of it"):
        ingest(system, Kind.SURFACE, native.START, inputs=str(tmp_path), scratch=tmp_path, sources=sources)


def test_fields_stay_lazy_until_they_are_asked_for(tmp_path: Path) -> None:
    native.write_hycom(tmp_path / "a.nc")
    (part,) = ingest(CORAL_SEA, Kind.OCEAN, native.START, inputs=str(tmp_path), scratch=tmp_path)
    assert all(field.chunks is not None for field in part.data_vars.values())
    assert part["to"].dims == ("depth", "latitude", "longitude")


@pytest.mark.realdata
def test_the_real_ocean_and_the_real_winds_make_the_coral_seas_input(realdata: Path, tmp_path: Path) -> None:
    (ocean,) = ingest(CORAL_SEA, Kind.OCEAN, native.START, inputs=str(realdata), scratch=tmp_path)
    (record,) = records(ocean)
    assert (record.source, record.rung, record.age_hours, record.degraded) == ("hycom", 0, 0.0, None)
    assert "potential" in record.note
    winds, rest = ingest(CORAL_SEA, Kind.SURFACE, native.START, inputs=str(realdata), scratch=tmp_path)
    assert set(winds.data_vars) == {"u10", "v10", "msl"}
    assert set(rest.data_vars) == {"t2m", "sp"}
    (record,) = records(rest)
    assert record.source == "climatology"
    assert record.degraded == ("t2m and sp from climatology: ERA5 does not hold t2m and sp for 2023-01-01T00Z")
