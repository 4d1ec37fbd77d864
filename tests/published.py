"""A small cycle as readers find it: published once, in a folder that nobody changes, and copied for those who do."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest
from s3_server import S3Server

from pipeline import edition, products, publish, series
from pipeline.edition import Edition
from pipeline.store import Store
from pipeline.systems import System
from tests import small_ocean as small

MASKS = small.masks()
PREFIX = small.CYCLE.revision_prefix(1)


SMALLEST = small.SYSTEM.model_copy(update={"forecast_days": 1, "products": (products.OCEAN, products.WAVES)})
"""Its ocean and waves, one day: few objects."""


def publish_small(store: Store, system: System = small.SYSTEM, revision: int = 1) -> publish.Manifest:
    """Publish the small ocean's cycle into a store."""
    making = Edition(store, system, small.CYCLE, small.facts(revision))
    written = edition.write(making, small.initial(), small.drifting(), inputs_digest="x", masks=MASKS)
    laid_out = series.lay_out(making, written)
    picture = store.write_bytes(f"{making.prefix}/quicklooks/to.png", b"not really a picture")
    return publish.publish(making, (*written, *laid_out, picture), created=small.CREATED, masks=MASKS)


@pytest.fixture(scope="session")
def small_cycle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a store with the small ocean's cycle; nobody may change it."""
    folder = tmp_path_factory.mktemp("readers") / "store"
    publish_small(Store(folder))
    return folder


@pytest.fixture
def own_cycle(small_cycle: Path, tmp_path: Path) -> Store:
    """A copy of it that a test may spoil."""
    shutil.copytree(small_cycle, tmp_path / "store")
    return Store(tmp_path / "store")


@pytest.fixture
def s3_cycle(small_cycle: Path, s3_store: Store) -> Store:
    """The same on S3."""
    source = Store(small_cycle)
    for path, _ in source.objects(""):
        s3_store.write_bytes(path, source.read_bytes(path))
    return s3_store


def open_to_everybody(store: Store, server: S3Server, system: str = "small") -> None:
    """Let anybody read and list what is published under this store, by the bucket's policy as it is shipped."""
    _, _, rest = store.uri.partition("://")
    bucket, _, prefix = rest.partition("/")
    policy = (Path(__file__).parents[1] / "deploy" / "policies" / "public-read.json").read_text()
    for word, value in (("BUCKET", bucket), ("PREFIX", prefix), ("SYSTEM", system)):
        policy = policy.replace(word, value)
    client = boto3.client(
        "s3", endpoint_url=server.endpoint, region_name="us-east-1", aws_access_key_id=server.admin[0],
        aws_secret_access_key=server.admin[1],
    )  # fmt: skip
    client.put_bucket_policy(Bucket=bucket, Policy=policy)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@contextmanager
def web_server(folder: Path) -> Iterator[str]:
    """The address of a plain web server of a folder's files: Python's own, which knows no ranges."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
