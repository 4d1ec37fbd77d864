"""``deploy/policies/`` on a real S3 server with the identities that ``deploy/prepare.py`` makes: who may do what."""

from __future__ import annotations

import importlib.util
import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest
import s3_server
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from pipeline import systems

pytestmark = pytest.mark.server
DEPLOY = Path(__file__).parents[1] / "deploy"
BUCKET, PREFIX = "sea", "goms"
PUBLISHED = (
    "twin/latest.json",
    "twin/status.json",
    "twin/cycles/20260101T12/r1/x.json",
    "twin/scores/x.json",
    "twin/catalogue/catalog.json",
)
PRIVATE = (
    "twin/runs/20260101T12/lock.json",
    "twin/runs/watch.json",
    "twin/pins.json",
    "notes.json",
    "twin/runs/20260101T12/latest.json",
    "coral-sea/latest.json",
    "coral-sea/cycles/20260101T12/r1/x",
)
"""Everyone reads the twin alone here: ``--systems twin``."""
ELSEWHERE = ("other/twin/latest.json", "goms-private/twin/latest.json", "latest.json")


def script(name: str) -> ModuleType:
    """A script of ``deploy/``."""
    spec = importlib.util.spec_from_file_location(name, DEPLOY / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def client_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Any]]:
    """Clients by role, of a server that was set up as ``compose.yaml`` does it, with an object of every sort in it."""
    prepare = script("prepare")
    made = prepare.files(BUCKET, PREFIX, ("twin",))
    identities = json.loads(made["s3_identities.json"])
    keys = {item["name"]: tuple(item["credentials"][0].values()) for item in identities["identities"]}
    folder = tmp_path_factory.mktemp("policies")
    with s3_server.serving(folder, made["s3_identities.json"], keys["admin"]) as endpoint:

        def client(role: str) -> Any:
            once = Config(
                retries={"total_max_attempts": 1}, **({} if role in keys else {"signature_version": UNSIGNED})
            )
            given = keys.get(role, (None, None))
            return boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", config=once,
                                aws_access_key_id=given[0], aws_secret_access_key=given[1])  # fmt: skip

        script("bucket").open_to_readers(client("admin"), BUCKET, made["public-read.json"])
        for key in (*(f"{PREFIX}/{path}" for path in PUBLISHED + PRIVATE), *ELSEWHERE):
            client("admin").put_object(Bucket=BUCKET, Key=key, Body=b"{}")
        yield client


def refused(ask: Callable[..., Any], **request: Any) -> bool:
    """Whether the server says no: 403, and nothing else."""
    try:
        ask(Bucket=BUCKET, **request)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 403:
            return True
        raise
    return False


def changes(client: Any, key: str) -> dict[str, bool]:
    """Which ways to change an object, or to make it anybody's, are refused. Nothing that is there is lost by it."""
    other = f"{key}.{uuid.uuid4().hex}"
    many = client.delete_objects
    return {
        "put": refused(client.put_object, Key=key, Body=b"{}"),
        "put anew": refused(client.put_object, Key=other, Body=b"{}", IfNoneMatch="*"),
        "delete": refused(client.delete_object, Key=other),
        "delete many": refused(many, Delete={"Objects": [{"Key": other}]}) or "Errors" in many(
            Bucket=BUCKET, Delete={"Objects": [{"Key": other}]}),
        "multipart": refused(client.create_multipart_upload, Key=other),
        "copy": refused(client.copy_object, Key=other, CopySource=f"{BUCKET}/{PREFIX}/{PUBLISHED[0]}"),
    }  # fmt: skip


def rules(client: Any) -> dict[str, bool]:
    """Which ways to change the rules are refused."""
    key, anyone = f"{PREFIX}/{PUBLISHED[0]}", "public-read-write"
    policy = {"Version": "2012-10-17", "Statement": []}
    return {
        "policy": refused(client.put_bucket_policy, Policy=json.dumps(policy)),
        "no policy": refused(client.delete_bucket_policy),
        "rights of an object": refused(client.put_object_acl, Key=key, ACL=anyone),
        "rights of the bucket": refused(client.put_bucket_acl, ACL=anyone),
        "bucket": refused(client.delete_bucket),
    }


def whole(answers: dict[str, bool], value: bool) -> bool:
    """Whether all the answers are the same; they are shown where they are not."""
    assert answers == dict.fromkeys(answers, value)
    return True


