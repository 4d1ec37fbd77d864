"""The page to look at, in a real browser, from a real S3 server: what it shows is what xarray reads."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import browser
import google_crc32c
import httpx
import numpy as np
import pytest
import xarray as xr
from browser import Watched
from playwright.sync_api import BrowserContext, expect
from s3_server import BUCKET, S3Server
from test_s3_policies import script
from typer.testing import CliRunner, Result

from flows.cli import app
from flows.desk import viewing
from pipeline import series, systems
from pipeline.operations import freshness
from pipeline.readers import view
from pipeline.record import latest
from pipeline.store import Store
from pipeline.verify import Row
from tests import published
from tests import small_ocean as small

pytestmark = pytest.mark.server
VIEWER = view.BUILT.parent
SOURCES = ("build.mjs", "index.html", "package-lock.json", "package.json", "style.css", "tsconfig.json")
LEADS, LEVELS = range(5), range(15)
LAID_OUT = small.SYSTEM.model_copy(update={"series": ("ocean", "waves")})
DEGRADED = "t2m, msl and sp are climatology: era5 lacks them"


class Site(NamedTuple):
    """A store on S3 with the small ocean's cycle, its page, and the products as xarray reads them."""

    store: Store
    address: str
    origin: str
    products: dict[str, xr.Dataset]

    def values(self, product: str, variable: str) -> np.ndarray:
        return np.asarray(self.products[product][variable].values)


class Pixel(NamedTuple):
    """Where a cell lies on the screen."""

    x: float
    y: float


@pytest.fixture(scope="module")
def site(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Published as the service does it: the cycle, its scores, its freshness, the page; open to everybody.

    Ocean and waves are laid out for series too, in chunks so small that they reach beyond the grid; the rest are maps.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name, text in s3_server.environment(s3_server.admin).items():
            patch.setenv(name, text)
        patch.setattr(series, "CELLS", 4)
        store, source = Store(f"s3://{BUCKET}/looked-at"), Store(tmp_path_factory.mktemp("looked-at"))
        published.publish_small(source, LAID_OUT)
        for path, _ in source.objects(""):
            store.write_bytes(path, source.read_bytes(path))
        rest = (0.9, np.nan, 0.9, 1.0, np.nan, 9)
        rows = [Row("to", "degC", None, "global", lead, 0.1 * lead, 0.2 * lead, *rest, 0.15 * lead)
                for lead in (1, 2, 4)]  # fmt: skip
        content = {"product": "ocean", "attributes": {}, "rows": [_plain(row) for row in rows]}
        store.write_json(f"small/scores/{small.CYCLE.key}/r1/ocean.json", content)
        freshness.refresh(store, small.SYSTEM, small.CREATED)
        view.refresh(store, small.SYSTEM)
        published.open_to_everybody(store, s3_server)
        prefix = source.address(small.CYCLE.revision_prefix(1))
        found = {name: xr.open_zarr(f"{prefix}/{name}.zarr", chunks=None) for name in ("ocean", "waves", "kuroshio")}
        yield Site(store, browser.address(store, s3_server.endpoint, "small"), s3_server.endpoint, found)


def _plain(row: Row) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and np.isnan(value) else value
            for name, value in row._asdict().items()}  # fmt: skip


@pytest.fixture(scope="module")
def chromium() -> Iterator[BrowserContext]:
    """One browser for the whole module; each test has a page of its own."""
    with browser.chromium(1200, 800) as context:
        yield context


@pytest.fixture
def opened(chromium: BrowserContext, site: Site) -> Iterator[Watched]:
    """The page, with its first map drawn. At the end: no error was said, and nothing left the server's origin."""
    watched = Watched(chromium.new_page())
    watched.page.goto(site.address)
    watched.drawn("to/0")
    yield watched
    watched.page.close()
    assert watched.errors == []
    assert {f"http://{origin}" for origin in watched.origins} == {site.origin}


