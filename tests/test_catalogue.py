"""The catalogue and the feed: valid, complete, made from the manifests alone, and never in a publication's way."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pystac
import pytest
import xarray as xr
from pystac.validation import set_validator
from pystac.validation.stac_validator import JsonSchemaSTACValidator
from typer.testing import CliRunner

from flows import cli
from pipeline import edition, publish, series, signature, systems
from pipeline.cycle import Cycle
from pipeline.grids import Grid
from pipeline.readers import catalogue, view
from pipeline.store import Store
from tests import kept_cycles, published
from tests import small_ocean as small
from tests.journeys import Here

FOLDER = "small/catalogue"
FORECAST_SCHEMA = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "$id": catalogue.FORECAST,
    "type": "object",
    "required": ["stac_extensions", "properties"],
    "properties": {
        "stac_extensions": {"contains": {"const": catalogue.FORECAST}},
        "properties": {
            "required": ["forecast:reference_datetime"],
            "properties": {
                "forecast:reference_datetime": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"},
                "forecast:horizon": {"type": "string", "pattern": r"^P(\d+D)?(T\d+[HMS])?$"},
                "forecast:duration": {"type": "string", "pattern": r"^P(\d+D)?(T\d+[HMS])?$"},
                "forecast:variable": {"type": "string"},
                "forecast:perturbed": {"type": "boolean"},
            },
            "patternProperties": {"^(?!forecast:)": {}},
            "additionalProperties": False,
        },
    },
}
"""What the forecast extension asks of items, in our words: its own schema is on the network."""


@pytest.fixture(autouse=True)
def offline() -> None:
    """STAC's schemas from the library, the extension's from above."""
    validator = JsonSchemaSTACValidator()
    validator.schema_cache[catalogue.FORECAST] = FORECAST_SCHEMA
    set_validator(validator)


@pytest.fixture
def told(own_cycle: Store) -> Store:
    """A store with one cycle and its catalogue."""
    catalogue.refresh(own_cycle, small.SYSTEM)
    return own_cycle


def document(store: Store, name: str) -> Any:
    return json.loads(store.read_bytes(f"{FOLDER}/{name}"))


def test_the_catalogue_validates_and_leads_to_every_product_of_every_cycle(told: Store) -> None:
    root = pystac.Catalog.from_file(told.address(f"{FOLDER}/catalog.json"))
    assert root.validate_all() == 4  # items; with them the catalogue and its collections
    items = {item.id: item for item in root.get_items(recursive=True)}
    assert sorted(items) == [f"small-{name}-20240227T12" for name in ("biogeochemistry", "kuroshio", "ocean", "waves")]
    ocean = items["small-ocean-20240227T12"]
    assert ocean.datetime == small.START
    assert ocean.properties["forecast:reference_datetime"] == "2024-02-27T12:00:00Z"
    assert ocean.properties["forecast:duration"] == "P4D"
    assert ocean.properties["goms:degraded_reasons"] == ["t2m, msl and sp are climatology: era5 lacks them"]
    assert ocean.properties["description"] == "Synthetic twin: not the real ocean."
    with xr.open_zarr(ocean.assets["zarr"].get_absolute_href()) as product:
        assert product.sizes["time"] == 5
    for asset in ocean.assets.values():
        assert Path(asset.get_absolute_href()).exists()


def test_a_validation_can_fail(told: Store) -> None:
    item = pystac.Item.from_file(told.address(f"{FOLDER}/ocean/20240227T12.json"))
    del item.properties["forecast:reference_datetime"]
    with pytest.raises(pystac.errors.STACValidationError):
        item.validate()


def test_a_collection_says_where_and_when(told: Store) -> None:
    collection = document(told, "ocean/collection.json")
    assert collection["extent"]["spatial"]["bbox"] == [[119.75, 20.0, 136.25, 34.0]]
    assert collection["extent"]["temporal"]["interval"] == [["2024-02-27T12:00:00Z", "2024-03-02T12:00:00Z"]]


@pytest.mark.parametrize(
    ("west", "columns", "wanted"),
    [
        (0.5, 360, [-180.0, 180.0]),
        (125.5, 55, [125.0, 180.0]),
        (170.5, 20, [170.0, -170.0]),
        (200.5, 10, [-160.0, -150.0]),
    ],
)
def test_longitudes_of_a_box_are_those_of_stac(west: float, columns: int, wanted: list[float]) -> None:
    grid = Grid(south=0.5, west=west, latitude_step=1.0, longitude_step=1.0, rows=3, columns=columns)
    box = catalogue.bbox(grid)
    assert [box[0], box[2]] == wanted


def test_the_feed_tells_of_new_forecasts(told: Store) -> None:
    feed = ElementTree.fromstring(told.read_bytes(f"{FOLDER}/feed.xml"))
    atom = {"a": "http://www.w3.org/2005/Atom"}
    assert [feed.findtext(f"a:{name}", namespaces=atom) for name in ("title", "id", "updated")] == [
        "A small ocean for tests: forecasts", "tag:publisher-not-named.invalid,2026:small", "2024-02-28T01:02:03Z",
    ]  # fmt: skip
    (entry,) = feed.findall("a:entry", atom)
    assert entry.findtext("a:title", namespaces=atom) == "small 2024-02-27 12 UTC r1"
    assert "Synthetic twin: not the real ocean." in (entry.findtext("a:summary", namespaces=atom) or "")
    (link,) = entry.findall("a:link", atom)
    assert told.exists(f"{FOLDER}/{link.attrib['href']}".replace(f"{FOLDER}/../", "small/"))


def test_saying_it_again_changes_nothing(told: Store) -> None:
    before = told.objects("")
    assert catalogue.refresh(told, small.SYSTEM) == ()
    assert told.objects("") == before


def test_a_new_revision_takes_the_old_ones_place_and_a_withdrawn_cycle_its_leave(told: Store) -> None:
    published.publish_small(told, revision=2)
    changed = catalogue.refresh(told, small.SYSTEM)
    assert f"{FOLDER}/ocean/20240227T12.json" in changed
    assert document(told, "ocean/20240227T12.json")["assets"]["zarr"]["href"].endswith("/20240227T12/r2/ocean.zarr")
    told.delete(f"{small.CYCLE.revision_prefix(2)}/manifest.json")
    told.delete(f"{small.CYCLE.revision_prefix(1)}/manifest.json")
    catalogue.refresh(told, small.SYSTEM)
    assert told.objects(FOLDER) == []


def test_a_manifest_that_cannot_be_read_hides_no_other_and_is_told(told: Store) -> None:
    later, said = Cycle("small", datetime(2024, 2, 28, 12, tzinfo=UTC)), list[str]()
    told.write_bytes(f"{later.revision_prefix(1)}/manifest.json", b"{")
    assert catalogue.refresh(told, small.SYSTEM, said.append) == ()
    assert len(view.editions(told, "small", said.append)) == 1
    assert [words.partition(" cannot be read")[0] for words in said] == ["20240228T12 r1: its manifest"] * 2


@pytest.fixture(scope="module")
def laid_out_twice(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The smallest cycle with its ocean as series too, and its catalogue."""
    store = Store(tmp_path_factory.mktemp("twice") / "store")
    system = published.SMALLEST.model_copy(update={"series": ("ocean",)})
    making = edition.Edition(store, system, small.CYCLE, small.facts())
    written = edition.write(making, small.initial(), small.drifting(), inputs_digest="x", masks=published.MASKS)
    publish.publish(making, (*written, *series.lay_out(making, written)), created=small.CREATED, masks=published.MASKS)
    catalogue.refresh(store, system)
    return store