def test_anyone_reads_what_is_published_and_nothing_else(client_of: Callable[[str], Any]) -> None:
    anyone = client_of("anyone")
    for path in PUBLISHED:
        assert anyone.get_object(Bucket=BUCKET, Key=f"{PREFIX}/{path}")["Body"].read() == b"{}"
    private = (*(f"{PREFIX}/{path}" for path in PRIVATE), *ELSEWHERE)
    assert {key: refused(anyone.get_object, Key=key) for key in private} == dict.fromkeys(private, True)


def test_anyone_lists_what_is_published_and_nothing_else(client_of: Callable[[str], Any]) -> None:
    anyone = client_of("anyone")
    listed = anyone.list_objects_v2(Bucket=BUCKET, Prefix=f"{PREFIX}/twin/cycles/")
    assert [item["Key"] for item in listed["Contents"]] == [f"{PREFIX}/{PUBLISHED[2]}"]
    closed = ("", "goms", "goms/", "goms/twin/", "goms/twin/runs/", "goms/coral-sea/cycles/", "other/")
    assert whole({prefix: refused(anyone.list_objects_v2, Prefix=prefix) for prefix in closed}, True)
    assert whole({prefix: refused(anyone.list_objects, Prefix=prefix) for prefix in closed}, True)
    assert refused(anyone.list_objects_v2)


@pytest.mark.parametrize("key", [f"{PREFIX}/{PUBLISHED[0]}", f"{PREFIX}/{PUBLISHED[2]}", f"{PREFIX}/{PRIVATE[0]}", "x"])
def test_anyone_changes_nothing(key: str, client_of: Callable[[str], Any]) -> None:
    assert whole(changes(client_of("anyone"), key), True)


@pytest.mark.parametrize("role", ["anyone", "observer", "watcher", "writer"])
def test_nobody_but_the_admin_changes_the_rules(role: str, client_of: Callable[[str], Any]) -> None:
    assert whole(rules(client_of(role)), True)


def test_writer_does_what_the_store_needs_in_its_prefix(client_of: Callable[[str], Any]) -> None:
    writer = client_of("writer")
    assert whole(changes(writer, f"{PREFIX}/twin/runs/20260102T12/mark.json"), False)
    for path in PUBLISHED + PRIVATE:
        assert writer.get_object(Bucket=BUCKET, Key=f"{PREFIX}/{path}")["Body"].read() == b"{}"
    with pytest.raises(ClientError, match="NoSuchKey"):  # 403 would hide from the store that nothing is there
        writer.get_object(Bucket=BUCKET, Key=f"{PREFIX}/twin/absent.json")
    assert writer.list_objects_v2(Bucket=BUCKET, Prefix=f"{PREFIX}/", Delimiter="/")["CommonPrefixes"]


@pytest.mark.parametrize("key", ELSEWHERE)
def test_writer_touches_nothing_beside_its_prefix(key: str, client_of: Callable[[str], Any]) -> None:
    writer = client_of("writer")
    assert whole(changes(writer, key), True)
    assert refused(writer.get_object, Key=key)
    assert refused(writer.list_objects_v2, Prefix=key)
    assert refused(writer.list_objects_v2)


def test_observer_reads_the_prefix_and_changes_nothing(client_of: Callable[[str], Any]) -> None:
    observer = client_of("observer")
    for path in PUBLISHED + PRIVATE:
        assert observer.get_object(Bucket=BUCKET, Key=f"{PREFIX}/{path}")["Body"].read() == b"{}"
    for key in (f"{PREFIX}/{PUBLISHED[0]}", f"{PREFIX}/{PRIVATE[0]}", ELSEWHERE[0]):
        assert whole(changes(observer, key), True)
    assert refused(observer.get_object, Key=ELSEWHERE[0])


def test_watcher_writes_what_it_says_and_nothing_else(client_of: Callable[[str], Any]) -> None:
    watcher = client_of("watcher")
    for path in ("twin/status.json", "twin/runs/watch.json"):
        assert not refused(watcher.put_object, Key=f"{PREFIX}/{path}", Body=b"{}")
    for path in ("twin/latest.json", "twin/cycles/20260101T12/r1/x.json", "twin/runs/20260101T12/lock.json"):
        assert whole(changes(watcher, f"{PREFIX}/{path}"), True)


def test_what_watch_writes_is_what_its_policy_names() -> None:
    from pipeline.operations import freshness, said

    text = (DEPLOY / "policies" / "watcher.json").read_text()
    for path in (freshness.path("SYSTEM"), said.path("SYSTEM")):
        assert f'"arn:aws:s3:::BUCKET/PREFIX/{path}"' in text


def test_policies_know_every_system() -> None:
    assert set(script("prepare").SYSTEMS) == {system.name for system in systems.SYSTEMS}