def cell_at(watched: Watched, row: int, column: int, shape: tuple[int, int] = (14, 11)) -> Pixel:
    """Where the middle of a cell is drawn: latitude goes up, longitude to the right."""
    box = watched.page.locator("#map").bounding_box()
    assert box is not None
    rows, columns = shape
    return Pixel(box["x"] + (column + 0.5) / columns * box["width"],
                 box["y"] + (rows - row - 0.5) / rows * box["height"])  # fmt: skip


def click(watched: Watched, row: int, column: int) -> None:
    watched.page.locator("#map").scroll_into_view_if_needed()
    watched.page.mouse.click(*cell_at(watched, row, column))


def filled(watched: Watched, what: str) -> None:
    """Wait until the series and the profile of product/variable/level/lead/row/column are there."""
    watched.page.wait_for_selector(f"#point[data-ready='{what}']")


def exact(watched: Watched, along: str) -> list[np.float32]:
    """What a table at the point holds along ``lead`` or ``depth``, to the last bit."""
    texts = watched.page.eval_on_selector_all(f"#tables tr[data-{along}]", "rows => rows.map(row => row.dataset.value)")
    return [np.float32(text) for text in texts]


def readout(watched: Watched, name: str = "value") -> np.float32:
    return np.float32(watched.page.get_attribute("#readout", f"data-{name}") or "")


def pixels(watched: Watched, shape: tuple[int, int] = (14, 11)) -> dict[tuple[int, int], tuple[int, ...]]:
    """The colour beside every cell's middle on the canvas, off the lines of the degrees."""
    rows, columns = shape
    flat = watched.page.evaluate(
        """([rows, columns]) => { const c = document.getElementById('map'), found = [];
           const image = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
           for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) {
             const y = Math.floor((rows - row - 0.3) / rows * c.height);
             const at = 4 * (y * c.width + Math.floor((column + 0.7) / columns * c.width));
             found.push([...image.slice(at, at + 4)]);
           }
           return found }""",
        [rows, columns],
    )
    return {divmod(index, columns): tuple(colour) for index, colour in enumerate(flat)}


def test_a_click_gives_value_series_and_profile_to_the_bit(opened: Watched, site: Site) -> None:
    to = site.values("ocean", "to")
    click(opened, 9, 7)
    filled(opened, "ocean/to/0/0/9/7")
    assert readout(opened) == to[0, 0, 9, 7]
    assert (readout(opened, "latitude"), readout(opened, "longitude")) == (29.5, 131.0)
    assert exact(opened, "lead") == list(to[:, 0, 9, 7])
    assert len(set(to[:, 0, 9, 7])) == len(LEADS), "a series that does not move shows nothing"
    profile = exact(opened, "depth")
    np.testing.assert_array_equal(profile, to[0, :, 9, 7])
    assert len(profile) == len(LEVELS)


def test_a_click_takes_three_requests_and_one_nearby_none(opened: Watched, site: Site) -> None:
    """Metadata, the index of a shard, one chunk: all days and depths, and those of the cells beside."""
    asked = len(opened.requests)
    click(opened, 9, 6)
    filled(opened, "ocean/to/0/0/9/6")
    assert opened.page.get_attribute("#point", "data-layout") == "series"
    paths = [urlsplit(request.url).path.rpartition("/ocean.zarr/")[::2] for request in opened.requests[asked:]]
    assert [path for _, path in paths] == ["to/zarr.json", "to/c/0/0/0/0", "to/c/0/0/0/0"]
    assert {folder.endswith("/r1/series") for folder, _ in paths} == {True}
    asked = len(opened.requests)
    opened.page.locator("#depth").fill("2")
    opened.page.wait_for_selector("#point[data-ready='ocean/to/2/0/9/6']")
    click(opened, 8, 7)
    filled(opened, "ocean/to/2/0/8/7")
    np.testing.assert_array_equal(exact(opened, "lead"), site.values("ocean", "to")[:, 2, 8, 7])
    assert [request.url for request in opened.requests[asked:] if "/series/" in request.url] == []


