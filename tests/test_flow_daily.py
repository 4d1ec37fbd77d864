"""The whole journey on a small sea: publishing, doing nothing twice, being killed, being refused, being two."""

from __future__ import annotations

import json
import shutil
import signal
from datetime import timedelta
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import small_goms
import xarray as xr
from forked import Forks
from journeys import Goms, Here, contents, finish, stop_when

from flows import clock
from pipeline import cycle, intake, publish
from pipeline.gate.limits import Check
from pipeline.operations import retention
from pipeline.operations.retention import What
from pipeline.readers import view
from pipeline.record.latest import latest
from pipeline.store import Store
from pipeline.variables import Kind

FIRST, SECOND = "2023-01-01", "2023-01-02"
CYCLES = {day: cycle.cycle("small-sea", day, 0) for day in (FIRST, SECOND)}


def newest(store: Store) -> str | None:
    found = latest(store, "small-sea")
    return None if found is None else found.cycle


def product(store: Store, day: str, name: str) -> xr.Dataset:
    return xr.open_zarr(store.address(f"{CYCLES[day].revision_prefix(1)}/{name}.zarr"), chunks=None)


def test_a_run_publishes_and_a_second_run_leaves_every_byte(forks: Forks, here: Here, any_store: Store) -> None:
    first = here.run(FIRST, any_store)
    assert first.code == 0, first.err
    manifest = publish.read_manifest(any_store, CYCLES[FIRST], 1)
    assert manifest is not None
    assert newest(any_store) == "20230101T00"
    assert set(manifest.products) == {"ocean", "waves"}
    assert not manifest.degraded
    assert any(item.path.startswith("quicklooks/ocean_to") for item in manifest.objects)
    before = contents(any_store, "small-sea/cycles") | contents(any_store, "small-sea/latest.json")
    second = forks.run(FIRST, any_store).finish()
    assert second.code == 0, second.err
    assert "was published before: nothing to do" in second.out
    assert contents(any_store, "small-sea/cycles") | contents(any_store, "small-sea/latest.json") == before


