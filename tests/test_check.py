"""``goms check``: every damage of a published cycle is found and named, and a whole one is called whole."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path

import pytest
import s3_server
from typer.testing import CliRunner, Result

from flows import cli
from pipeline import publish, signature, systems
from pipeline.errors import CheckFailed, StoreError, UsageError
from pipeline.readers import public
from pipeline.readers.check import Damage, Kind, check
from pipeline.readers.reading import open_product
from pipeline.store import Store
from tests import debian, published
from tests import small_ocean as small
from tests.published import MASKS, PREFIX


def goms(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The small ocean is in the registry."""
    monkeypatch.setattr(systems, "SYSTEMS", (*systems.SYSTEMS, small.SYSTEM))


# ------------------------------------------------------------------------------------------------- every single damage


def flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def named(store: Store) -> set[str]:
    """The objects that the check names; the manifest where it finds nothing published."""
    try:
        return {damage.path for damage in check(public.find(store.address(PREFIX)), values=False).damages}
    except StoreError as error:
        return {"manifest.json"} if "manifest.json; found nothing there" in str(error) else set()


def test_every_single_damage_of_every_object_is_found_and_it_alone_is_named(tmp_path: Path) -> None:
    """Delete, cut off the last byte, flip a bit, add a byte: each done to each object of a cycle."""
    store = Store(tmp_path)
    published.publish_small(store, published.SMALLEST)
    paths = [path for path, _ in store.objects(PREFIX)]
    tried, missed = 0, []
    for path in paths:
        whole = store.read_bytes(path)
        for spoilt in (None, whole[:-1], flipped(whole), whole + b"0"):
            store.delete(path) if spoilt is None else store.write_bytes(path, spoilt)
            found, tried = named(store), tried + 1
            missed += [(path, found)] if found != {path.removeprefix(f"{PREFIX}/")} else []
        store.write_bytes(path, whole)
    assert (len(paths) > 50, tried, missed) == (True, 4 * len(paths), [])
    assert named(store) == set()


def test_every_swap_of_two_neighbours_is_found_and_told_as_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    published.publish_small(store, published.SMALLEST)
    contents = {path: store.read_bytes(path) for path, _ in store.objects(PREFIX) if not path.endswith("manifest.json")}
    different = [pair for pair in itertools.pairwise(contents) if contents[pair[0]] != contents[pair[1]]]
    assert len(different) > 40
    for first, second in different:
        store.write_bytes(first, contents[second])
        store.write_bytes(second, contents[first])
        found = check(public.find(store.address(PREFIX)), values=False).damages
        assert {damage.path for damage in found} == {path.removeprefix(f"{PREFIX}/") for path in (first, second)}
        assert all("; it is " in damage.words for damage in found)
        for path in (first, second):
            store.write_bytes(path, contents[path])


def test_what_the_manifest_does_not_know_is_told(own_cycle: Store) -> None:
    own_cycle.write_bytes(f"{PREFIX}/ocean.zarr/to/c/5/0/0/0", b"a sixth day")
    (damage,) = check(public.find(own_cycle.address(PREFIX)), values=False).damages
    assert damage == Damage(Kind.UNKNOWN, "ocean.zarr/to/c/5/0/0/0", "11 bytes that the manifest does not know")


@pytest.mark.parametrize("place", ["20240228T12/r1", "20240227T12/r2"])
def test_an_edition_in_the_place_of_another_is_told_and_refused(own_cycle: Store, place: str) -> None:
    """Every digest fits, and every signature would: the manifest says what it is, and it is not what lies there."""
    shutil.copytree(own_cycle.address(PREFIX), own_cycle.address(f"small/cycles/{place}"))
    for found in (
        public.find(own_cycle.address(f"small/cycles/{place}")),
        public.find(own_cycle.uri, system="small", cycle=place[:11]),
    ):
        (damage,) = check(found, quick=True).damages
        assert (damage.kind, damage.path) == (Kind.WRONG, "manifest.json")
        assert damage.words == f"it says that it is {PREFIX}, and lies at small/cycles/{place}"
        with pytest.raises(CheckFailed, match="it says that it is small/cycles/20240227T12/r1, and lies at"):
            open_product(found, "ocean")


def test_an_edition_in_the_folder_of_another_system_is_told_and_a_renamed_copy_of_a_folder_is_whole(
    own_cycle: Store, known: None
) -> None:
    for name in ("twin", "a copy"):
        shutil.copytree(own_cycle.address("small"), own_cycle.address(name))
    assert check(public.find(own_cycle.address("a copy")), quick=True).whole
    (damage,) = check(public.find(own_cycle.address("twin")), quick=True).damages
    assert (damage.kind, damage.path) == (Kind.WRONG, "manifest.json")


# ------------------------------------------------------------------------------------------------------ missing values