def test_another_day_depth_and_variable_are_what_is_shown(opened: Watched, site: Site) -> None:
    opened.page.get_by_role("radio", name="Northward sea water velocity").click()
    opened.drawn("vo/0")
    opened.page.locator("#day").fill("3")
    opened.drawn("vo/3")
    opened.page.locator("#depth").fill("6")
    click(opened, 11, 4)
    filled(opened, "ocean/vo/6/3/11/4")
    vo = site.values("ocean", "vo")
    assert readout(opened) == vo[3, 6, 11, 4]
    np.testing.assert_array_equal(exact(opened, "lead"), vo[:, 6, 11, 4])
    np.testing.assert_array_equal(exact(opened, "depth"), vo[3, :, 11, 4])
    assert opened.page.inner_text("#depth-word") == "70 m"
    assert "Fri, 1 Mar 2024" in opened.page.inner_text("#day-word"), "three days after 27 February of a leap year"


@pytest.mark.parametrize(("product", "variable", "cell"), [("waves", "mwd", (3, 5)), ("kuroshio", "zos", (12, 10))])
def test_products_without_depth_are_shown_too(
    chromium: BrowserContext, site: Site, product: str, variable: str, cell: tuple[int, int]
) -> None:
    """By an address that says what to show: products, variables and points can be sent to others."""
    row, column = cell
    data = site.products[product]
    where = f"{float(data['latitude'][row])},{float(data['longitude'][column])}"
    watched = Watched(chromium.new_page())
    watched.page.goto(f"{site.address}#product={product}&variable={variable}&day=2&point={where}")
    filled(watched, f"{product}/{variable}/0/2/{row}/{column}")
    np.testing.assert_array_equal(exact(watched, "lead"), site.values(product, variable)[:, row, column])
    assert exact(watched, "depth") == []
    assert not watched.page.is_visible("#depth-field")
    assert watched.errors == []
    watched.page.close()


def test_a_point_stays_chosen_over_a_change_of_product_and_what_is_said_of_it_is_the_new_ones(
    opened: Watched, site: Site
) -> None:
    """Where the new product does not reach, nothing is said of a point."""
    click(opened, 5, 3)
    filled(opened, "ocean/to/0/0/5/3")
    opened.page.get_by_role("radio", name="Waves").click()
    filled(opened, "waves/swh/0/0/2/2")
    swh = site.values("waves", "swh")
    assert exact(opened, "lead") == list(swh[:, 2, 2])
    assert (readout(opened), exact(opened, "depth")) == (swh[0, 2, 2], [])
    opened.page.mouse.click(*cell_at(opened, 0, 4, (5, 7)))
    filled(opened, "waves/swh/0/0/0/4")
    opened.page.get_by_role("radio", name="Kuroshio").click()
    expect(opened.page.locator("#point-empty")).to_be_visible()
    opened.drawn("to/0")
    assert not opened.page.is_visible("#point-body")
    assert "point=" not in opened.page.url


def test_a_link_to_a_forecast_that_is_gone_shows_the_latest_and_says_so(chromium: BrowserContext, site: Site) -> None:
    watched = Watched(chromium.new_page())
    watched.page.goto(f"{site.address}#cycle=20240115T12")
    watched.drawn("to/0")
    said = watched.page.locator(".banner.old")
    expect(said).to_contain_text("Mon, 15 Jan 2024, 12:00 UTC is no longer published. This is the latest.")
    watched.page.goto("about:blank")
    watched.page.goto(f"{site.address}#cycle={small.CYCLE.key}")
    watched.drawn("to/0")
    assert watched.page.locator(".banner.old").count() == 0
    watched.page.close()


def test_a_button_that_is_let_go_outside_of_the_map_does_not_drag_it(opened: Watched) -> None:
    opened.page.locator("#map").scroll_into_view_if_needed()
    opened.page.mouse.move(*cell_at(opened, 9, 7))
    opened.page.mouse.down()
    opened.page.mouse.move(1, 1)
    opened.page.mouse.up()
    opened.page.click("#zoom-in")
    found = set()
    for row in (4, 10):
        opened.page.mouse.move(*cell_at(opened, row, 7))
        found.add(readout(opened, "latitude"))
    assert len(found) == 2, "the pointer reads the map"