def test_a_page_that_cannot_be_put_keeps_nothing_from_readers_and_the_next_run_puts_it(
    here: Here, first_day: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, published = "small-sea/view/index.html", contents(first_day, "small-sea/cycles")
    assert first_day.exists(page), "a run puts it"
    first_day.delete("small-sea/view")
    with monkeypatch.context() as patch:
        patch.setattr(view, "BUILT", Path(first_day.address("nowhere")))
        failed = here.run(FIRST, first_day)
    assert (failed.code, first_day.exists(page)) == (0, False)
    assert "the page to look at was not refreshed" in failed.out + failed.err
    assert here.run(FIRST, first_day).code == 0
    assert first_day.exists(page)
    assert contents(first_day, "small-sea/cycles") == published


def test_what_is_published_opens_and_is_the_days_ocean_held(both_days: tuple[Store, Store]) -> None:
    store = both_days[0]
    with product(store, FIRST, "ocean") as ocean, product(store, FIRST, "waves") as waves:
        assert list(ocean["time"].dt.strftime("%Y-%m-%d").values[[0, 1, -1]]) == [FIRST, SECOND, "2023-01-07"]
        assert ocean["to"].dims == ("time", "depth", "latitude", "longitude")
        assert float(ocean["to"].isel(time=0).max()) == pytest.approx(24.5, abs=1.5)  # 22 + 5 * plane, see the files
        xr.testing.assert_identical(ocean["to"].isel(time=0).variable, ocean["to"].isel(time=6).variable)
        assert float(waves["swh"].isel(time=0).mean()) == pytest.approx(2.5, abs=0.5)
        assert ocean.attrs["ocean"] == "synthetic twin: not the real ocean"


def test_the_readmes_two_lines_read_a_forecast(both_days: tuple[Store, Store], monkeypatch: pytest.MonkeyPatch) -> None:
    """As they stand there, but for the name of the system and of the store."""
    store = Path(both_days[1].address(""))
    text = (Path(__file__).parents[1] / "README.md").read_text()
    code = text.partition("```python\n")[2].partition("```")[0].replace("twin", "small-sea").replace('"store"', '"two"')
    monkeypatch.chdir(store.parent)
    names: dict[str, xr.Dataset] = {}
    exec(code, names)
    with names["ocean"] as ocean:
        assert len([line for line in code.splitlines() if line]) == 2
        assert str(ocean["forecast_reference_time"].values)[:10] == SECOND
        assert ocean["to"].sel(depth=0).isel(time=3).shape == (15, 9)


def test_the_weather_of_a_day_is_compared_with_that_of_the_day_before(both_days: tuple[Store, Store]) -> None:
    """No product holds it: of what was staged it alone stays, and housekeeping removes it."""
    store = both_days[1]
    report = store.read_json(intake.report_path(CYCLES[SECOND], Kind.SURFACE))
    assert {Check.STALE, Check.JUMP} <= {measure["check"] for measure in report["measures"]}
    assert Check.STALE not in report["not_done"]
    kept = {day: [path for path, _ in store.objects(f"{CYCLES[day].run_prefix}/staged")] for day in CYCLES}
    assert kept == {day: [f"{CYCLES[day].run_prefix}/staged/surface.npz"] for day in CYCLES}
    policy = small_goms.SMALL_SEA.retention
    planned = {
        hours: [(item.cycle, item.paths[0]) for item in retention.plan(
            store, small_goms.SMALL_SEA, clock.now() + timedelta(hours=hours)).removals if item.what is What.STATE]
        for hours in (policy.abandoned_hours - 1, policy.abandoned_hours + 1)
    }  # fmt: skip
    assert list(planned.values()) == [[], [(CYCLES[day].key, f"{CYCLES[day].run_prefix}/staged") for day in CYCLES]]


def test_latest_moves_forward_and_never_back(both_days: tuple[Store, Store], here: Here, folder_store: Store) -> None:
    assert newest(both_days[0]) == "20230101T00"
    assert newest(both_days[1]) == "20230102T00"
    for day in (SECOND, FIRST):
        assert here.run(day, folder_store).code == 0
        assert newest(folder_store) == "20230102T00"
    assert publish.published(folder_store, CYCLES[FIRST]) == 1


def test_a_killed_run_shows_readers_nothing_and_the_next_completes_it(
    goms: Goms, forks: Forks, first_day: Store, both_days: tuple[Store, Store]
) -> None:
    """Amid the forecast, between two restart states; ``test_kill_matrix`` has every other point."""
    seen = f"{CYCLES[SECOND].revision_prefix(1)}/ocean.zarr/to/c/3/0/0/0"
    goms.environment["GOMS_RESTART_EVERY_DAYS"] = "2"
    killed = goms.start("run", SECOND, *goms.request(first_day))
    stop_when(killed, first_day, seen, signal.SIGKILL)
    assert finish(killed).code == -signal.SIGKILL
    assert newest(first_day) == "20230101T00"
    assert publish.published(first_day, CYCLES[SECOND]) is None
    again = forks.run(SECOND, first_day).finish()
    assert again.code == 0, again.err
    assert "reused  take in the ocean" in again.err
    assert newest(first_day) == "20230102T00"
    for name in ("ocean.zarr", "waves.zarr", "quicklooks"):
        prefix = f"{CYCLES[SECOND].revision_prefix(1)}/{name}"
        assert contents(first_day, prefix) == contents(both_days[1], prefix) != {}


def test_a_run_goes_on_from_its_restart_state(forks: Forks, folder_store: Store) -> None:
    """Lead days before the restart state are not written again: their files keep their time stamps."""
    shard = f"{CYCLES[FIRST].revision_prefix(1)}/ocean.zarr/to/c/%d/0/0/0"
    killed = forks.run(FIRST, folder_store, "forecast: after the pointer", GOMS_RESTART_EVERY_DAYS="2")
    assert killed.finish().code == -signal.SIGKILL
    assert publish.published(folder_store, CYCLES[FIRST]) is None
    written = [Path(folder_store.address(shard % lead)).stat().st_mtime_ns for lead in range(3)]
    assert forks.run(FIRST, folder_store, GOMS_RESTART_EVERY_DAYS="2").finish().code == 0
    assert [Path(folder_store.address(shard % lead)).stat().st_mtime_ns for lead in range(3)] == written


def test_a_run_killed_between_its_manifest_and_latest_is_completed(here: Here, first_day: Store) -> None:
    first_day.delete("small-sea/latest.json")
    before = contents(first_day, "small-sea/cycles")
    assert here.run(FIRST, first_day).code == 0
    assert newest(first_day) == "20230101T00"
    assert contents(first_day, "small-sea/cycles") == before


def test_of_two_runs_one_publishes_and_the_other_says_who_is_at_it(forks: Forks, folder_store: Store) -> None:
    first = forks.run(FIRST, folder_store, "lock: held, nothing done", signal.SIGSTOP)
    first.await_stop()
    second = forks.run(FIRST, folder_store).finish()
    first.send_signal(signal.SIGCONT)
    assert second.code == 7
    assert f"held by process {first.pid} on " in second.sentence
    ended = first.finish()
    assert ended.code == 0, ended.err
    assert publish.published(folder_store, CYCLES[FIRST]) == 1


def test_an_input_that_is_not_there_is_exit_3(here: Here, folder_store: Store) -> None:
    answer = here.run("2023-01-09", folder_store)
    assert answer.code == 3
    assert "2023-01-09" in answer.sentence
    assert "Traceback" not in answer.err
    assert folder_store.objects("small-sea/cycles") == []


def test_an_input_that_lies_is_exit_4(here: Here, folder_store: Store, tmp_path: Path) -> None:
    """Degrees Celsius that are kelvin: 22 degC is said to be 295 degC."""
    inputs = shutil.copytree(here.inputs, tmp_path / "kelvin")
    with netCDF4.Dataset(inputs / "hycom.nc", "a") as file:
        file["water_temp"].add_offset = np.float32(293.15)
    answer = here._replace(inputs=inputs).run(FIRST, folder_store)
    assert answer.code == 4
    assert answer.sentence.startswith("goms: needed to ")
    assert "Traceback" not in answer.err
    assert newest(folder_store) is None


def test_what_may_lack_is_left_out_with_its_reason(here: Here, folder_store: Store, tmp_path: Path) -> None:
    inputs = shutil.copytree(here.inputs, tmp_path / "calm")
    (inputs / "era5_waves.nc").unlink()
    answer = here._replace(inputs=inputs).run(FIRST, folder_store)
    assert answer.code == 0, answer.err
    manifest = publish.read_manifest(folder_store, CYCLES[FIRST], 1)
    assert manifest is not None
    assert set(manifest.products) == {"ocean"}
    assert manifest.degraded
    (reason,) = manifest.degraded_reasons
    assert reason.startswith("product waves is left out: needed ")
    assert f"degraded: {reason}" in answer.out
    assert "without waves" in answer.err


def test_verification_is_kept_beside_the_forecasts(here: Here, first_day: Store) -> None:
    """Persistence against persistence: the same error, and of the next day only, for no later one is there."""
    published = contents(first_day, "small-sea/cycles")
    options = ("--system", "small-sea", "--inputs", here.inputs, "--store", first_day.uri)
    answer = here("verify", FIRST, *options, "--leads", "1,5")
    assert answer.code == 0, answer.err
    waves = json.loads(first_day.read_bytes("small-sea/scores/20230101T00/r1/waves.json"))
    assert {row["lead_day"] for row in waves["rows"]} == {1}
    assert all(row["rmse"] == row["persistence"] for row in waves["rows"])
    # swh = 2.5 + plane * (1 + 0.01 hour): after 24 hours the field has grown by 0.24 * plane, plane within -1..1
    (height,) = [row for row in waves["rows"] if row["variable"] == "swh"]
    assert 0.01 < height["rmse"] < 0.24
    assert first_day.exists("small-sea/scores/20230101T00/r1/skill_ocean_to.png")
    assert contents(first_day, "small-sea/cycles") == published
    assert here("verify", FIRST, *options, "--leads", "5").code == 3
