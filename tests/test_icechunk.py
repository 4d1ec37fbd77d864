"""The archive of all cycles: what readers get from it, what it never takes, what is left of what was withdrawn."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import icechunk
import numpy as np
import pytest
import xarray as xr
from s3_server import S3Server
from typer.testing import CliRunner

import pipeline
from flows import cli
from pipeline import contracts, edition, publish
from pipeline.edition import MANIFEST, Edition
from pipeline.errors import CycleHeld, StoreError, UsageError
from pipeline.publish import Manifest
from pipeline.readers import cycles, gathered
from pipeline.readers.cycles import collect, open_cycles
from pipeline.readers.public import every_cycle
from pipeline.readers.repository import Repository
from pipeline.record.latest import advance_latest
from pipeline.store import Store
from pipeline.systems import System
from tests import published
from tests import small_ocean as small

DAYS = ("20240227T12", "20240228T12", "20240229T12")
"""The cycles that are published, one of them on a leap day."""
PRODUCTS = ("ocean", "waves")


def publish_day(
    store: Store, day: int, revision: int = 1, system: System = published.SMALLEST, salt: float = 0.0
) -> Manifest:
    """Publish the small sea's cycle some days after its first; ``salt``: other values."""
    cycle = small.CYCLE._replace(system=system.name, start=small.START + timedelta(days=day))
    start = small.initial().assign_coords(time=np.datetime64(cycle.start.replace(tzinfo=None), "ns"))
    initial = contracts.InitialState(start + (day + salt) * 1e-2 * xr.ones_like(start)).assign_attrs(start.attrs)
    made = Edition(store, system, cycle, small.facts(revision))
    written = edition.write(
        made, contracts.InitialState(initial), small.drifting(), inputs_digest="x", masks=published.MASKS
    )
    created = small.CREATED + timedelta(days=day)
    return publish.publish(made, written, created=created, masks=published.MASKS)


def withdraw(store: Store, day: str, revision: int = 1) -> None:
    """As housekeeping does: the manifest, then the rest."""
    store.delete(f"small/cycles/{day}/r{revision}/{MANIFEST}")
    store.delete(f"small/cycles/{day}/r{revision}")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three cycles that nobody may change."""
    folder = tmp_path_factory.mktemp("cycles") / "store"
    for day in range(3):
        publish_day(Store(folder), day)
    return folder


@pytest.fixture(scope="module")
def virtual(three: Path) -> Path:
    """An archive of them by reference that nobody may change."""
    done = collect(three, three.parent / "virtual", system="small")
    assert (len(done.taken), dict(done.refused), done.already) == (3, {}, 0)
    return three.parent / "virtual"


@pytest.fixture
def store(three: Path, tmp_path: Path) -> Store:
    """A copy of the store."""
    shutil.copytree(three, tmp_path / "store")
    return Store(tmp_path / "store")


@pytest.fixture
def one(store: Store) -> Store:
    """A copy of the store with its first cycle alone."""
    for day in DAYS[1:]:
        store.delete(f"small/cycles/{day}")
    store.delete("small/latest.json")
    advance_latest(store, small.CYCLE, 1)
    return store


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where an archive is to be."""
    return tmp_path / "archive"


@contextmanager
def unseen(store: Store, day: str) -> Iterator[None]:
    """As long as a cycle is not published yet."""
    there, away = Path(store.uri) / "small/cycles" / day, Path(store.uri).parent / f"late-{day}"
    there.rename(away)
    yield
    away.rename(there)


def assert_same(
    archive: xr.Dataset, store: Store, product: str, days: tuple[str, ...] = DAYS, leads: tuple[int, ...] = (1,)
) -> None:
    """The values of each cycle are those of the published forecast, to the bit: at the last depth, on lead days."""
    depth = {"depth": [-1]} if archive["depth"].ndim else {}
    assert [str(item)[:13].replace("-", "") for item in archive["init_time"].values] == list(days)
    for number, day in enumerate(days):
        wanted = pipeline.open_forecast(store.uri, product, system="small", cycle=day)
        wanted = wanted.isel(time=list(leads), **depth)
        found = archive.isel(init_time=number, lead_day=list(leads), **depth)
        for name in wanted.data_vars:
            np.testing.assert_array_equal(found[name].values, wanted[name].values)
        np.testing.assert_array_equal(found["valid_time"].values, wanted["time"].values)
        np.testing.assert_array_equal(found["lead_day"].values, wanted["forecast_period"].values)
        for name in ("latitude", "longitude", "depth", "latitude_bounds", "longitude_bounds"):
            np.testing.assert_array_equal(found[name].values, wanted[name].values)