def test_a_product_that_is_laid_out_twice_has_both_as_assets(laid_out_twice: Store) -> None:
    root = pystac.Catalog.from_file(laid_out_twice.address(f"{FOLDER}/catalog.json"))
    assert root.validate_all() == 2
    items = {item.collection_id: item for item in root.get_items(recursive=True)}
    maps, places = (items["small-ocean"].assets[name] for name in ("zarr", "series"))
    assert "series" not in items["small-waves"].assets
    assert (maps.media_type, maps.roles) == (places.media_type, places.roles)
    with xr.open_zarr(maps.get_absolute_href()) as first, xr.open_zarr(places.get_absolute_href()) as second:
        assert first["to"].encoding["chunks"] != second["to"].encoding["chunks"]
        xr.testing.assert_equal(first["to"], second["to"])


def command(store: Store) -> list[str]:
    """Lines that ``goms catalogue`` says."""
    answer = CliRunner().invoke(cli.app, ["catalogue", "--system", "small", "--store", store.uri])
    assert answer.exit_code == 0, answer.stderr
    return answer.stdout.splitlines()


def test_a_command_makes_what_was_lost_anew_and_says_what_it_wrote(
    told: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systems, "SYSTEMS", (*systems.SYSTEMS, small.SYSTEM))
    there = {path: told.read_bytes(path) for path, _ in told.objects(FOLDER)}
    where = told.address(FOLDER)
    assert command(told) == [f"small: {len(there)} documents, 0 changed, {where}"]
    told.delete(f"{FOLDER}/waves")
    told.write_bytes(f"{FOLDER}/feed.xml", b"not a feed")
    told.write_bytes(f"{FOLDER}/ocean/20200101T12.json", b"{}")
    later = Cycle("small", datetime(2024, 2, 28, 12, tzinfo=UTC))
    told.write_bytes(f"{later.revision_prefix(1)}/manifest.json", b"{")
    *changes, lost, summary = command(told)
    assert sorted(changes) == [
        "removed small/catalogue/ocean/20200101T12.json", "written small/catalogue/feed.xml",
        "written small/catalogue/waves/20240227T12.json", "written small/catalogue/waves/collection.json",
    ]  # fmt: skip
    assert lost.startswith("left out: 20240228T12 r1: its manifest cannot be read: ")
    assert summary == f"small: {len(there)} documents, 4 changed, {where}"
    assert {path: told.read_bytes(path) for path, _ in told.objects(FOLDER)} == there


