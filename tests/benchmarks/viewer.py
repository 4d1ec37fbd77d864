"""Pictures of the page to look at, and how long its first map takes from S3 on this machine.

    python -m tests.benchmarks.viewer STORE SYSTEM FOLDER

copies what is published of a folder store to an S3 server on loopback, opens the page in Chromium at the sizes of a
desk and of a phone, every product of it, and prints the time from the start of the navigation to the first map.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import browser
import published
import s3_server

from pipeline import systems
from pipeline.readers import view
from pipeline.record import latest
from pipeline.store import Store

SIZES = {"desktop": (1400, 900, 1), "phone": (390, 844, 3), "narrow": (360, 740, 2)}
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
            for name, (width, height, ratio) in SIZES.items():
                look(where, out, name, (width, height), ratio, [item.name for item in entry.products])


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
            print(f"{name:8} {product:16} first map {mark / 1000:.2f} s, {len(before)} requests by then", flush=True)
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
