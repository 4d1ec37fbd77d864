"""The training archive, built from small files in the archives' own layouts by the journey itself."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import native_files as native
import numpy as np
import psutil
import pytest
import small_goms
import xarray as xr
import zarr

from pipeline import forcing, truth
from pipeline.earth import landmask, mask_making
from pipeline.errors import InputRefused, InputUnavailable, UsageError
from pipeline.systems import AGULHAS
from pipeline.training import archive, archive_check, archive_statistics
from pipeline.training import archive_layout as layout
from pipeline.training.archive_contract import contract_of
from pipeline.training.archive_days import shard_sha256
from pipeline.training.training_archive import TrainingArchive
from pipeline.variables import Kind, variable

FIRST, LAST = date(2023, 1, 1), date(2023, 1, 4)
GAP = 2
"""Day 2, 2023-01-03, is not in the files."""
SEA = small_goms.SMALL_SEA.model_copy(update={
    "name": "archived-sea",
    "kuroshio_grid": small_goms.SMALL_SEA.grid.window(south=-23.0, north=-20.0, west=147.0, east=151.0).refined(2),
})  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def files(tmp_path_factory):
    """A folder of files of three days, and the sea's masks in place of the packaged ones."""
    folder = tmp_path_factory.mktemp("archive")
    inputs, scratch = folder / "inputs", folder / "scratch"
    inputs.mkdir()
    scratch.mkdir()
    write(inputs, (0, 1, 3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(landmask, "FOLDER", folder)
        landmask.save(SEA, mask_making.from_source(SEA, small_goms.START, str(inputs), scratch))
        yield inputs


def write(folder: Path, days):
    native.write_hycom(folder / "hycom.nc", stamps=[native.hours(small_goms.START) + 24.0 * day for day in days])
    hours = [24.0 * day for day in days]
    native.write_era5(folder / "atmosphere.nc", hours_after=hours)
    native.write_era5(folder / "waves.nc", hours_after=hours, fields=("swh", "mwp", "mwd"))


def build(out, inputs, last=LAST, **options):
    scratch = Path(out).parent / "scratch"
    return archive.build(SEA, FIRST, last, str(out), scratch=scratch, inputs=str(inputs), **options)


@pytest.fixture(scope="module")
def built(files, tmp_path_factory):
    out = tmp_path_factory.mktemp("built") / "days.zarr"
    return build(out, files), out


def test_every_day_is_held_or_missing_with_its_reason(built):
    result, out = built
    assert result.held == 3
    assert list(result.missing) == ["2023-01-03"]
    assert "2023-01-03" in result.missing["2023-01-03"]
    assert TrainingArchive(str(out), SEA).held.tolist() == [True, True, False, True]


def test_values_are_the_gridded_ones_to_the_bits_kept(built, files, tmp_path):
    """Rounding to n mantissa bits is off by at most 2**-(n + 1) of the value."""
    days = TrainingArchive(str(built[1]), SEA)
    edge = truth.Edge(str(files), tmp_path)
    when = datetime(2023, 1, 4, tzinfo=UTC)
    ocean, waves = (truth.of_kind(SEA, kind, when, edge) for kind in (Kind.OCEAN, Kind.WAVES))
    fine = truth.kuroshio(SEA, when, edge)
    for name, values, source in (
        ("ocean", days.ocean(3), ocean), ("waves", days.waves(3), waves), ("kuroshio", days.kuroshio(3), fine)
    ):  # fmt: skip
        labels = days.channels[name]
        assert values.dtype == np.float32
        assert values.shape[0] == len(labels)
        for label, found in zip(labels, values, strict=True):
            variable_name, _, depth = label.partition("@")
            field = source[variable_name]
            expected = (field.sel(depth=float(depth)) if "depth" in field.dims else field).values
            assert np.array_equal(np.isnan(found), np.isnan(expected)), label
            tolerance = 2.0 ** -(variable(variable_name).mantissa_bits + 1)
            np.testing.assert_allclose(found, expected, rtol=1.01 * tolerance, err_msg=label)


def test_the_channels_are_in_order_and_topography_is_last(built):
    channels = TrainingArchive(str(built[1]), SEA).channels
    assert list(channels) == ["ocean", "forcing", "waves", "kuroshio"]
    assert channels["ocean"][:2] == ("to@0", "to@6")
    assert (len(channels["ocean"]), channels["ocean"][-1]) == (61, "zos")
    assert channels["forcing"] == ("u10", "v10", "t2m", "msl", "sp", "elevation")


def test_days_that_can_be_stepped_from_are_followed_by_days_that_are_held(built):
    """Held: 0, 1 and 3."""
    days = TrainingArchive(str(built[1]), SEA)
    assert days.starts(0).tolist() == [0, 1, 3]
    assert days.starts(1).tolist() == [0]
    assert days.starts(2).tolist() == []
    assert days.starts(0, first=1).tolist() == [1, 3]
    assert days.starts(1, last=0).tolist() == []


def test_the_forcing_of_a_start_never_sees_a_later_day(built):
    """The sea's policy is persistence: every step has the start's own analysis."""
    days = TrainingArchive(str(built[1]), SEA)
    path = days.forcing(0, 3)
    assert path.shape == (3, 6, *SEA.grid.shape)
    assert np.array_equal(path[0], path[2])
    assert np.array_equal(path[0], days.array("forcing", 0))
    assert np.isfinite(path).all()
    assert not np.array_equal(path[1], days.array("forcing", 1))


def test_a_missing_day_is_not_given_as_anything(built):
    days = TrainingArchive(str(built[1]), SEA)
    with pytest.raises(InputUnavailable, match="2023-01-03"):
        days.ocean(GAP)
    with pytest.raises(InputUnavailable, match="not built yet, or outside"):
        days.ocean(4)
    with pytest.raises(InputUnavailable, match="no array biogeochemistry"):
        days.biogeochemistry(0)


def test_dates_and_days_are_one_calendar(built):
    days = TrainingArchive(str(built[1]), SEA)
    assert (days.date_of(3), days.index_of(LAST), days.days) == (LAST, 3, 4)
    with pytest.raises(InputUnavailable, match=r"2023-01-01\.\.2023-01-04"):
        days.index_of(date(2023, 1, 5))


def held(out):
    return (np.asarray(layout.member(layout.existing(str(out)), "held")[:]) == layout.HELD).tolist()


def modified(out):
    return {path: path.stat().st_mtime_ns for path in sorted(Path(out).rglob("c/*/*")) if path.is_file()}


def test_a_build_that_was_stopped_goes_on_with_the_days_that_are_not_held(files, tmp_path):
    """Stopped after the first day was recorded: the second run does the others and leaves the first alone."""
    out = tmp_path / "days.zarr"

    def stop(done, of, said):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(out, files, progress=stop)
    assert held(out) == [True, False, False, False]
    before = modified(out)
    said = []
    result = build(out, files, progress=lambda done, of, text: said.append((done, of, text[:10])))
    assert [entry[:2] for entry in said] == [(1, 3), (2, 3), (3, 3)]
    assert [entry[2] for entry in said] == ["2023-01-02", "2023-01-03", "2023-01-04"]
    assert result.held == 3
    first = [path for path in before if path.relative_to(out).parts[0] in SEA_ARRAYS and path.parts[-4] == "0"]
    assert all(modified(out)[path] == before[path] for path in first)


SEA_ARRAYS = ("ocean", "forcing", "waves", "kuroshio")


def test_data_without_their_flag_are_written_again(files, tmp_path):
    """Killed between the data and the flag: the day is not held, whatever lies there."""
    out = tmp_path / "days.zarr"
    build(out, files, last=FIRST)
    group = layout.existing(str(out))
    layout.member(group, "ocean")[0:1] = np.float32(99)
    layout.member(group, "held")[0] = layout.NOT_YET
    build(out, files, last=FIRST)
    assert not (layout.member(layout.existing(str(out)), "ocean")[0] == 99).any()


def test_a_missing_day_is_tried_again_when_its_files_have_come(files, tmp_path):
    inputs, out = tmp_path / "inputs", tmp_path / "days.zarr"
    inputs.mkdir()
    write(inputs, (0,))
    assert list(build(out, inputs, last=date(2023, 1, 2)).missing) == ["2023-01-02"]
    (inputs / "late").mkdir()
    write(inputs / "late", (1,))
    for path in (inputs / "late").iterdir():
        path.rename(inputs / f"late_{path.name}")
    result = build(out, inputs, last=date(2023, 1, 2))
    assert (result.held, result.missing) == (2, {})


def test_an_archive_grows_at_its_end(files, tmp_path):
    out = tmp_path / "days.zarr"
    build(out, files, last=FIRST)
    before = layout.member(layout.existing(str(out)), "ocean")[0]
    assert build(out, files, last=date(2023, 1, 2)).held == 2
    days = TrainingArchive(str(out), SEA)
    assert days.days == 2
    assert np.array_equal(days.ocean(0), before, equal_nan=True)
    with xr.open_zarr(out, consolidated=False) as dataset:
        assert dataset["time"].values.astype("datetime64[D]").astype(str).tolist() == ["2023-01-01", "2023-01-02"]


def test_an_archive_of_something_else_is_refused(files, built, tmp_path):
    _, out = built
    with pytest.raises(UsageError, match="seed 1"):
        build(out, files, seed=1)
    with pytest.raises(UsageError, match="first_day"):
        archive.build(SEA, FIRST + timedelta(days=1), LAST, str(out), scratch=tmp_path, inputs=str(files))
    with pytest.raises(UsageError, match="a training archive"):
        TrainingArchive(str(tmp_path / "nothing.zarr"), SEA)
    with pytest.raises(UsageError, match="no earlier than the first"):
        archive.build(SEA, LAST, FIRST, str(tmp_path / "x.zarr"), scratch=tmp_path, inputs=str(files))
    other = SEA.model_copy(update={"grid": SEA.grid.refined(2)})
    with pytest.raises(UsageError, match="grids"):
        TrainingArchive(str(out), other)


def test_no_day_at_all_is_an_error_and_not_an_empty_archive(files, tmp_path):
    with pytest.raises(InputUnavailable, match="at least one day"):
        archive.build(SEA, date(2024, 5, 1), date(2024, 5, 2), str(tmp_path / "days.zarr"),
                      scratch=tmp_path / "scratch", inputs=str(files))  # fmt: skip


def test_the_archive_says_what_it_is_of_and_leaves_no_scratch(built):
    _, out = built
    attributes = layout.existing(str(out)).attrs
    assert attributes["system"] == "archived-sea"
    assert attributes["real_ocean"] is False
    assert attributes["sources"] == {"ocean": ["hycom"], "surface": ["era5"], "waves": ["era5"]}
    assert (attributes["start_hour"], attributes["seed"], attributes["degraded"]) == (0, 0, {})
    scratch = out.parent / "scratch"
    assert not scratch.exists() or not list(scratch.iterdir())


def copied(built, tmp_path) -> Path:
    return Path(shutil.copytree(built[1], tmp_path / "days.zarr"))


def test_a_step_within_three_hours_stands_for_the_day_s_and_is_told_and_one_further_off_does_not(files, tmp_path):
    """The ocean of the second day lies two hours after the start, that of the third five."""
    inputs, out = tmp_path / "inputs", tmp_path / "days.zarr"
    inputs.mkdir()
    native.write_hycom(inputs / "hycom.nc", stamps=[native.hours(small_goms.START) + hours for hours in (0, 26, 53)])
    native.write_era5(inputs / "atmosphere.nc", hours_after=[0.0, 24.0, 48.0])
    native.write_era5(inputs / "waves.nc", hours_after=[0.0, 24.0, 48.0], fields=("swh", "mwp", "mwd"))
    result = build(out, inputs, last=date(2023, 1, 3))
    assert (result.held, list(result.missing)) == (2, ["2023-01-03"])
    assert layout.existing(str(out)).attrs["near_hours"] == {"2023-01-02": {"ocean": 2.0}}
    assert TrainingArchive(str(out), SEA).starts(1).tolist() == [0]


def test_the_manifest_has_every_shard_and_finds_the_one_that_was_changed(built, tmp_path):
    out = copied(built, tmp_path)
    manifest = json.loads(archive.manifest_path(str(built[1])).read_text())
    assert list(manifest["days"]) == ["2023-01-01", "2023-01-02", "2023-01-04"]
    shard = out / "waves" / "c" / "3" / "0" / "0" / "0"
    assert manifest["days"]["2023-01-04"]["waves"] == hashlib.sha256(shard.read_bytes()).hexdigest()
    assert wrong(out) == []
    layout.member(layout.existing(str(out)), "waves")[3, 0, 2, 2] = 99.0
    assert wrong(out) == ["waves of 2023-01-04: other values than were written, in any of its channels"]


def wrong(out) -> list[str]:
    """What the archive's check finds in its fitted days, which two processes with two threads share."""
    days = TrainingArchive(str(out), SEA)
    shares = [archive_check.Share(number, 2, 2) for number in (0, 1)]
    return [said for share in shares for said in archive_check.wrong(days, SEA_ARRAYS, [(0, 3)], share)]


def test_what_the_statistics_are_not_of_is_held_against_the_land_and_the_place_is_named(built, tmp_path):
    """A gap that was written with its digest: the bytes are as they were written."""
    out = copied(built, tmp_path)
    group = layout.existing(str(out))
    waves, digests = layout.member(group, "waves"), layout.member(group, "sha256")
    row, column = np.argwhere(np.isfinite(waves[1, 2]))[0]
    waves[1, 2, row, column] = np.nan
    statistics = layout.attribute(group, "statistics")
    digests[1, 2] = np.frombuffer(shard_sha256(str(out), "waves", 1), dtype=np.uint8)
    with pytest.raises(UsageError, match="statistics of the days it holds from 2023-01-01 to 2023-01-04"):
        TrainingArchive(str(out), SEA)
    statistics["made_of"] = hashlib.sha256(np.asarray(digests[:4]).tobytes()).hexdigest()
    group.attrs["statistics"] = statistics
    (said,) = wrong(out)
    place = f"row {row}, column {column} ({SEA.grid.latitude[row]:.3f} N"
    assert said.startswith(f"waves of 2023-01-02: no value on ocean in 1 place, the first mwd in {place}")


WORKERS = """
import os, pathlib, sys, time
from pipeline.training import archive

def archive_day(folder):
    pathlib.Path(folder, str(os.getpid())).touch()
    time.sleep(600)

archive.archive_day = archive_day
if __name__ == "__main__":
    list(archive._processes(sys.argv[1:] * 2, 2))
"""
"""A build of two days by two workers, each of which says that it is there and has much to do."""


def test_workers_of_a_killed_build_end_with_it(tmp_path):
    script, folder = tmp_path / "workers.py", tmp_path / "workers"
    script.write_text(WORKERS)
    folder.mkdir()
    build = psutil.Popen([sys.executable, str(script), str(folder)], cwd=Path(__file__).parents[1])
    while build.poll() is None and len(list(folder.iterdir())) < 2:
        time.sleep(0.05)
    workers = [child for child in build.children() if (folder / str(child.pid)).exists()]
    build.kill()
    build.wait()
    _, left = psutil.wait_procs(workers, timeout=60)
    for process in left:
        process.kill()
    assert (len(workers), left) == (2, [])


SIX_CELLS = AGULHAS.model_copy(update={
    "grid": AGULHAS.grid.model_copy(update={"rows": 2, "columns": 3}), "ocean_variables": ("uo",),
})  # fmt: skip


@pytest.mark.parametrize("killed_at", range(4))
def test_an_archive_whose_growth_was_killed_anywhere_is_grown_by_the_same_command(tmp_path, monkeypatch, killed_at):
    """After the axis of time, or so many arrays; a shorter span brings it to where it was."""

    def opened(days: int):
        span = (FIRST, FIRST + timedelta(days=days - 1))
        return layout.opened(contract_of(SIX_CELLS, ("ocean",)), span, str(tmp_path / "x"), {"inputs": "", "seed": 0})

    opened(4)
    killed, written = KeyboardInterrupt(), []

    def until_killed(function):
        def call(*arguments, **options):
            if len(written) == killed_at:
                raise killed
            written.append(function)
            return function(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        patch.setattr(zarr.Array, "resize", until_killed(zarr.Array.resize))
        patch.setattr(layout, "_time_axis", until_killed(layout._time_axis))
        with pytest.raises(KeyboardInterrupt):
            opened(6)
    for days, expected in ((2, 4), (6, 6)):
        group = opened(days)
        sizes = {name: layout.member(group, name).shape[0] for name in ("time", "ocean", "sha256", "held")}
        assert sizes == dict.fromkeys(sizes, expected)
        assert int(layout.member(group, "time")[-1]) == (FIRST - layout.EPOCH).days + expected - 1


def test_an_archive_of_one_day_says_that_it_cannot_be_trained_on_and_days_it_has_not_are_not_fitted(
    files, tmp_path, monkeypatch
):
    """Of an archive whose path ends with a slash."""
    out = f"{tmp_path}/days.zarr/"
    assert build(out, files, FIRST) == (1, {}, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["days.zarr", "days.zarr.manifest.json", "scratch"]
    with pytest.raises(UsageError, match=r"at least 2 of the days to fit, 2023-01-01\.\.2023-01-01; found 1: "):
        TrainingArchive(out, SEA)
    monkeypatch.setattr(archive, "archive_day", lambda task: pytest.fail("built"))
    with pytest.raises(UsageError, match=r"within 2023-01-01..2023-01-04; found 2023-01-01..2023-01-05"):
        build(out, files, fit=(FIRST, LAST + timedelta(days=1)))


def test_an_archive_tells_what_it_is_of_without_any_system(built):
    days = TrainingArchive(str(built[1]))
    assert (days.contract.system, days.contract.start_hour, days.contract.grids["ocean"]) == (SEA.name, 0, SEA.grid)
    assert (days.fit, days.statistics["days"], days.statistics["harmonics"]) == ((0, 3), 3, 0)
    assert set(days.contract.channels) == set(SEA_ARRAYS)


def test_statistics_are_of_held_ocean_cells_and_changes_of_days_in_a_row(built):
    """Days 0, 1 and 3 are held: the only one-day change is from 0 to 1."""
    days = TrainingArchive(str(built[1]), SEA)
    fields = np.stack([days.ocean(day) for day in (0, 1, 3)]).astype(np.float64)
    average, squares, changes = days.moments("ocean", (0, None))
    np.testing.assert_allclose(average, fields.mean(0), rtol=1e-12)
    np.testing.assert_allclose(squares, (fields**2).mean(0), rtol=1e-12)
    np.testing.assert_allclose(changes, (fields[1] - fields[0]) ** 2, rtol=1e-12)
    weights = np.where(np.isfinite(fields[0, 0]), SEA.grid.areas_m2, 0.0)
    mean = layout.member(layout.existing(str(built[1])), "ocean_mean")[0]
    assert mean == pytest.approx(np.nansum(fields.mean(0)[0] * weights) / weights.sum(), rel=1e-9)
    assert days.moments("ocean", (0, 1)) is None, "of other days they say nothing"
    np.testing.assert_allclose(days.climatology("ocean", FIRST), fields.mean(0), rtol=1e-6)


@pytest.mark.parametrize(("days", "told"), [
    (range(330), 2), (range(100, 430), 2), (range(329), 0), (range(120), 0), (range(0, 365, 2), 2),
    (range(0, 365, 3), 0), ([*range(180), *range(366, 546)], 0), ([*range(180), *range(546, 731)], 2),
])  # fmt: skip
def test_seasons_are_told_by_days_that_are_held_and_cover_the_year(days, told):
    """In a row; by halves of two years, which are the same half or the two; thinly."""
    assert archive_statistics.harmonics_told(date(2022, 1, 1), list(days)) == told


def test_a_third_of_a_year_is_not_drawn_out_over_the_others(tmp_path):
    """A sea of six cells that warms from January to April, of a span of a year of which nothing else is held."""
    out, last = str(tmp_path / "days.zarr"), FIRST + timedelta(days=364)
    group = layout.opened(contract_of(SIX_CELLS, ("ocean",)), (FIRST, last), out, {"inputs": "", "seed": 0})
    values = (1.0 + 0.01 * np.arange(120) + 0.1 * np.sin(np.arange(120))).astype(np.float32)
    layout.member(group, "ocean")[:120] = values[:, None, None, None] * np.ones((1, 2, 3), np.float32)
    layout.member(group, "held")[:120] = layout.HELD
    archive_statistics.finish(out, (FIRST, last), None, 1)
    september = TrainingArchive(out).climatology("ocean", date(2023, 9, 1))
    np.testing.assert_allclose(september, values.mean(), rtol=1e-5)


def test_other_channels_in_another_order_are_refused_by_name(built, tmp_path):
    out = copied(built, tmp_path)
    group = layout.existing(str(out))
    contract = layout.attribute(group, "contract")
    contract["channels"]["ocean"][0:2] = contract["channels"]["ocean"][1::-1]
    group.attrs["contract"] = contract
    with pytest.raises(UsageError, match=r"channels ocean\[0\] = to@0 of 61; found to@6 of 61"):
        TrainingArchive(str(out), SEA)
    with pytest.raises(UsageError, match=r"channels ocean\[0\] = to@6 of 61; found to@0 of 61; in .*/ocean;"):
        TrainingArchive(str(out))


def test_an_archive_without_a_statistic_is_refused_until_it_is_finished(built, files, tmp_path):
    out = copied(built, tmp_path)
    shutil.rmtree(out / "ocean_changes")
    with pytest.raises(UsageError, match="the statistic ocean_changes"):
        TrainingArchive(str(out), SEA)
    layout.existing(str(out)).attrs["statistics"] = None
    with pytest.raises(UsageError, match="finish it"):
        TrainingArchive(str(out), SEA)
    archive_statistics.finish(str(out), (FIRST, LAST), None, 1)
    assert TrainingArchive(str(out), SEA).moments("ocean", (0, 3)) is not None


def test_an_ocean_cell_without_a_value_is_found_before_there_are_statistics(built, tmp_path):
    out = copied(built, tmp_path)
    group = layout.existing(str(out))
    ocean = layout.member(group, "ocean")
    row, column = np.argwhere(np.isfinite(ocean[1, 60]))[0]
    ocean[1, 60, row, column] = np.nan
    group.attrs["statistics"] = None
    with pytest.raises(InputRefused, match="zos in every ocean cell"):
        archive_statistics.finish(str(out), (FIRST, LAST), None, 1)


@pytest.mark.parametrize("policy", ["analysis", "persistence", "relaxed"])
def test_a_spike_of_the_forcing_is_on_its_own_day_whatever_the_policy(built, tmp_path, policy):
    """Day 1 has it. A forecast from day 0 does not see it unless it is a hindcast; one from day 1 starts with it."""
    out = copied(built, tmp_path)
    group = layout.existing(str(out))
    layout.member(group, "forcing")[1, 0] = np.full(SEA.grid.shape, 1e4, dtype=np.float32)
    days = TrainingArchive(str(out), SEA, policy)
    assert [bool((step[0] > 5e3).any()) for step in days.forcing(0, 2)] == [False, policy == "analysis"]
    assert bool((days.forcing(1, 1)[0, 0] > 5e3).all())
    if policy != "analysis":
        assert bool((days.forcing(1, 2)[1, 0] > 5e3).all())


def test_no_forecast_is_made_under_a_hindcast_s_policy(built):
    with pytest.raises(UsageError, match="which is a hindcast's"):
        forcing.path(np.zeros((6, *SEA.grid.shape), np.float32), small_goms.START, 2, SEA.grid, "analysis")


def test_any_reader_opens_it_with_its_dates(built):
    with xr.open_zarr(built[1], consolidated=False) as dataset:
        assert dataset["ocean"].dims == ("time", "ocean_channel", "ocean_latitude", "ocean_longitude")
        assert str(dataset["time"].values[3])[:10] == "2023-01-04"
        np.testing.assert_allclose(dataset["ocean_latitude"], SEA.grid.latitude)
        assert bool(dataset["ocean"].isel(time=GAP).isnull().all())