def test_where_nothing_is_published_the_command_says_so(folder_store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(systems, "SYSTEMS", (*systems.SYSTEMS, small.SYSTEM))
    assert command(folder_store)[0].startswith("small: nothing is published: no catalogue, ")
    assert folder_store.objects("") == []


def test_who_races_leaves_the_newest_word(any_store: Store) -> None:
    """Four cycles published and told by four at once: the catalogue tells of all."""
    starts = [Cycle("small", datetime(2024, 3, day, 12, tzinfo=UTC)) for day in range(1, 5)]

    def publish_and_tell(cycle: Cycle) -> None:
        kept_cycles.publish(any_store, cycle, cycle.start)
        manifest = any_store.read_json(f"{cycle.revision_prefix(1)}/manifest.json")
        any_store.write_json(f"{cycle.revision_prefix(1)}/manifest.json", manifest | {"products": {"ocean": {}}})
        catalogue.refresh(any_store, small.SYSTEM)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(publish_and_tell, starts))
    links = document(any_store, "ocean/collection.json")["links"]
    assert [link["href"] for link in links if link["rel"] == "item"] == [
        f"./2024030{day}T12.json" for day in (4, 3, 2, 1)
    ]
    assert len(any_store.objects(f"{FOLDER}/ocean")) == 5


def test_the_public_key_stands_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = signature.Ed25519PrivateKey.from_private_bytes(b"1" * 32)
    monkeypatch.setattr(signature, "public_key", lambda: signature.in_hexadecimal(key.public_key()))
    store = Store(tmp_path)
    published.publish_small(store, published.SMALLEST)
    catalogue.refresh(store, published.SMALLEST)
    path = store.address(f"{FOLDER}/signing-key.pem")
    assert signature.read_public_key(path) == signature.in_hexadecimal(key.public_key())


@pytest.mark.server
def test_a_run_tells_the_catalogue_and_housekeeping_takes_out_what_it_withdraws(here: Here, first_day: Store) -> None:
    assert here.run("2023-01-01", first_day).code == 0  # published before: the catalogue is made up for
    listed = [path for path, _ in first_day.objects("small-sea/catalogue")]
    assert "small-sea/catalogue/ocean/20230101T00.json" in listed
    first_day.delete("small-sea/catalogue/ocean/20230101T00.json")
    first_day.write_bytes("small-sea/cycles/20230102T00/r1/manifest.json", b"{")
    kept = here("housekeeping", "--apply", "--system", "small-sea", "--store", first_day.uri)
    assert kept.code == 0
    for where in ("catalogue", "page"):
        assert f"left out of the {where} of small-sea: 20230102T00 r1: its manifest cannot be read" in kept.err
    assert [path for path, _ in first_day.objects("small-sea/catalogue")] == listed