def test_scores_that_could_not_be_read_are_asked_for_again(chromium: BrowserContext, site: Site) -> None:
    watched = Watched(chromium.new_page())
    watched.page.route("**/scores/**", lambda route: route.abort(), times=1)
    watched.page.goto(site.address)
    watched.page.wait_for_selector(".banner.failed")
    for name in ("Sea water practical salinity", "Sea water temperature"):
        watched.page.get_by_role("radio", name=name).click()
    expect(watched.page.locator("#skill-words")).to_contain_text("better than persistence")
    watched.page.close()


def test_an_edition_without_series_is_read_from_its_maps_and_says_so(
    chromium: BrowserContext, own_cycle: Store, site: Site
) -> None:
    """As one is that was published before its series were laid out: the same values, by a request or two a day."""
    view.refresh(own_cycle, small.SYSTEM)
    with browsed(own_cycle) as address:
        watched = Watched(chromium.new_page())
        ocean = site.products["ocean"]
        where = f"{float(ocean['latitude'][11])},{float(ocean['longitude'][4])}"
        watched.page.goto(f"{address}/small/view/index.html#variable=vo&depth=70&day=3&point={where}")
        filled(watched, "ocean/vo/6/3/11/4")
        vo = site.values("ocean", "vo")
        np.testing.assert_array_equal(exact(watched, "lead"), vo[:, 6, 11, 4])
        np.testing.assert_array_equal(exact(watched, "depth"), vo[3, :, 11, 4])
        assert watched.page.get_attribute("#point", "data-layout") == "maps"
        assert "no series layout" in watched.page.inner_text("#point-layout")
        assert [text for text in watched.errors if "404" not in text] == []
        watched.page.close()


@pytest.mark.parametrize(("variable", "lost", "said"), [
    ("so", True, "/so/c/0/0/0/0: "), ("vo", False, "vo on day 0: the map says "),
])  # fmt: skip
def test_series_that_are_lost_or_say_something_else_are_never_shown(
    chromium: BrowserContext, site: Site, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, variable: str,
    lost: bool, said: str,
) -> None:  # fmt: skip
    for name, text in s3_server.environment(s3_server.admin).items():
        monkeypatch.setenv(name, text)
    path = f"{small.CYCLE.revision_prefix(1)}/series/ocean.zarr/{variable}/c/0/0/0/0"
    whole = site.store.read_bytes(path)
    index = np.frombuffer(whole[-9 * 16 - 4 : -4], np.uint64).reshape(9, 2)[::-1].tobytes()  # each chunk is another's
    moved = whole[: -len(index) - 4] + index + google_crc32c.value(index).to_bytes(4, "little")
    site.store.write_bytes(path, whole[:-7] if lost else moved)
    watched = Watched(chromium.new_page())
    chromium.new_cdp_session(watched.page).send("Network.setCacheDisabled", {"cacheDisabled": True})  # of other tests
    try:
        watched.page.goto(f"{site.address}#variable={variable}&point=29.5,131")
        watched.page.wait_for_selector(".banner.failed")
        assert said in watched.page.inner_text(".banner.failed")
        assert watched.page.get_attribute("#point", "data-ready") == ""
        assert exact(watched, "lead") == []
    finally:
        site.store.write_bytes(path, whole)
        watched.page.close()


def test_code_that_is_not_the_pages_own_is_refused_and_that_is_noticed(chromium: BrowserContext, site: Site) -> None:
    """What holds everywhere else: no refusal was said, so the page and its decoder need no code made at run time."""
    watched = Watched(chromium.new_page())
    watched.page.goto(site.address)
    watched.drawn("to/0")
    assert "unsafe-eval'" not in (VIEWER / "dist" / "index.html").read_text().replace("wasm-unsafe-eval'", "")
    watched.page.evaluate("""() => { const made = document.createElement('script'), text = 'window.reached = true';
        made.textContent = text; document.body.append(made); setTimeout(text) }""")
    watched.page.evaluate("() => new Promise(done => setTimeout(done, 50))")
    assert watched.page.evaluate("window.reached") is None
    refused = [text for text in watched.errors if text.startswith("refused by its policy: script-src")]
    assert len(refused) == 2
    watched.page.close()


