"""What happened is what an archive has of that very instant, and nothing that stood in for it when a forecast began."""

from __future__ import annotations

import json
from datetime import date, timedelta

import native_files as native
import pytest
import small_goms

from flows.desk import training
from flows.journey import verification
from flows.journey.stages import Run
from flows.service import scoring
from pipeline import products, provenance, systems, truth
from pipeline.earth import landmask, monthly_means
from pipeline.errors import InputUnavailable, UsageError
from pipeline.sources import SOURCES, in_order
from pipeline.systems import TWIN, Ladder, rungs
from pipeline.training import archive, archive_days
from pipeline.training.archive_days import Task, archive_day
from pipeline.variables import Kind

START, DAY = small_goms.START, timedelta(days=1)
AGED = (*rungs("era5", expected=False), *rungs("own-forecast", maximum_age_days=5.0),
        *rungs("era5", maximum_age_days=7.0, usual_age_days=6.0))  # fmt: skip
"""Like the global system's: the reanalysis of the day, or our own forecast, or what it had a week ago."""
SEA = small_goms.SMALL_SEA.model_copy(update={
    "name": "stood-in-sea", "kuroshio_grid": small_goms.SMALL_SEA.grid,
    "ladders": (
        Ladder(kind=Kind.OCEAN, rungs=rungs("hycom", maximum_age_days=3.0), required=True),
        Ladder(kind=Kind.SURFACE, rungs=rungs("era5", "climatology"), required=True),
        Ladder(kind=Kind.WAVES, rungs=AGED, required=False),
    ),
})  # fmt: skip
SEA_REAL = SEA.model_copy(update={"real_ocean": True})
GLOBAL = systems.system("global-quarter-degree")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    """Files of three days of the sea, of its waves one, and of the weather the first and the third."""
    folder = tmp_path_factory.mktemp("truth")
    files = folder / "inputs"
    files.mkdir()
    native.write_hycom(files / "hycom.nc", stamps=[native.hours(START) + 24.0 * day for day in range(3)])
    native.write_era5(files / "atmosphere.nc", hours_after=[0.0, 48.0])
    native.write_era5(files / "waves.nc", fields=("swh", "mwp", "mwd"))
    small_goms.make_masks(folder, files, folder)
    masks = folder / f"{small_goms.SMALL_SEA.name}.npz"
    masks.rename(masks.with_stem(SEA.name))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(landmask, "FOLDER", folder)
        patch.setattr(systems, "SYSTEMS", (*systems.SYSTEMS, SEA))
        yield files


def test_an_older_instant_is_no_truth_of_a_day(inputs, tmp_path):
    happened = truth.analysed(SEA, truth.Edge(str(inputs), tmp_path))
    (record,) = provenance.records(happened(products.WAVES, START))
    assert (record.source, record.valid_time) == ("era5", START)
    with pytest.raises(InputUnavailable, match="2023-01-06"):
        happened(products.WAVES, START + 5 * DAY)
    with pytest.raises(InputUnavailable, match="2023-01-04"):
        happened(products.KUROSHIO, START + 3 * DAY)


class Ahead:
    """An archive whose newest fields are forecasts."""

    def __init__(self, archive, hours):
        self.archive, self.hours, self.asked = archive, hours, 0

    def __getattr__(self, name):
        return getattr(self.archive, name)

    def fetch(self, request):
        self.asked += 1
        return self.archive.fetch(request)._replace(analysed=request.when - timedelta(hours=self.hours))


def test_a_forecast_of_an_archive_is_no_truth_and_waits(inputs, tmp_path, monkeypatch):
    """Neither for scores nor for a training archive, whose day is missing without a look at the steps beside it."""
    ahead = Ahead(SOURCES["hycom"], 24.0)
    monkeypatch.setitem(SOURCES, "hycom", ahead)
    happened = truth.analysed(SEA, truth.Edge(str(inputs), tmp_path))
    for product in (products.OCEAN, products.KUROSHIO):
        with pytest.raises(InputUnavailable, match=r"a forecast of .*to.* from 24 h before; in hycom; wait until"):
            happened(product, START)
    ahead.asked = 0
    task = Task(SEA, START.date(), 0, str(tmp_path / "none.zarr"), ("ocean",), str(inputs), tmp_path, 0, 1, {})
    assert "found a forecast of" in archive_day(task).missing
    assert ahead.asked == 1
    ahead.hours = 3.0
    assert happened(products.OCEAN, START)["to"].notnull().any()


def test_days_to_come_of_the_real_ocean_are_not_scored_and_the_twin_s_are():
    later = START + DAY
    real, twin = (truth.until(START, system, lambda entry, when: when) for system in (SEA_REAL, SEA))
    with pytest.raises(InputUnavailable, match="verify again when that day has been"):
        real(products.WAVES, later)
    assert real(products.WAVES, START) == START
    assert twin(products.WAVES, later) == later


def test_what_was_seen_in_part_is_no_truth_and_no_fault(inputs, tmp_path):
    """Waves without their direction, and next to them nothing that could lend it."""
    native.write_era5(tmp_path / "waves.nc", fields=("swh", "mwp"))
    with pytest.raises(InputUnavailable, match="mwd"):
        truth.analysed(SEA, truth.Edge(str(tmp_path), tmp_path))(products.WAVES, START)


