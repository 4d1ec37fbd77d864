"""Pictures of the page to look at, and how long its first map takes from S3 on this machine.

    python -m tests.benchmarks.viewer STORE SYSTEM FOLDER

copies what is published of a folder store to an S3 server on loopback, opens the page in Chromium at the sizes of a
desk and of a phone, every product of it, and prints the time from the start of the navigation to the first map, and
what a click on the ocean costs: from its maps, and from the series that are laid out for it here where it has none.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import browser
import published
import s3_server

from pipeline import publish, series, systems
from pipeline.cycle import from_key
from pipeline.edition import Edition
from pipeline.readers import view
from pipeline.record import latest
from pipeline.store import Store

SIZES = {"desktop": (1440, 900, 1), "phone": (390, 844, 3)}
POINTS = {"kuroshio": "33.5,142", "": "20.5,140.5"}
FIRST_MAP = """() => new Promise(found => new PerformanceObserver(seen => found(seen.getEntries()[0].startTime))
    .observe({type: 'mark', buffered: true}))"""
ADMIN = ("ADMINKEY", "admin-secret")


def main(folder: str, system: str, out: Path) -> None:
    """Serve, look, measure."""
    out.mkdir(parents=True, exist_ok=True)
    source = Store(folder)
    newest = latest.latest(source, system)
    assert newest is not None
    identity = {"name": "admin", "credentials": [{"accessKey": ADMIN[0], "secretKey": ADMIN[1]}],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"]}  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        identities = json.dumps({"identities": [identity]})
        with s3_server.serving(Path(scratch), identities, ADMIN) as endpoint:
            server = s3_server.S3Server(endpoint, ADMIN, ADMIN)
            os.environ.update(server.environment(ADMIN))
            target = Store(f"s3://{s3_server.BUCKET}/goms")
            for part in ("latest.json", "status.json", "catalogue", "scores", "cycles"):
                for path, _ in source.objects(f"{system}/{part}") or [(f"{system}/{part}", 0)]:
                    if source.exists(path):
                        target.write_bytes(path, source.read_bytes(path))
            view.refresh(target, systems.system(system))
            published.open_to_everybody(target, server, system)
            where = browser.address(target, endpoint, system)
            entry = systems.system(system)
            click(where, "from maps")
            lay_out(target, systems.system(system))
            click(where, "from series")
            for name, (width, height, ratio) in SIZES.items():
                look(where, out, name, (width, height), ratio, [item.name for item in entry.products])


def lay_out(store: Store, system: systems.System) -> None:
    """Lay the newest edition's ocean out for series and have its manifest name them."""
    newest = latest.latest(store, system.name)
    assert newest is not None
    cycle = from_key(system.name, newest.cycle)
    manifest = publish.read_manifest(store, cycle, newest.revision)
    assert manifest is not None
    edition = Edition(store, system.model_copy(update={"series": ("ocean",)}), cycle, manifest.facts)
    named = [item.model_copy(update={"path": f"{edition.prefix}/{item.path}"}) for item in manifest.objects]
    made = [item.model_copy(update={"path": item.path.removeprefix(f"{edition.prefix}/")})
            for item in series.lay_out(edition, named)]  # fmt: skip
    told = manifest.model_copy(update={"objects": (*manifest.objects, *made)})
    store.write_json(edition.manifest_path, told.model_dump(mode="json"))


def click(where: str, what: str) -> None:
    """Requests, bytes and seconds of the first click on the ocean, of one far away and of one beside it."""
    with browser.chromium(1440, 900) as context:
        page = browser.Watched(context.new_page())
        page.page.goto(where)
        page.page.wait_for_selector("#map[data-drawn]")
        box = page.page.locator("#map").bounding_box()
        assert box is not None
        for name, (across, down) in {"first": (0.3, 0.4), "far": (0.31, 0.75), "beside": (0.31, 0.77)}.items():
            ready = page.page.locator("#point")
            asked, begun, before = len(page.requests), time.perf_counter(), ready.get_attribute("data-ready")
            page.page.mouse.click(box["x"] + across * box["width"], box["y"] + down * box["height"])
            page.page.wait_for_selector(f"#point[data-ready*='/']:not([data-ready='{before}'])", state="attached")
            seconds = time.perf_counter() - begun
            sizes = [request.sizes()["responseBodySize"] for request in page.requests[asked:]]
            print(f"click {what}, {name}: {len(sizes)} requests, {sum(sizes) / 1e6:.3f} MB, {seconds:.2f} s, "
                  f"{ready.get_attribute('data-ready')}, load {os.getloadavg()[0]:.1f}", flush=True)  # fmt: skip


def look(where: str, out: Path, name: str, size: tuple[int, int], ratio: int, products: list[str]) -> None:
    """Every product at one size: what is seen first, a point, the whole page."""
    options = {"device_scale_factor": ratio, "is_mobile": name != "desktop", "has_touch": name != "desktop"}
    with browser.chromium(*size, **options) as context:
        for product in products:
            page = browser.Watched(context.new_page())
            page.page.goto(f"{where}#product={product}")
            page.page.wait_for_selector("#map[data-drawn]")
            mark = page.page.evaluate(FIRST_MAP)
            before = [request for request in page.requests if not request.url.startswith("data:")]
            print(f"{name:8} {product:16} first map {mark / 1000:.2f} s, {len(before)} requests, "
                  f"load {os.getloadavg()[0]:.1f}", flush=True)  # fmt: skip
            page.page.screenshot(path=out / f"{name}-{product}-first.png")
            point = POINTS.get(product, POINTS[""])
            page.page.goto("about:blank")
            page.page.goto(f"{where}#product={product}&day=12&point={point}")
            page.page.wait_for_selector("#point[data-ready]:not([data-ready=''])")
            page.page.screenshot(path=out / f"{name}-{product}.png")
            page.page.screenshot(path=out / f"{name}-{product}-whole.png", full_page=True)
            print("\n".join(page.errors), end="")
            page.page.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