def test_the_map_is_drawn_and_land_is_where_it_is(opened: Watched, site: Site) -> None:
    land = np.isnan(site.values("ocean", "to")[0, 0])
    assert 0 < land.sum() < land.size / 2
    colours = pixels(opened)
    grey = (*bytes.fromhex(view.contents(small.SYSTEM, [])["land"][1:]), 255)
    assert {cell for cell, colour in colours.items() if colour == grey} == {
        (int(row), int(column)) for row, column in np.argwhere(land)
    }
    assert len({colour for cell, colour in colours.items() if not land[cell]}) > 20, "a field has many colours"


def test_the_keyboard_does_the_same(opened: Watched, site: Site) -> None:
    """The crosshair begins in the middle (row 7, column 5): two up and two to the right."""
    opened.page.focus("#map")
    for key in ("ArrowUp", "ArrowUp", "ArrowRight", "ArrowRight"):
        opened.page.keyboard.press(key)
    to = site.values("ocean", "to")
    assert readout(opened) == to[0, 0, 9, 7]
    said = opened.page.locator("#announce")
    expect(said).to_have_text(re.compile(r"^29\.5° N, 131° E: [0-9.]+ °C$"))
    opened.page.keyboard.press("Enter")
    filled(opened, "ocean/to/0/0/9/7")
    np.testing.assert_array_equal(exact(opened, "lead"), to[:, 0, 9, 7])
    expect(said).to_have_text(
        re.compile(
            r"^29\.5° N, 131° E, .*, surface: [0-9.]+ °C on day 0; over 4 days between [0-9.]+ and [0-9.]+ °C\.$"
        )
    )
    for _ in range(9):  # to the land in the south-west
        opened.page.keyboard.press("Shift+ArrowLeft")
        opened.page.keyboard.press("ArrowDown")
    assert np.isnan(readout(opened))
    opened.page.keyboard.press("Enter")
    filled(opened, "land")
    assert opened.page.inner_text("#point-value") == "Land, or no value"


def test_every_control_is_reached_by_tab_and_has_a_name(opened: Watched) -> None:
    """Tab goes through everything that acts; a group of choices is one stop, and arrows move in it."""
    reached = []
    opened.page.focus(".skip")
    for _ in range(40):
        here = opened.page.evaluate(
            """() => { const e = document.activeElement;
               const words = e.ariaLabel || e.labels?.[0]?.innerText || e.innerText;
               return [e.id || e.dataset.name || e.className || e.tagName, words, getComputedStyle(e).outlineStyle] }"""
        )
        reached.append(here)
        opened.page.keyboard.press("Tab")
        if opened.page.evaluate("document.activeElement === document.body"):
            break
    names = [name for name, _, _ in reached]
    for wanted in ("ocean", "to", "map", "zoom-in", "zoom-out", "play", "day", "depth"):
        assert wanted in names
    assert [name for name, words, _ in reached if not words.strip()] == []
    assert [name for name, _, outline in reached if outline == "none"] == [], "the focus is seen"
    opened.page.focus("[data-name=to]")
    opened.page.keyboard.press("ArrowRight")
    opened.drawn("so/0")
    assert opened.page.get_attribute("[data-name=so]", "aria-checked") == "true"
    assert opened.page.evaluate("document.activeElement.dataset.name") == "so"


def test_what_must_be_known_is_said(opened: Watched) -> None:
    banners = opened.page.inner_text("#banners")
    assert "Synthetic twin: not the real ocean." in banners
    assert "Degraded" in banners
    assert DEGRADED in banners
    about = opened.page.inner_text("#about")
    for said in ("persistence", "the forcing of the start is kept for every lead day", "era5", "12 h", DEGRADED):
        assert said in about
    assert "limits: 1st to 99th percentile of day 0 at this depth" in opened.page.inner_text("#limits")
    assert opened.page.inner_text("#unit") == "°C"


