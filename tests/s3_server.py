"""A real S3 server on loopback for the tests: SeaweedFS from its wheel, with an admin's and a reader's keys."""

from __future__ import annotations

import json
import subprocess
import sysconfig
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from pipeline.store import Store
from tests.ports import free_port, free_ports

BUCKET = "forecasts"
START_SECONDS, ANSWER_SECONDS = 180, 5
"""Longest wait for the server, and for one answer of it: it is up within five seconds on an idle machine."""


class S3Server(NamedTuple):
    """Where the server listens, and its two identities as (access key, secret key)."""

    endpoint: str
    admin: tuple[str, str]
    reader: tuple[str, str]

    def environment(self, keys: tuple[str, str]) -> dict[str, str]:
        """The usual AWS variables for these keys."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": keys[0],
            "AWS_SECRET_ACCESS_KEY": keys[1],
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """The server, up, with the bucket ``forecasts``; stopped at the end of the session."""
    admin, reader = ("ADMINKEY", "admin-secret"), ("READERKEY", "reader-secret")
    identities = [
        _identity("admin", admin, ["Admin", "Read", "Write", "List", "Tagging"]),
        _identity("reader", reader, ["Read", "List"]),
    ]
    with serving(tmp_path_factory.mktemp("s3"), json.dumps({"identities": identities}), admin) as endpoint:
        yield S3Server(endpoint, admin, reader)


@contextmanager
def serving(folder: Path, identities: str, admin: tuple[str, str]) -> Iterator[str]:
    """The endpoint of a server with these identities (SeaweedFS's configuration) and the bucket ``forecasts``."""
    (folder / "s3.json").write_text(identities)
    (folder / "data").mkdir()
    port = free_port()
    command = [str(binary()), "server", f"-dir={folder / 'data'}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3",
               f"-s3.port={port}", f"-s3.config={folder / 's3.json'}", "-master.volumeSizeLimitMB=64",
               "-volume.max=500", "-s3.port.iceberg=0", "-s3.port.lance=0", *inner_ports()]  # fmt: skip
    endpoint = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
        try:
            _wait_until_up(endpoint, admin, process, folder / "log")
            yield endpoint
        finally:
            process.kill()  # nothing in it is to be kept, and it takes its time to end by itself
            process.wait()


@pytest.fixture
def s3_keys(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    """The server, with the admin's keys in the environment."""
    for name, value in s3_server.environment(s3_server.admin).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    return s3_server


@pytest.fixture
def s3_store(s3_keys: S3Server) -> Store:
    """An empty store on the server."""
    return Store(f"s3://{BUCKET}/{uuid.uuid4().hex}")


@pytest.fixture
def folder_store(tmp_path: Path) -> Store:
    """An empty store in a folder."""
    return Store(tmp_path / "store")


@pytest.fixture(params=["folder_store", pytest.param("s3_store", marks=pytest.mark.server)])
def any_store(request: pytest.FixtureRequest) -> Store:
    """An empty store: once in a folder, once on S3."""
    store: Store = request.getfixturevalue(request.param)
    return store


def inner_ports() -> list[str]:
    """Free ports for everything of the server but S3 itself."""
    roles = ("master", "master.grpc", "volume", "volume.grpc", "filer", "filer.grpc", "s3.grpc")
    return [f"-{_port_flag(role)}={number}" for role, number in zip(roles, free_ports(len(roles)), strict=True)]


def _identity(name: str, keys: tuple[str, str], actions: list[str]) -> dict[str, Any]:
    return {"name": name, "credentials": [{"accessKey": keys[0], "secretKey": keys[1]}], "actions": actions}


def binary() -> Path:
    scripts, packages = (Path(sysconfig.get_path(name)) for name in ("scripts", "purelib"))
    if (scripts / "weed").is_file():
        return scripts / "weed"
    return next(path for path in packages.rglob("weed") if path.is_file())


def _port_flag(role: str) -> str:
    name, _, grpc = role.partition(".")
    return f"{name}.port.grpc" if grpc else f"{name}.port"


def _wait_until_up(endpoint: str, admin: tuple[str, str], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until an object can be put. A bucket is made before there is a volume for its objects, and once only."""
    client = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=admin[0],
        aws_secret_access_key=admin[1],
        config=Config(connect_timeout=ANSWER_SECONDS, read_timeout=ANSWER_SECONDS, retries={"total_max_attempts": 1}),
    )  # fmt: skip
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with suppress(client.exceptions.BucketAlreadyOwnedByYou):
                client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key="first", Body=b"up")
        except (BotoCoreError, ClientError):
            time.sleep(0.2)
        else:
            return
    raise RuntimeError(f"the S3 server did not come up:\n{log.read_text(errors='replace')[-2000:]}")
