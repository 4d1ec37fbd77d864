from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from pipeline.settings import Settings

EXAMPLES = {
    "store": ("s3://bucket/prefix", "s3://bucket/prefix"),
    "inputs": ("/data", "/data"),
    "archives": ('{"era5-arco": "https://a.org"}', {"era5-arco": "https://a.org"}),
    "cache_days": ("1.5", 1.5),
    "scratch": ("/scratch", Path("/scratch")),
    "threads": ("3", 3),
    "device": ("cuda:1", "cuda:1"),
    "precision": ("fastest", "fastest"),
    "compiled": ("true", True),
    "traces": ("http://127.0.0.1:4318", "http://127.0.0.1:4318"),
    "lease_seconds": ("60", 60),
    "store_patience_seconds": ("5", 5.0),
    "device_slot": ("gpu", "gpu"),
    "dask_scheduler": ("tcp://127.0.0.1:8786", "tcp://127.0.0.1:8786"),
    "log_format": ("json", "json"),
    "signing_key": ("/run/secrets/key.pem", Path("/run/secrets/key.pem")),
    "restart_every_days": ("2", 2),
    "queue_days": ("1", 1),
    "alert_webhooks": ("https://a.org/1 https://b.org/2", (SecretStr("https://a.org/1"), SecretStr("https://b.org/2"))),
    "alert_slack_webhooks": ("https://hooks.slack.com/x", (SecretStr("https://hooks.slack.com/x"),)),
    "alert_heartbeat": ("https://beat.org/1", SecretStr("https://beat.org/1")),
    "alert_blocks": ("slack-webhook/on-call", ("slack-webhook/on-call",)),
    "runbook": ("https://wiki.org/goms", "https://wiki.org/goms"),
}


@pytest.mark.parametrize("field", EXAMPLES)
def test_each_field_is_read_from_the_environment(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, value = EXAMPLES[field]
    monkeypatch.setenv(f"GOMS_{field.upper()}", text)
    assert getattr(Settings(), field) == value


def test_the_publisher_is_read_part_by_part_and_is_else_plainly_not_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().publisher.name == "publisher not named"
    monkeypatch.setenv("GOMS_PUBLISHER__EMAIL", "ocean@example.org")
    assert Settings().publisher.email == "ocean@example.org"
    assert Settings().publisher.name == "publisher not named"


def test_an_empty_variable_is_as_if_it_were_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """As compose files and manifests pass on what their own environment does not say."""
    plain = Settings()
    for name in (*EXAMPLES, "publisher__name", "alert_mail__port", "logins__cds_key"):
        monkeypatch.setenv(f"GOMS_{name.upper()}", "")
    assert Settings() == plain


def test_every_field_is_described_and_has_its_example() -> None:
    assert set(Settings.model_fields) == {*EXAMPLES, "publisher", "alert_mail", "logins"}
    assert all(field.description for field in Settings.model_fields.values())


def test_a_setting_that_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMS_THREADS", "0")
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        Settings()