def test_scores_are_shown_beside_persistence(opened: Watched) -> None:
    opened.page.wait_for_selector("#skill-table tr[data-lead='4']", state="attached")
    rows = opened.page.eval_on_selector_all("#skill-table tr[data-lead]", "rows => rows.map(row => ({...row.dataset}))")
    assert [(row["lead"], float(row["rmse"]), float(row["persistence"])) for row in rows] == [
        ("1", 0.1, 0.2), ("2", 0.2, 0.4), ("4", 0.4, 0.8),
    ]  # fmt: skip
    assert "damped persistence" in opened.page.inner_text("#skill-charts")
    assert "better than persistence at 3 of 3 lead days" in opened.page.inner_text("#skill-words")
    opened.page.get_by_role("radio", name="Sea water practical salinity").click()
    expect(opened.page.locator("#skill-words")).to_contain_text("no scores yet")


def test_an_animation_runs_and_stops_and_less_motion_means_a_day_at_a_time(opened: Watched) -> None:
    opened.page.click("#play")
    opened.drawn("to/4")
    opened.page.click("#play")
    assert opened.page.inner_text("#play-word") == "Play"
    opened.page.emulate_media(reduced_motion="reduce")
    expect(opened.page.locator("#play-word")).to_have_text("Next day")
    opened.page.locator("#day").fill("1")
    opened.drawn("to/1")
    opened.page.click("#play")
    opened.drawn("to/2")


def test_a_phone_needs_no_sideways_scrolling(opened: Watched) -> None:
    opened.page.set_viewport_size({"width": 360, "height": 740})
    expect(opened.page.locator("html")).to_have_js_property("clientWidth", 360)
    assert opened.page.evaluate("document.documentElement.scrollWidth") == 360
    click(opened, 9, 7)
    filled(opened, "ocean/to/0/0/9/7")
    assert opened.page.evaluate("document.documentElement.scrollWidth") == 360


def test_few_requests_and_bytes_come_before_the_first_map(chromium: BrowserContext, site: Site) -> None:
    """Of the field: its shard's index and one chunk, by ranges."""
    watched = Watched(chromium.new_page())
    with watched.page.expect_request(lambda request: "/scores/" in request.url):
        watched.page.goto(site.address)
    asked = [request for request in watched.requests if "/ocean.zarr/to/" in request.url]
    ranges = [request.header_value("range") for request in asked]
    size = site.store.size(f"{small.CYCLE.revision_prefix(1)}/ocean.zarr/to/c/0/0/0/0") or 0
    assert ranges[0] == f"bytes={size - 15 * 16 - 4}-{size - 1}", "the index: 15 offsets and lengths, and their CRC"
    assert len(ranges) == 2
    assert ranges[1] is not None
    watched.page.close()


