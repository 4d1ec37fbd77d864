import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from pipeline import edition, publish
from pipeline.edition import Edition
from pipeline.errors import CheckFailed, CycleHeld, ForecastRefused, StoreError
from pipeline.readers import export
from pipeline.record import journal, latest, marks
from pipeline.record.journal import Event, Note
from pipeline.store import Store
from tests import small_ocean as small

MASKS = small.masks()


def made(store: Store, revision: int = 1, **options) -> Edition:
    return Edition(store, small.SYSTEM, small.CYCLE, small.facts(revision, **options))


def write(making: Edition, digest: str = "inputs", **options):
    return edition.write(
        making, small.initial(), small.drifting(), inputs_digest=digest, restart_every_days=2, masks=MASKS, **options
    )


def publish_it(making: Edition, written=None, **options):
    written = write(making) if written is None else written
    return publish.publish(making, written, created=small.CREATED, masks=MASKS, **options)


def test_a_published_cycle_has_a_manifest_of_every_object_and_latest_points_to_it(any_store: Store) -> None:
    manifest = publish_it(made(any_store))
    prefix = "small/cycles/20240227T12/r1"
    on_store = {path: size for path, size in any_store.objects(prefix) if not path.endswith("/manifest.json")}
    assert {f"{prefix}/{item.path}": item.size_bytes for item in manifest.objects} == on_store
    assert manifest == publish.read_manifest(any_store, small.CYCLE, 1)
    assert publish.published(any_store, small.CYCLE) == 1
    assert latest.latest(any_store, "small").prefix == prefix
    assert marks.recorded(any_store, small.CYCLE, "publish") is not None
    assert any_store.objects("small/runs/20240227T12/restart") == []


def test_a_manifest_says_what_readers_must_know(folder_store: Store) -> None:
    making = made(folder_store, left_out={"waves": "era5 has no waves for 2024-02-27"})
    found = json.loads(json.dumps(publish_it(making).model_dump(mode="json")))
    assert found["created"] == "2024-02-28T01:02:03Z"
    assert found["forecast_reference_time"] == "2024-02-27T12:00:00Z"
    assert (found["real_ocean"], found["degraded"], found["revision"]) == (False, True, 1)
    assert found["degraded_reasons"] == [
        "t2m, msl and sp are climatology: era5 lacks them",
        "product waves is left out: era5 has no waves for 2024-02-27",
    ]
    assert found["products"]["ocean"]["nan_share_off_land"] == {"to": 0, "so": 0, "uo": 0, "vo": 0, "zos": 0}
    assert sorted(found["products"]) == ["biogeochemistry", "kuroshio", "ocean"]
    assert found["facts"]["inputs"][1]["age_hours"] == 12.0


def test_nothing_exists_for_readers_before_the_manifest(any_store: Store) -> None:
    write(made(any_store))
    assert publish.published(any_store, small.CYCLE) is None
    assert latest.latest(any_store, "small") is None
    assert publish.next_revision(any_store, small.CYCLE) == 1


def test_publishing_again_changes_nothing(any_store: Store) -> None:
    making = made(any_store)
    written = write(making)
    first = publish_it(making, written)
    before = any_store.objects("")
    again = publish.publish(making, written, created=datetime(2030, 1, 1, tzinfo=UTC), masks=MASKS)
    assert again == first
    assert any_store.objects("") == before


def test_a_published_revision_is_never_written_again(folder_store: Store) -> None:
    publish_it(made(folder_store))
    with pytest.raises(StoreError, match="an unpublished revision 1; found its manifest"):
        write(made(folder_store))


def test_a_corrected_run_is_the_next_revision_and_the_first_stays(any_store: Store) -> None:
    first = publish_it(made(any_store))
    assert publish.next_revision(any_store, small.CYCLE) == 2
    said = Note(when=small.CYCLE.start, event=Event.PUBLISHED, who="test", words="r4")
    journal.note(any_store, small.CYCLE, said)  # and withdrawn since: its number is not given again
    assert publish.next_revision(any_store, small.CYCLE) == 5
    publish_it(made(any_store, revision=2))
    assert publish.published(any_store, small.CYCLE) == 2
    assert latest.latest(any_store, "small").revision == 2
    assert publish.read_manifest(any_store, small.CYCLE, 1) == first


def test_revisions_are_numbers_not_texts(folder_store: Store) -> None:
    for revision in (2, 10):
        folder_store.write_bytes(f"{small.CYCLE.revision_prefix(revision)}/manifest.json", b"{}")
    folder_store.write_bytes(f"{small.CYCLE.revision_prefix(11)}/ocean.zarr/zarr.json", b"{}")
    assert publish.published(folder_store, small.CYCLE) == 10