def history(out: Path) -> list[icechunk.SnapshotInfo]:
    """The commits of an archive, the newest first."""
    opened = icechunk.Repository.open(icechunk.local_filesystem_storage(str(out)))
    return list(opened.ancestry(branch="main"))


def _surface(archive: xr.Dataset) -> xr.DataArray:
    return archive["to"].isel(depth=0)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_every_cycle_reads_as_its_forecast_does(three: Path, virtual: Path) -> None:
    for product in PRODUCTS:
        assert_same(open_cycles(virtual, product), Store(three), product, leads=(0, 1) if product == "waves" else (1,))
    fields = sum(size for path, size in Store(three).objects("small") if re.search(r"/(to|so|uo|vo)/c/", path))
    written = sum(path.stat().st_size for path in virtual.rglob("*") if path.is_file())
    assert written < fields, "nothing of the fields is copied"


def test_what_a_forecast_says_of_itself_travels_with_it(three: Path, virtual: Path) -> None:
    archive = open_cycles(virtual, "ocean")
    for number, day in enumerate(DAYS):
        said = pipeline.open_forecast(three, "ocean", system="small", cycle=day).attrs
        about = archive.isel(init_time=number)
        assert bool(about["degraded"]) == (said["degraded"] == "true")
        for name in ("degraded_reasons", "forecaster", "forecaster_checkpoint_sha256", "forecaster_trained_on",
                     "future_forcing", "edition"):  # fmt: skip
            assert str(about[name].values) == said[name]
        assert f"{np.datetime_as_string(about['published'].values, unit='s')}Z" == said["date_created"]
        assert said["id"] in str(about["product_attributes"].values)
        assert (int(about["revision"]), bool(about["copied"]), bool(about["withdrawn"])) == (1, False, False)
    assert bool(archive["degraded"].all()), "the small sea is degraded: otherwise nothing was seen here"
    assert archive.attrs["ocean"] == "synthetic twin: not the real ocean"


def test_one_commit_a_cycle_names_its_manifest_and_collecting_again_changes_nothing(three: Path, virtual: Path) -> None:
    source = every_cycle(three, system="small")
    commits = history(virtual)
    for commit, day in zip(commits, reversed(DAYS), strict=False):
        manifest = Manifest.model_validate_json(source.store.read_bytes(f"{source.newest[day]}/{MANIFEST}"))
        assert commit.message.startswith(f"small {day} r1 (ocean, waves; virtual), manifest {manifest.sha256}")
        assert commit.metadata["manifest_sha256"] == manifest.sha256
    assert len(commits) == 1 + len(DAYS)
    before = bytes_of(virtual)
    again = collect(three, virtual, system="small")
    assert (again.taken, again.already, bytes_of(virtual)) == ((), 3, before)


def test_a_new_revision_takes_the_place_of_the_old_which_history_keeps(one: Store, out: Path) -> None:
    collect(one.uri, out, system="small")
    old = _surface(open_cycles(out, "ocean")).values
    publish_day(one, 0, revision=2, salt=0.5)
    done = collect(one.uri, out, system="small")
    assert [words.split(" (")[0] for words in done.taken] == [f"small {DAYS[0]} r2"]
    archive = open_cycles(out, "ocean")
    assert archive["revision"].values.tolist() == [2]
    assert_same(archive, one, "ocean", DAYS[:1])
    assert not np.array_equal(_surface(archive).values, old, equal_nan=True)
    prefix = f"file://{one.address('small/cycles')}/"
    opened = icechunk.Repository.open(
        icechunk.local_filesystem_storage(str(out)), authorize_virtual_chunk_access={prefix: None}
    )
    before = opened.readonly_session(snapshot_id=history(out)[1].id).store
    was = xr.open_zarr(before, group="ocean", consolidated=False)
    np.testing.assert_array_equal(_surface(was).values, old)