def test_a_lost_object_is_said_and_never_shown(
    chromium: BrowserContext, site: Site, s3_server: S3Server, small_cycle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in s3_server.environment(s3_server.admin).items():
        monkeypatch.setenv(name, text)
    path = f"{small.CYCLE.revision_prefix(1)}/ocean.zarr/so/c/1/0/0/0"
    whole = site.store.read_bytes(path)
    site.store.write_bytes(path, whole[:-7])
    watched = Watched(chromium.new_page())
    try:
        watched.page.goto(f"{site.address}#variable=so")
        watched.drawn("so/0")
        watched.page.locator("#day").fill("1")
        watched.page.wait_for_selector(".banner.failed")
        assert "so/c/1" in watched.page.inner_text(".banner.failed")
        assert watched.page.get_attribute("#map", "data-drawn") == "so/0"
    finally:
        site.store.write_bytes(path, whole)
        watched.page.close()


def test_pages_elsewhere_may_read_the_products(chromium: BrowserContext, site: Site, s3_server: S3Server) -> None:
    """By the bucket's rules as shipped; without them a browser hides the answer."""
    import boto3

    client = boto3.client("s3", endpoint_url=s3_server.endpoint, region_name="us-east-1",
                          aws_access_key_id=s3_server.admin[0], aws_secret_access_key=s3_server.admin[1])  # fmt: skip
    policy = client.get_bucket_policy(Bucket=BUCKET)["Policy"]
    script("bucket").open_to_readers(client, BUCKET, policy)
    page = chromium.new_page()
    ask = """url => fetch(url, {headers: {Range: 'bytes=0-9'}}).then(async answer =>
             [answer.status, answer.headers.get('Content-Range'), (await answer.arrayBuffer()).byteLength])"""
    size = site.store.size("small/latest.json")
    with browsed(Store("/nowhere")) as elsewhere:
        page.goto(elsewhere)
        assert page.evaluate(ask, f"{site.address.rpartition('/view/')[0]}/latest.json") == [
            206,
            f"bytes 0-9/{size}",
            10,
        ]
    page.close()


class browsed:  # noqa: N801 - read as a word
    """``goms view --serve`` of a store in a thread: its address."""

    def __init__(self, store: Store) -> None:
        self.server = viewing.Server(store, 0)
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self) -> str:
        self.thread.start()
        return self.server.address

    def __exit__(self, *error: object) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def test_a_folder_is_served_to_browsers_of_this_machine(chromium: BrowserContext, own_cycle: Store, site: Site) -> None:
    view.refresh(own_cycle, small.SYSTEM)
    own_cycle.write_bytes("small/runs/secret.json", b"{}")
    with browsed(own_cycle) as address:
        watched = Watched(chromium.new_page())
        watched.page.goto(f"{address}/small/view/index.html")
        watched.page.wait_for_selector("#map[data-drawn='to/0']")
        assert watched.errors == [f"{address}/small/status.json"] or all("404" in text for text in watched.errors)
        watched.page.close()
        path = f"{address}/small/{small.CYCLE.revision_prefix(1).partition('/')[2]}/manifest.json"
        size = len(httpx.get(path).content)
        for wanted, status, told in (
            ("bytes=5-9", 206, f"bytes 5-9/{size}"), ("bytes=-4", 206, f"bytes {size - 4}-{size - 1}/{size}"),
            (f"bytes={size}-", 416, f"bytes */{size}"), ("bytes=7-", 206, f"bytes 7-{size - 1}/{size}"),
        ):  # fmt: skip
            answer = httpx.get(path, headers={"Range": wanted})
            assert (answer.status_code, answer.headers["Content-Range"]) == (status, told)
        for private in (
            "/small/runs/secret.json",
            "/small/view/../runs/secret.json",
            "/",
            "/small/view/%2e%2e/runs/secret.json",
        ):
            assert httpx.get(f"{address}{private}").status_code == 404