def test_a_whole_cycle_is_whole_and_its_missing_values_are_counted_again(small_cycle: Path, known: None) -> None:
    report = check(public.find(small_cycle), masks=MASKS)
    assert (report.whole, report.damages) == (True, ())
    assert report.notes == ("not signed: it is known to be whole, not who published it",)


def test_without_the_systems_mask_it_says_what_it_took_for_land(small_cycle: Path) -> None:
    report = check(public.find(small_cycle))
    assert report.whole
    assert "no land mask of small here; land is where day 0 has no value" in report.notes[1]


def test_missing_values_that_were_published_are_told_though_every_digest_fits(own_cycle: Store, known: None) -> None:
    """A publisher who did not look: 7 of a level's ocean cells are without a value, and the manifest says none are."""
    masks = {name: mask.copy() for name, mask in MASKS.items()}
    masks["waves"][:, 0, 0] = True
    (height, *others) = check(public.find(own_cycle.address(PREFIX)), masks=masks).damages
    cells = int(masks["waves"][0].sum())
    assert (height.kind, height.path) == (Kind.WRONG, "waves.zarr/mwd")
    assert height.words == f"{1 / cells:.3g} of the ocean without a value, told 0; 0 land cells with one"
    assert [damage.path for damage in others] == ["waves.zarr/mwp", "waves.zarr/swh"]


def test_values_on_land_are_told(own_cycle: Store, known: None) -> None:
    masks = {name: mask.copy() for name, mask in MASKS.items()}
    masks["biogeochemistry"][0, -1, -1] = False
    (damage,) = check(public.find(own_cycle.address(PREFIX)), masks=masks).damages
    assert damage.path == "biogeochemistry.zarr/chl"
    assert damage.words.endswith("; 5 land cells with one")