def test_what_is_asked_for_a_truth_are_the_archives_of_the_ladder_each_once_and_of_the_instant():
    for kind, names in (
        (Kind.WAVES, ["era5-arco", "era5-cds", "era5", "ifs", "copernicus"]),
        (Kind.SURFACE, ["era5-arco", "era5-cds", "era5", "ifs", "gfs"]),
        (Kind.BIOGEOCHEMISTRY, ["nobm-dap", "nobm", "copernicus"]),
    ):
        ladder = truth.observing(GLOBAL, kind)
        assert [rung.source for rung in ladder.rungs] == names
        assert {rung.maximum_age_days for rung in ladder.rungs} == {0.0}
    for ladder in TWIN.ladders:
        assert truth.observing(TWIN, ladder.kind).sources == ("twin",)


def test_a_system_that_sees_nothing_of_a_kind_has_no_truth_of_it(tmp_path):
    blind = SEA.model_copy(update={"ladders": (Ladder(kind=Kind.WAVES, rungs=AGED[1:2], required=False),)})
    happened = truth.analysed(blind, truth.Edge(None, tmp_path))
    for product in (products.WAVES, products.OCEAN, products.KUROSHIO):
        with pytest.raises(InputUnavailable, match="an archive that has seen"):
            happened(product, START)
    with pytest.raises(UsageError, match="waves of stood-in-sea"):
        monthly_means.taker(blind, Kind.WAVES, inputs=None, scratch=tmp_path, seed=0, archives={})


def test_files_of_the_day_come_first_and_older_ones_in_their_place():
    surface, waves = (GLOBAL.ladder(kind) for kind in (Kind.SURFACE, Kind.WAVES))
    for ladder in (surface, waves):
        places = list(in_order(ladder, "a folder"))
        assert (places[0].source, places[0].maximum_age_days) == ("era5", 0.0)
        assert [rung for rung in ladder.rungs if rung != places[0]] == places[1:]
        assert places.index(ladder.rungs[-1] if ladder is waves else ladder.rungs[-2]) > [
            rung.source for rung in places].index("ifs")  # fmt: skip
    aged = Ladder(kind=Kind.SURFACE, rungs=rungs("ifs", "era5", maximum_age_days=7.0), required=True)
    assert [rung.source for rung in in_order(aged, "a folder")] == ["era5", "ifs"]


def test_a_day_without_weather_is_missing_and_not_a_climatology(inputs, tmp_path):
    built = archive.build(SEA, START.date(), date(2023, 1, 3), str(tmp_path / "days.zarr"), inputs=str(inputs),
                          scratch=tmp_path / "scratch", arrays=("forcing",))  # fmt: skip
    assert (built.held, list(built.missing)) == (2, ["2023-01-02"])
    assert "ERA5" in built.missing["2023-01-02"]


def test_two_builds_of_one_day_leave_each_other_s_files_alone(tmp_path, monkeypatch):
    """The other begins and ends while the one has fetched and not yet read."""
    scratch = tmp_path / "scratch"
    task = Task(SEA, START.date(), 0, str(tmp_path / "none.zarr"), ("ocean",), None, scratch, 0, 1, {})

    def fetched(asked, folder):
        (folder / "fetched").write_text(asked.system.name)
        if asked.system is SEA:
            assert archive_day(asked._replace(system=TWIN)).missing is not None
        raise InputUnavailable((folder / "fetched").read_text(), found="none", where="here", action="wait")

    monkeypatch.setattr(archive_days, "_fields", fetched)
    assert archive_day(task).missing.startswith("needed stood-in-sea")
    assert list(scratch.iterdir()) == []


def test_a_truth_comes_from_the_archives_that_the_settings_name(inputs, tmp_path, monkeypatch):
    """Of a mirror that is not there each says so by its address; the documented archive would be asked elsewhere."""
    mirror = tmp_path / "mirror"
    monkeypatch.setenv("GOMS_ARCHIVES", json.dumps({"era5-arco": str(mirror)}))
    monkeypatch.setenv("GOMS_SCRATCH", str(tmp_path / "scratch"))
    ladder = Ladder(kind=Kind.WAVES, rungs=rungs("era5-arco"), required=True)
    far = SEA.model_copy(update={"ladders": (*SEA.ladders[:2], ladder), "kuroshio_grid": None})
    monkeypatch.setattr(systems, "SYSTEMS", (far,))
    run = Run(system=far.name, cycle="20230101T00", store=str(tmp_path / "store"))
    assert verification.edge(run).archives == {"era5-arco": str(mirror)}
    happened = scoring._truth(scoring.Scoring(run, far, run.opened, START))
    with pytest.raises(InputUnavailable, match=str(mirror)):
        happened(products.WAVES, START)
    with pytest.raises(InputUnavailable, match=str(mirror)):
        training.archive(("2023-01-01",) * 2, str(tmp_path / "days.zarr"), far.name, str(inputs), 1, 0, None)