def test_an_older_cycle_is_published_without_moving_latest_back(folder_store: Store) -> None:
    latest.advance_latest(folder_store, small.CYCLE._replace(start=datetime(2025, 1, 1, 12, tzinfo=UTC)), 1)
    publish_it(made(folder_store))
    assert publish.published(folder_store, small.CYCLE) == 1
    assert latest.latest(folder_store, "small").cycle == "20250101T12"


# --------------------------------------------------------------------------------------------- what the check finds


def spoil_byte(store: Store, path: str) -> None:
    data = bytearray(store.read_bytes(path))
    data[len(data) // 2] ^= 1
    store.write_bytes(path, bytes(data))


@pytest.mark.parametrize("path", ["ocean.zarr/to/c/3/0/0/0", "waves.zarr/zarr.json", "kuroshio.zarr/latitude/c/0"])
def test_one_flipped_bit_anywhere_is_found_and_nothing_is_published(any_store: Store, path: str) -> None:
    making = made(any_store)
    written = write(making)
    spoil_byte(any_store, f"{making.prefix}/{path}")
    with pytest.raises(CheckFailed, match=f"{path} with .* bytes and SHA-256.*goms run DATE --from forecast") as caught:
        publish_it(making, written)
    assert caught.value.exit_code == 6
    assert not caught.value.retryable
    assert publish.published(any_store, small.CYCLE) is None
    assert latest.latest(any_store, "small") is None


def test_a_lost_shard_is_found(any_store: Store) -> None:
    making = made(any_store)
    written = write(making)
    any_store.delete(f"{making.prefix}/ocean.zarr/so/c/2/0/0/0")
    with pytest.raises(CheckFailed, match=r"ocean\.zarr/so/c/2/0/0/0 .* found nothing there"):
        publish_it(making, written)


def test_an_object_nobody_recorded_is_found(any_store: Store) -> None:
    making = made(any_store)
    written = write(making)
    any_store.write_bytes(f"{making.prefix}/ocean.zarr/to/c/5/0/0/0", b"a sixth day")
    with pytest.raises(CheckFailed, match=r"1 others, first .*to/c/5/0/0/0"):
        publish_it(making, written)


def test_a_missing_record_is_found(folder_store: Store) -> None:
    making = made(folder_store)
    written = [item for item in write(making) if not item.path.endswith("swh/c/1/0/0")]
    folder_store.delete(f"{making.prefix}/waves.zarr/swh/c/1/0/0")
    with pytest.raises(CheckFailed, match=r"1 not written, first .*waves\.zarr/swh/c/1/0/0"):
        publish_it(making, written)


def test_land_that_is_not_the_masks_is_found(folder_store: Store) -> None:
    making = made(folder_store)
    written = write(making)
    masks = {name: mask.copy() for name, mask in MASKS.items()}
    masks["ocean"][:, 0, 0] = True  # one cell at each of 15 depths
    with pytest.raises(
        CheckFailed, match=r"15 ocean cells without a value and 0 land cells .*ocean\.zarr/to/c/0/.*, lead day 0"
    ):
        publish.publish(making, written, created=small.CREATED, masks=masks)


def test_wrong_times_are_found_though_every_digest_fits(folder_store: Store) -> None:
    """A product written for the day before, its records honest, offered as this cycle's."""
    making = made(folder_store)
    earlier = making._replace(cycle=small.CYCLE._replace(start=datetime(2024, 2, 26, 12, tzinfo=UTC)))
    initial = small.initial().assign_coords(time=np.datetime64("2024-02-26T12", "ns"))
    written = edition.write(earlier, initial, small.drifting(), inputs_digest="x", masks=MASKS)
    moved = []
    for item in written:
        path = item.path.replace("20240226T12", "20240227T12")
        moved.append(folder_store.write_bytes(path, folder_store.read_bytes(item.path)))
    with pytest.raises(CheckFailed, match="times 2024-02-27T12"):
        publish_it(making, moved)


def test_a_product_of_other_facts_than_are_published_is_found(folder_store: Store) -> None:
    written = write(made(folder_store))
    other = small.facts().model_copy(update={"trained_on": "the real ocean"})
    with pytest.raises(CheckFailed, match=r"zarr\.json of these facts"):
        publish_it(made(folder_store)._replace(facts=other), written)


def test_pictures_beside_the_products_are_in_the_manifest_and_checked(any_store: Store) -> None:
    making = made(any_store)
    written = write(making)
    picture = any_store.write_bytes(f"{making.prefix}/quicklooks/to.png", b"not really a picture")
    spoil_byte(any_store, picture.path)
    with pytest.raises(CheckFailed, match=r"quicklooks/to\.png"):
        publish_it(making, (*written, picture))
    any_store.write_bytes(picture.path, b"not really a picture")
    manifest = publish_it(making, (*written, picture))
    assert "quicklooks/to.png" in {item.path for item in manifest.objects}


def test_a_run_that_lost_its_cycle_publishes_nothing(folder_store: Store) -> None:
    calls = []

    def renew() -> None:
        calls.append(1)
        if len(calls) == 5:  # four products, then the one right before the manifest
            raise CycleHeld("the cycle", found="another", where="the lock", action="stop")

    with pytest.raises(CycleHeld):
        publish_it(made(folder_store), renew=renew)
    assert publish.published(folder_store, small.CYCLE) is None


def test_a_product_that_is_neither_yielded_nor_left_out_with_a_reason_is_refused(folder_store: Store) -> None:
    with pytest.raises(ForecastRefused, match="the products waves or the reason why they are left out"):
        edition.write(
            made(folder_store), small.initial(without=("waves",)), small.persistence(), inputs_digest="x", masks=MASKS
        )
    assert folder_store.objects("small/cycles") == []


# ---------------------------------------------------------------------------------------------------------- killed


def killed_run(uri: str, lead_day: int, environment: dict[str, str]) -> int:
    """The exit status of a run that kills itself, as ``kill -9`` would, when this lead day has been handed over."""
    code = f"from tests.test_publish import die_at; die_at({uri!r}, {lead_day})"
    root = Path(__file__).parents[1]
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=False, cwd=root, env=environment, timeout=120).returncode