# ----------------------------------------------------------------------------------------------------------- signature


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A private key and its public one, as OpenSSL makes them."""
    folder = tmp_path_factory.mktemp("keys")
    openssl = debian.program("openssl", "openssl")
    private, public_key = folder / "private.pem", folder / "public.pem"
    subprocess.run([openssl, "genpkey", "-algorithm", "ed25519", "-out", private], check=True)
    subprocess.run([openssl, "pkey", "-in", private, "-pubout", "-out", public_key], check=True)
    return private, public_key


@pytest.fixture
def signed(keys: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setenv("GOMS_SIGNING_KEY", str(keys[0]))
    store = Store(tmp_path / "signed")
    published.publish_small(store, published.SMALLEST)
    return store


def test_a_signed_cycle_proves_who_published_it(signed: Store, keys: tuple[Path, Path]) -> None:
    key = signature.read_public_key(str(keys[1]))
    report = check(public.find(signed.address("")), public_key=key, values=False)
    assert (report.whole, report.notes) == (True, (f"signed by {key}: the key that was given",))
    assert "--public-key" in check(public.find(signed.address("")), values=False).notes[0]
    folder = Path(signed.address(PREFIX))
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", keys[1], "-rawin", "-in", folder / "manifest.json",
               "-sigfile", folder / "manifest.json.sig"]  # fmt: skip
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"Signature Verified Successfully\n"


def test_another_key_a_lost_and_a_spoilt_signature_are_damage(signed: Store) -> None:
    path, found = f"{PREFIX}/manifest.json.sig", public.find(signed.address(""))
    whole = signed.read_bytes(path)
    (other,) = check(found, public_key="00" * 32, values=False).damages
    signed.write_bytes(path, flipped(whole))
    (spoilt,) = check(found, values=False).damages
    signed.delete(path)
    (lost,) = check(found, values=False).damages
    assert [damage.kind for damage in (other, spoilt, lost)] == [Kind.WRONG, Kind.ALTERED, Kind.MISSING]
    assert {damage.path for damage in (other, spoilt, lost)} == {"manifest.json.sig"}


def test_a_forged_manifest_with_a_right_digest_is_found_by_its_signature(signed: Store) -> None:
    """Whoever may write into the bucket can make manifest and objects agree; they cannot sign."""
    manifest = public.find(signed.address("")).manifest
    forged = publish.sealed(manifest.model_copy(update={"real_ocean": True, "sha256": ""}))
    signed.write_json(f"{PREFIX}/manifest.json", forged.model_dump(mode="json"))
    (damage,) = check(public.find(signed.address("")), values=False).damages
    assert (damage.kind, damage.path) == (Kind.ALTERED, "manifest.json.sig")


def test_a_run_killed_before_its_signature_is_completed_by_the_next(signed: Store) -> None:
    path = f"{PREFIX}/manifest.json.sig"
    whole = signed.read_bytes(path)
    signed.delete(path)
    publish.complete(signed, small.CYCLE, public.find(signed.address("")).manifest)
    assert signed.read_bytes(path) == whole


def test_who_wants_a_signature_is_not_content_without_one(small_cycle: Path) -> None:
    (damage,) = check(public.find(small_cycle), public_key="00" * 32, values=False).damages
    assert (damage.kind, damage.path) == (Kind.MISSING, "manifest.json.sig")


@pytest.mark.parametrize("content", [b"", b"not a key", None])
def test_a_key_that_is_none_is_exit_2_before_anything_is_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None
) -> None:
    if content is not None:
        (tmp_path / "key.pem").write_bytes(content)
    monkeypatch.setenv("GOMS_SIGNING_KEY", str(tmp_path / "key.pem"))
    with pytest.raises(UsageError, match="needed a private Ed25519 key in PEM"):
        published.publish_small(Store(tmp_path / "store"), published.SMALLEST)
    assert Store(tmp_path / "store").find(f"{PREFIX}/manifest.json") is None


# --------------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GOMS_SCRATCH", str(tmp_path / "scratch"))
    monkeypatch.delenv("GOMS_STORE", raising=False)
    return tmp_path


def test_the_command_says_whole_with_exit_0_and_what_is_damaged_with_exit_6(desk: Path, own_cycle: Store) -> None:
    whole = goms("check", own_cycle.uri)
    assert (whole.exit_code, whole.stderr) == (0, "")
    assert "whole: small 20240227T12 r1, synthetic twin: not the real ocean: " in whole.stdout
    assert "degraded: t2m, msl and sp are climatology: era5 lacks them" in whole.stdout
    own_cycle.delete(f"{PREFIX}/ocean.zarr/so/c/2/0/0/0")
    damaged = goms("check", own_cycle.address("small"), "--bytes-only")
    assert damaged.exit_code == 6
    assert damaged.stdout.startswith("missing  ocean.zarr/so/c/2/0/0/0: nothing there; published with ")
    assert "found 1 missing, first ocean.zarr/so/c/2/0/0/0" in damaged.stderr
    assert "do not use it: take another cycle" in damaged.stderr


def test_a_day_of_the_own_store_is_checked_by_its_date(
    desk: Path, own_cycle: Store, known: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOMS_STORE", own_cycle.uri)
    for words in (("2024-02-27",), ("20240227T12",), ("latest",), ()):
        assert goms("check", *words, "--system", "small", "--quick").stdout.count("present: small 20240227T12 r1") == 1
    twice = goms("check", "2024-02-27", "--system", "small", "--cycle", "2024-02-20")
    assert (twice.exit_code, "found 2024-02-27 and --cycle 2024-02-20" in twice.stderr) == (2, True)
    absent = goms("check", "2024-02-28", "--system", "small")
    assert absent.exit_code == 6
    assert "cycles/20240228T12/manifest.json; found nothing there" in absent.stderr


def test_a_quick_look_finds_what_is_missing_or_of_another_size(own_cycle: Store) -> None:
    own_cycle.delete(f"{PREFIX}/ocean.zarr/so/c/2/0/0/0")
    own_cycle.write_bytes(f"{PREFIX}/quicklooks/to.png", b"short")
    found = check(public.find(own_cycle.address("")), quick=True).damages
    assert [(damage.kind, damage.path) for damage in found] == [
        (Kind.MISSING, "ocean.zarr/so/c/2/0/0/0"), (Kind.ALTERED, "quicklooks/to.png"),
    ]  # fmt: skip


# ------------------------------------------------------------------------------------------------- from where one reads


def test_what_is_no_address_is_told_as_such() -> None:
    answer = goms("check", "https://[::1/x")
    assert (answer.exit_code, "needed a web address" in answer.stderr) == (2, True)


def test_a_web_server_is_checked_object_by_object(own_cycle: Store) -> None:
    with published.web_server(Path(own_cycle.uri)) as address:
        report = check(public.find(address, system="small"), values=False)
        assert (report.whole, report.objects) == (True, len(own_cycle.objects(PREFIX)) - 1)
        assert "not looked for: objects that the manifest does not know" in report.notes[1]
        own_cycle.delete(f"{PREFIX}/waves.zarr/swh/c/0/0/0")
        (damage,) = check(public.find(f"{address}/{PREFIX}"), quick=True).damages
    assert damage.path == "waves.zarr/swh/c/0/0/0"


@pytest.mark.server
def test_anybody_checks_a_public_bucket_without_keys(
    s3_cycle: Store, s3_keys: s3_server.S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    published.open_to_everybody(s3_cycle, s3_keys)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    assert check(public.find(s3_cycle.uri, system="small"), values=False).whole
    assert public.find(s3_cycle.uri, system="small", cycle="20240227T12").prefix == PREFIX
    with pytest.raises(StoreError, match=r"needed a published forecast of private; found no private/latest\.json"):
        public.find(s3_cycle.uri, system="private")