def test_an_object_that_is_put_anew_while_it_is_asked_for_is_sent_whole(
    folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder_store.write_bytes("small/latest.json", b"new")
    monkeypatch.setattr(Store, "size", lambda store, path: 7)  # as it was a moment before
    with browsed(folder_store) as address:
        assert httpx.get(f"{address}/small/latest.json").content == b"new"


def test_the_command_says_where_the_page_lies(
    own_cycle: Store, site: Site, s3_keys: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(systems, "SYSTEMS", (*systems.SYSTEMS, small.SYSTEM))
    absent = _goms("view", "--system", "small", "--store", own_cycle.uri)
    assert (absent.exit_code, "goms run yesterday --system small" in absent.stderr) == (6, True)
    view.refresh(own_cycle, small.SYSTEM)
    assert own_cycle.address("small/view/index.html") in _goms("view", "-s", "small", "--store", own_cycle.uri).stdout
    assert _goms("view", "-s", "small", "--store", site.store.uri).stdout.strip() == site.address
    with viewing.Server(own_cycle, 0) as server:
        port = str(server.server_port)
        taken = _goms("view", "-s", "small", "--store", own_cycle.uri, "--serve", "--port", port)
    assert (taken.exit_code, "needed a free port" in taken.stderr) == (2, True)


def _goms(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), catch_exceptions=False)


@pytest.mark.parametrize("path", ["a/latest.json/x", "a/runs/x", "a/../b/view/x", "a//view/x", "view/x", "a/viewer/x"])
def test_what_is_private_is_not_served(path: str) -> None:
    assert not viewing.readable(path)


def test_publishing_the_page_again_changes_nothing_and_old_assets_go(any_store: Store) -> None:
    assert view.refresh(any_store, small.SYSTEM) == (), "nothing was ever published"
    published.publish_small(any_store, published.SMALLEST)
    first = view.refresh(any_store, small.SYSTEM)
    assert {"index.html", "contents.json"} < set(first)
    assert view.refresh(any_store, small.SYSTEM) == ()
    any_store.write_bytes("small/view/main-OLD.js", b"old")
    any_store.write_bytes("small/view/index.html", b"old")
    assert view.refresh(any_store, small.SYSTEM) == ("index.html",)
    assert {path for path, _ in any_store.objects("small/view")} == {f"small/view/{name}" for name in first}
    newest = latest.latest(any_store, "small")
    assert newest is not None
    any_store.delete(newest.prefix)
    assert view.refresh(any_store, small.SYSTEM) == ("contents.json",)
    assert any_store.read_json("small/view/contents.json")["cycles"] == []


def test_a_list_made_before_another_run_published_does_not_replace_that_runs_list(
    folder_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    published.publish_small(folder_store, published.SMALLEST)
    (key,) = folder_store.folders("small/cycles")
    listed = view.editions

    def overtaken(*arguments: Any) -> list[view.Told]:
        """While this run has listed and not written, another publishes the next day and refreshes the page."""
        found = listed(*arguments)
        if folder_store.folders("small/cycles") == [key]:
            manifest = folder_store.read_json(f"small/cycles/{key}/r1/manifest.json")
            folder_store.write_json("small/cycles/20991231T12/r1/manifest.json", manifest)
            view.refresh(folder_store, small.SYSTEM)
        return found

    view.refresh(folder_store, small.SYSTEM)
    monkeypatch.setattr(view, "editions", overtaken)
    folder_store.delete("small/view/contents.json")
    view.refresh(folder_store, small.SYSTEM)
    cycles = folder_store.read_json("small/view/contents.json")["cycles"]
    assert [item["cycle"] for item in cycles] == ["20991231T12", key]


def test_colours_are_those_of_the_pictures() -> None:
    from pipeline import drawing

    made = view.contents(small.SYSTEM, [])
    thermal = bytes.fromhex(made["colour_maps"]["thermal"])
    assert tuple(thermal[:3]) == tuple(round(255 * part) for part in drawing.colour_map("thermal")(0.0)[:3])
    assert tuple(thermal[-3:]) == tuple(round(255 * part) for part in drawing.colour_map("thermal")(1.0)[:3])


def test_the_bundle_is_what_its_sources_build(tmp_path: Path) -> None:
    """Where node and the libraries are there it is built; else the digest of the sources that it was built from."""
    names = sorted([*SOURCES, *(f"src/{path.name}" for path in (VIEWER / "src").iterdir())])
    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{name}\0".encode() + (VIEWER / name).read_bytes() + b"\0")
    assert (VIEWER / "dist" / "sources.sha256").read_text().strip() == digest.hexdigest(), "npm run build, then commit"
    if shutil.which("node") is None or not (VIEWER / "node_modules").is_dir():
        return
    subprocess.run(["node", "build.mjs", tmp_path / "dist"], cwd=VIEWER, check=True, capture_output=True)
    made, kept = ({path.name: path.read_bytes() for path in folder.iterdir()}
                  for folder in (tmp_path / "dist", VIEWER / "dist"))  # fmt: skip
    assert made == kept


def test_libraries_are_pinned_by_version_and_digest_and_by_no_address() -> None:
    lock = json.loads((VIEWER / "package-lock.json").read_text())
    packages = {name: item for name, item in lock["packages"].items() if name}
    assert packages
    assert [name for name, item in packages.items() if "resolved" in item] == []
    assert [name for name, item in packages.items() if not item["integrity"].startswith("sha512-")] == []
    wanted = json.loads((VIEWER / "package.json").read_text())
    for name, version in (wanted["dependencies"] | wanted["devDependencies"]).items():
        assert packages[f"node_modules/{name}"]["version"] == version
