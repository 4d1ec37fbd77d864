"""Figures for monitoring: what a real store gives, over HTTP and once, and what is said when it cannot be read."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import urllib.request
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from journeys import Goms, Here, finish
from prometheus_client.parser import text_string_to_metric_families
from shelves import MOMENT, SMALL, days_ago, noted, published, system
from small_goms import SMALL_SEA

from flows.desk.metrics import StoreFigures, _listening
from pipeline.errors import StoreError, UsageError
from pipeline.operations import figures
from pipeline.record import journal
from pipeline.record.journal import Event, Note
from pipeline.store import Store
from pipeline.systems import Schedule

Values = dict[tuple[str, frozenset[tuple[str, str]]], float]


def values(text: str) -> Values:
    return {(sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text) for sample in family.samples}  # fmt: skip


def one(found: Values, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


def taken(samples: Iterable[figures.Sample]) -> dict[tuple[Any, ...], float]:
    return {(sample.metric.name, *sample.labels): sample.value for sample in samples}


def row(variable: str, lead_day: int, rmse: float, **others: Any) -> dict[str, Any]:
    return {"variable": variable, "units": "m", "depth_m": None, "region": "global", "lead_day": lead_day, "rmse": rmse,
            "persistence": 0.4, "climatology": None, "bicubic": None, "acc": 0.7, **others}  # fmt: skip


def scored(store: Store, cycle: str, *rows: dict[str, Any], name: str = SMALL.name) -> None:
    content = {"product": "waves", "attributes": {}, "rows": list(rows)}
    store.write_json(f"{name}/scores/{cycle}/r1/waves.json", content)


LEAST_BYTES = 20e6
"""An interpreter with numpy and xarray has more."""


@pytest.fixture
def two_days(both_days: tuple[Store, Store], tmp_path: Path) -> Store:
    shutil.copytree(both_days[1].address(""), tmp_path / "store")
    return Store(tmp_path / "store")


def test_a_published_forecast_in_figures(two_days: Store, here: Here) -> None:
    scored(two_days, "20230101T00", row("swh", 1, 0.2), name="small-sea")
    answer = here("metrics", "--once", "--system", "small-sea", "--store", two_days.uri)
    assert answer.code == 0, answer.err
    found, sea = values(answer.out), {"system": "small-sea"}
    assert one(found, "goms_store_readable", **sea) == 1
    assert one(found, "goms_latest_start_timestamp_seconds", **sea) == datetime(2023, 1, 2, tzinfo=UTC).timestamp()
    assert one(found, "goms_latest_degraded", **sea) == 0
    assert one(found, "goms_latest_lead_days", **sea) == SMALL_SEA.forecast_days
    assert one(found, "goms_run_exit_code", **sea) == 0
    assert one(found, "goms_input_age_seconds", kind="ocean", source="hycom", **sea) == 0
    sizes = [size for path, size in two_days.objects("small-sea/cycles/20230102T00/r1/waves.zarr")]
    assert one(found, "goms_product_size_bytes", product="waves", **sea) == sum(sizes)
    stages = {dict(labels)["stage"] for name, labels in found if name == "goms_stage_duration_seconds"}
    assert stages == {"ocean", "surface", "waves", "initialise", "forecast", "quicklooks", "series", "publish"}
    assert one(found, "goms_skill_rmse", product="waves", variable="swh", unit="m", lead_day="1", by="forecast",
               **sea) == 0.2  # fmt: skip
    everything = sum(size for _, size in two_days.objects("small-sea"))
    assert sum(value for (name, _), value in found.items() if name == "goms_store_bytes") == everything


def test_figures_are_scraped_from_this_machine_alone(goms: Goms, both_days: tuple[Store, Store]) -> None:
    process = goms.start("metrics", "--port", "0", "--system", "small-sea", "--store", both_days[1].uri)
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert address.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(address, timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        found = values(answer.read().decode())
    assert one(found, "goms_latest_revision", system="small-sea") == 1
    assert one(found, "goms_stage_peak_memory_bytes", system="small-sea", stage="forecast") > LEAST_BYTES
    assert not any(name == "goms_stage_peak_device_memory_bytes" for name, _ in found)  # it ran on the processor
    process.send_signal(signal.SIGTERM)
    assert finish(process).code == 0


@pytest.mark.parametrize("address", ["127.0.0.1", "192.0.2.1"])
def test_where_figures_cannot_be_served_is_a_sentence(folder_store: Store, address: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=f"needed a free port of this machine; .*{address}:{port}; name another"):
            _listening(port, address, StoreFigures(folder_store, ()))


def test_a_store_that_cannot_be_read_is_a_figure(monkeypatch: pytest.MonkeyPatch, folder_store: Store) -> None:
    published(folder_store, days_ago(1))
    folder_store.write_bytes(f"{SMALL.name}/latest.json", b"{")
    with pytest.raises(StoreError):
        list(figures.fresh(folder_store, SMALL, MOMENT))
    found = {sample.name: sample.value for family in StoreFigures(folder_store, [SMALL]).collect()
             for sample in family.samples if sample.labels.get("system") == SMALL.name}  # fmt: skip
    assert found == {"goms_store_readable": 0}


def test_a_server_that_does_not_answer_is_waited_for_once_and_not_for_each_system(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nobody listens at that port; the figures of days, read before, stay as they were."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    asked, folders = list[str](), Store.folders
    monkeypatch.setattr(Store, "folders", lambda store, path: asked.append(path) or folders(store, path))
    collector = StoreFigures(Store("s3://gone", patience_seconds=0.1), [SMALL, SMALL_SEA])
    kept = [figures.Sample(figures.SLOW[0], ("x",) * len(figures.SLOW[0].labels), 1.0)]
    collector._slow = {SMALL.name: kept}
    collector.look_slowly()
    assert collector._slow == {SMALL.name: kept}
    readable = {sample.labels["system"]: sample.value for family in collector.collect() for sample in family.samples
                if sample.name == "goms_store_readable"}  # fmt: skip
    assert readable == {SMALL.name: 0, SMALL_SEA.name: 0}
    assert asked == ["", ""]


def test_a_failed_run_gives_its_exit_code_and_a_later_one_takes_it_back(folder_store: Store) -> None:
    cycle = days_ago(1)
    failed = Note(when=MOMENT - timedelta(hours=2), event=Event.FAILED, who="test", stage="ocean", exit_code=4)
    journal.note(folder_store, cycle, failed)
    found = taken(figures.fresh(folder_store, SMALL, MOMENT))
    assert found["goms_run_exit_code",] == 4
    assert found["goms_run_ended_timestamp_seconds",] == failed.when.timestamp()
    noted(folder_store, cycle, Event.PUBLISHED, MOMENT)
    assert taken(figures.fresh(folder_store, SMALL, MOMENT))["goms_run_exit_code",] == 0


def test_a_stage_gives_its_last_duration(folder_store: Store) -> None:
    for days, seconds in ((2, 10.0), (1, 12.5)):
        when = days_ago(days).start + timedelta(hours=9)
        entry = Note(when=when, event=Event.STAGE, who="test", stage="forecast", seconds=seconds, size_bytes=7,
                     peak_memory_bytes=5, peak_device_memory_bytes=3)  # fmt: skip
        journal.note(folder_store, days_ago(days), entry)
    found = taken(figures.fresh(folder_store, SMALL, MOMENT))
    assert found["goms_stage_duration_seconds", "forecast"] == 12.5
    assert found["goms_stage_written_bytes", "forecast"] == 7
    assert found["goms_stage_peak_memory_bytes", "forecast"] == 5
    assert found["goms_stage_peak_device_memory_bytes", "forecast"] == 3


def test_promised_cycles_are_counted_by_how_they_stand(folder_store: Store) -> None:
    schedule = Schedule(cron="17 1 * * *", days_back=1, reason="a test", publish_by_hours=14.0, skip_after_hours=72.0)
    entry = SMALL.model_copy(update={"schedule": schedule})
    full = {"revision": 1, "degraded_reasons": [], "lead_days": 4, "products": {}, "facts": {"inputs": []}}
    published(folder_store, days_ago(2))
    path = f"{days_ago(2).revision_prefix(1)}/manifest.json"
    folder_store.write_json(path, json.loads(folder_store.read_bytes(path)) | full)
    found = taken(figures.fresh(folder_store, entry, MOMENT))
    assert found["goms_scheduled",] == 1
    assert found["goms_cycles", "published"] == 1
    assert found["goms_cycles", "late"] == found["goms_alarms",] == 1
    deadline = days_ago(1).start + timedelta(hours=14)
    assert found["goms_open_deadline_timestamp_seconds",] == deadline.timestamp()


def test_skill_is_of_the_newest_forecast_that_has_the_lead_day(folder_store: Store) -> None:
    scored(folder_store, "20240601T12", row("swh", 1, 0.9), row("swh", 5, 0.8, acc=None))
    scored(folder_store, "20240602T12", row("swh", 1, 0.1, climatology=0.5))
    found = taken(figures.slow(folder_store, SMALL, MOMENT))
    rmse = {key[4:]: value for key, value in found.items() if key[0] == "goms_skill_rmse"}
    assert rmse == {
        ("1", "forecast"): 0.1, ("1", "persistence"): 0.4, ("1", "climatology"): 0.5,
        ("5", "forecast"): 0.8, ("5", "persistence"): 0.4,
    }  # fmt: skip
    correlations = {key[3]: value for key, value in found.items() if key[0] == "goms_skill_anomaly_correlation"}
    assert correlations == {"1": 0.7}


def test_a_table_of_scores_that_was_cut_short_is_left_out_and_counted(folder_store: Store) -> None:
    scored(folder_store, "20240601T12", row("swh", 1, 0.9))
    scored(folder_store, "20240602T12", row("swh", 1, 0.1))
    assert taken(figures.slow(folder_store, SMALL, MOMENT))["goms_skill_unreadable_tables",] == 0
    path = f"{SMALL.name}/scores/20240602T12/r1/waves.json"
    folder_store.write_bytes(path, folder_store.read_bytes(path)[:-40])
    found = taken(figures.slow(folder_store, SMALL, MOMENT))
    assert found["goms_skill_unreadable_tables",] == 1
    assert found["goms_skill_rmse", "waves", "swh", "m", "1", "forecast"] == 0.9


def test_a_damaged_journal_hides_no_figure_of_the_other_cycles(folder_store: Store) -> None:
    published(folder_store, days_ago(1), move_latest=False)
    folder_store.write_bytes(journal.path(days_ago(2)), b'{"notes": [')
    found = taken(figures.fresh(folder_store, SMALL, MOMENT))
    assert found["goms_store_readable",] == 1
    assert found["goms_run_exit_code",] == 0


def test_every_figure_belongs_to_what_is_exported(folder_store: Store) -> None:
    published(folder_store, days_ago(1))
    scored(folder_store, days_ago(1).key, row("swh", 1, 0.1))
    exported = {metric.name for metric in (*figures.FRESH, *figures.SLOW)}
    entry = system()
    folder_store.delete(f"{SMALL.name}/latest.json")
    samples = [*figures.fresh(folder_store, entry, MOMENT), *figures.slow(folder_store, entry, MOMENT)]
    assert {sample.metric.name for sample in samples} <= exported
    assert all(len(sample.labels) == len(sample.metric.labels) for sample in samples)