def die_at(uri: str, lead_day: int) -> None:
    def progress(lead: int) -> None:
        if lead == lead_day:
            os.kill(os.getpid(), signal.SIGKILL)

    write(made(Store(uri)), progress=progress)


@pytest.mark.parametrize("lead_day", [0, 3])
def test_a_killed_run_publishes_nothing_and_the_next_completes_it_with_the_same_bytes(
    any_store: Store, tmp_path: Path, lead_day: int
) -> None:
    """Lead day 0: before any restart state. Lead day 3: after that of day 2."""
    latest.advance_latest(any_store, small.CYCLE._replace(start=datetime(2024, 2, 26, 12, tzinfo=UTC)), 1)
    never_stopped = write(made(Store(tmp_path / "other")))

    assert killed_run(any_store.uri, lead_day, dict(os.environ)) == -signal.SIGKILL
    assert publish.published(any_store, small.CYCLE) is None
    assert latest.latest(any_store, "small").cycle == "20240226T12"
    restart = edition.restart_of(made(any_store), "inputs")
    assert (restart is None) == (lead_day == 0)

    handed = []
    written = write(made(any_store), progress=handed.append)
    assert handed == ([0, 1, 2, 3, 4] if lead_day == 0 else [3, 4])
    assert written == never_stopped
    publish_it(made(any_store), written)
    assert latest.latest(any_store, "small").cycle == "20240227T12"


def test_a_restart_state_of_other_inputs_or_with_a_lost_shard_is_not_used(folder_store: Store) -> None:
    making = made(folder_store)

    def stop(lead: int) -> None:
        if lead == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(making, progress=stop)
    assert edition.restart_of(making, "inputs").lead_day == 2
    assert edition.restart_of(making, "other inputs") is None
    shard = f"{making.prefix}/ocean.zarr/to/c/1/0/0/0"
    folder_store.delete(shard)
    assert edition.restart_of(making, "inputs") is None


def test_what_a_run_of_other_inputs_left_is_cleared(folder_store: Store) -> None:
    making = made(folder_store)
    folder_store.write_bytes(f"{making.prefix}/waves.zarr/old/c/0", b"of another registry")
    publish_it(making)
    assert not folder_store.exists(f"{making.prefix}/waves.zarr/old/c/0")


# ---------------------------------------------------------------------------------------------------------- export


def test_the_netcdf_export_has_the_products_values_bit_for_bit_and_the_manifests_date(
    any_store: Store, tmp_path: Path
) -> None:
    making = made(any_store)
    publish_it(making)
    uri = any_store.address(f"{making.prefix}/kuroshio.zarr")
    path = export.to_netcdf(uri, tmp_path / "kuroshio.nc")
    with xr.open_zarr(uri) as product, xr.open_dataset(path) as exported:
        assert exported.attrs["date_created"] == "2024-02-28T01:02:03Z"
        xr.testing.assert_equal(product, exported)
        for field in product.data_vars:
            assert exported[field].values.tobytes() == product[field].values.tobytes()
    assert [item.name for item in tmp_path.glob("*.partial")] == []


def test_what_is_not_published_is_not_exported(folder_store: Store, tmp_path: Path) -> None:
    making = made(folder_store)
    write(making)
    with pytest.raises(StoreError, match=r"the manifest of a published forecast, manifest\.json; found nothing there"):
        export.to_netcdf(folder_store.address(f"{making.prefix}/ocean.zarr"), tmp_path / "ocean.nc")