def test_the_withdrawn_is_marked_and_an_error_and_the_late_is_put_in_order(store: Store, out: Path) -> None:
    with unseen(store, DAYS[0]):
        collect(store.uri, out, system="small")
        withdraw(store, DAYS[1])
        with pytest.raises(StoreError, match=rf"{DAYS[1]}/r1/.* not found.*withdrawn or changed since"):
            open_cycles(out, "ocean")["zos"].isel(init_time=0).values  # noqa: B018
        assert collect(store.uri, out, system="small").withdrawn == (f"{DAYS[1]} r1",)
        archive = open_cycles(out, "ocean")
        assert archive["withdrawn"].values.tolist() == [True, False]
        kept = archive.isel(init_time=np.flatnonzero(archive["copied"] | ~archive["withdrawn"]))
        assert_same(kept, store, "ocean", DAYS[2:])
    late = collect(store.uri, out, system="small")
    assert (len(late.taken), late.withdrawn) == (1, ())
    archive = open_cycles(out, "ocean")
    assert archive["withdrawn"].values.tolist() == [False, True, False]
    with pytest.raises(StoreError, match=rf"{DAYS[1]}/r1/.* not found"):
        archive["zos"].isel(init_time=1).values  # noqa: B018
    assert_same(archive.isel(init_time=[0, 2]), store, "ocean", (DAYS[0], DAYS[2]))


def test_copies_outlive_the_forecast_and_are_moved_for_what_comes_late(store: Store, out: Path) -> None:
    """What was taken by reference is copied when that is asked for."""
    with unseen(store, DAYS[1]):
        with unseen(store, DAYS[0]):
            collect(store.uri, out, system="small")
        done = collect(store.uri, out, system="small", copy=True)
        assert (len(done.taken), done.already) == (2, 0)
    values = open_cycles(out, "ocean")["zos"].values
    withdraw(store, DAYS[0])
    late = collect(store.uri, out, system="small", copy=True)
    assert (len(late.taken), late.withdrawn) == (1, (f"{DAYS[0]} r1",))
    archive = open_cycles(out, "ocean")
    assert archive["withdrawn"].values.tolist() == [True, False, False]
    assert archive["copied"].all()
    np.testing.assert_array_equal(archive["zos"].values[[0, 2]], values)
    assert_same(archive.isel(init_time=[1, 2]), store, "ocean", DAYS[1:])


def test_a_changed_shard_is_an_error_and_never_other_values(one: Store, out: Path) -> None:
    collect(one.uri, out, system="small")
    shard = Path(one.address(f"small/cycles/{DAYS[0]}/r1/ocean.zarr/zos/c/1/0/0"))
    later = shard.stat().st_mtime + 10
    shard.write_bytes(shard.read_bytes()[::-1])
    os.utime(shard, (later, later))
    with pytest.raises(StoreError, match=r"checksum.*has changed"):
        open_cycles(out, "ocean")["zos"].isel(lead_day=1).values  # noqa: B018


def test_only_what_open_forecast_opens_is_taken(store: Store, out: Path) -> None:
    """Withdrawn, unfinished, damaged: the others are taken all the same, and the command tells (exit 6)."""
    store.delete(f"small/cycles/{DAYS[0]}/r1/{MANIFEST}")
    store.write_bytes(f"small/cycles/{DAYS[2]}/r2/ocean.zarr/zarr.json", b"{}")
    path = f"small/cycles/{DAYS[1]}/r1/waves.zarr/swh/c/0/0/0"
    whole = store.read_bytes(path)
    store.write_bytes(path, whole[:-1])
    answer = CliRunner().invoke(cli.app, ["collect", store.uri, "--system", "small", "--out", str(out)])
    assert answer.exit_code == 6
    assert f"first {DAYS[1]} (needed the edition as it was published; found 1 damages" in answer.stderr
    assert_same(open_cycles(out, "waves"), store, "waves", (DAYS[2],))
    store.write_bytes(path, whole)
    answer = CliRunner().invoke(cli.app, ["collect", store.uri, "--system", "small", "--out", str(out)])
    assert (answer.exit_code, "1 taken, 1 there before" in answer.stdout) == (0, True)
    assert_same(open_cycles(out, "waves"), store, "waves", DAYS[1:])


def test_bytes_that_are_not_those_published_are_never_copied(one: Store, out: Path) -> None:
    path = f"small/cycles/{DAYS[0]}/r1/waves.zarr/swh/c/0/0/0"
    one.write_bytes(path, one.read_bytes(path)[::-1])
    done = collect(one.uri, out, system="small", copy=True)
    assert (done.taken, list(done.refused)) == ((), [DAYS[0]])
    assert "other bytes" in done.refused[DAYS[0]]
    with pytest.raises(UsageError, match="nothing was collected yet"):
        open_cycles(out)


def test_a_forecast_withdrawn_while_it_is_taken_is_not_taken(
    one: Store, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def withdrawn_meanwhile(*arguments: object) -> None:
        one.delete(f"small/cycles/{DAYS[0]}/r1/{MANIFEST}")

    monkeypatch.setattr(cycles, "_refer", withdrawn_meanwhile)
    assert collect(one.uri, out, system="small").taken == ()
    assert len(history(out)) == 1


def test_another_layout_and_another_system_need_archives_of_their_own(one: Store, out: Path) -> None:
    publish_day(one, 1, system=published.SMALLEST.model_copy(update={"forecast_days": 2}))
    done = collect(one.uri, out, system="small")
    assert (len(done.taken), list(done.refused)) == (1, [DAYS[1]])
    assert "another forecast_period" in done.refused[DAYS[1]]
    other = Store(Path(one.uri).parent / "other")
    publish_day(other, 0, system=published.SMALLEST.model_copy(update={"name": "other"}))
    before = bytes_of(out)
    with pytest.raises(UsageError, match="needed an archive of other; found one of small"):
        collect(other.uri, out, system="other")
    assert bytes_of(out) == before
    with pytest.raises(UsageError, match=r"found 'kuroshio'.*choose one of ocean, waves"):
        open_cycles(out, "kuroshio")


def test_two_in_a_folder_are_kept_apart(three: Path, out: Path) -> None:
    with (
        Repository(out, Store(three), str(three / "small/cycles")).alone(),
        pytest.raises(CycleHeld, match="goms collect"),
    ):
        collect(three, out, system="small")


def test_without_icechunk_the_extra_is_named(three: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "icechunk", None)
    doing = (lambda: collect(three, out, system="small"), lambda: open_cycles(out))
    for ask in doing:
        with pytest.raises(UsageError, match=r"pip install 'goms\[icechunk\]'"):
            ask()
    assert not out.exists()


KILLED = """
import os, signal, sys
from pipeline.readers import repository
from pipeline.readers.cycles import collect
commits = []
honest = repository.Writing.commit
def second(self, *arguments):
    commits.append(1)
    if len(commits) == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return honest(self, *arguments)
repository.Writing.commit = second
collect(sys.argv[1], sys.argv[2], system="small", copy=True)
"""


def test_killed_before_a_commit_nothing_of_it_is_seen_and_the_same_call_goes_on(store: Store, out: Path) -> None:
    with unseen(store, DAYS[1]):
        command = [sys.executable, "-c", KILLED, store.uri, str(out)]
        killed = subprocess.run(command, check=False, cwd=Path(cli.__file__).parents[1])
        assert killed.returncode == -signal.SIGKILL
        assert_same(open_cycles(out, "waves"), store, "waves", DAYS[:1])
        done = collect(store.uri, out, system="small", copy=True)
        assert (len(done.taken), done.already) == (1, 1)
        assert_same(open_cycles(out, "waves"), store, "waves", (DAYS[0], DAYS[2]))


@pytest.fixture
def s3_one(one: Store, s3_store: Store) -> Store:
    """The first cycle on S3."""
    for path, _ in one.objects(""):
        s3_store.write_bytes(path, one.read_bytes(path))
    return s3_store


@pytest.mark.server
def test_on_s3_shards_are_held_to_their_etags_and_of_two_who_write_one_is_told(
    s3_one: Store, s3_keys: S3Server
) -> None:
    address = f"{s3_one.uri}-cycles"
    assert len(collect(s3_one.uri, address, system="small", signed=True).taken) == 1
    archive = open_cycles(address, "ocean", signed=True)["zos"]
    wanted = pipeline.open_forecast(s3_one.uri, system="small", signed=True)["zos"].values
    np.testing.assert_array_equal(archive.values[0], wanted)
    path = f"small/cycles/{DAYS[0]}/r1/ocean.zarr/zos/c/0/0/0"
    whole = s3_one.read_bytes(path)
    s3_one.write_bytes(path, whole[::-1])
    with pytest.raises(StoreError, match=r"checksum.*has changed"):
        archive.isel(lead_day=0).values  # noqa: B018
    s3_one.write_bytes(path, whole)
    np.testing.assert_array_equal(archive.values[0], wanted)
    s3_one.delete(path)
    with pytest.raises(StoreError, match=r"NoSuchKey.*withdrawn"):
        archive.isel(lead_day=0).values  # noqa: B018
    writer = Repository(address, s3_one, s3_one.address("small/cycles"))
    with writer.writing() as first, writer.writing() as second:
        for item in (first, second):
            gathered.withdraw(item.store, "ocean", 0)
        first.commit("first", {})
        with pytest.raises(CycleHeld, match="another goms collect"):
            second.commit("second", {})
