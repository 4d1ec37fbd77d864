"""What differs by machine: the sole reader of the environment (``GOMS_*``; AWS's own variables are boto3's)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from pipeline.credits import Publisher
from pipeline.logins import Logins
from pipeline.mail import Mail


def _split(text: object) -> object:
    return tuple(text.split()) if isinstance(text, str) else text


Addresses = Annotated[tuple[SecretStr, ...], NoDecode, BeforeValidator(_split)]
"""Addresses that are secrets, with blanks between them."""
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
"""Words with blanks between them."""


class Settings(BaseSettings):
    """One machine's settings; each field is read from ``GOMS_<FIELD>``, an empty one is as if it were not set."""

    model_config = SettingsConfigDict(env_prefix="GOMS_", env_nested_delimiter="__", frozen=True, extra="forbid",
                                      hide_input_in_errors=True, env_ignore_empty=True)  # fmt: skip

    store: str = Field(default="./store", description="where forecasts are published: a folder, or s3://bucket/prefix")
    inputs: str | None = Field(
        default=None, description="folder or URL of the archives' files; none: each source's own"
    )
    archives: dict[str, str] = Field(
        default_factory=dict, description="addresses of archives that are not where they are documented, as JSON: "
        '{"name of the source": "address"}'
    )  # fmt: skip
    logins: Logins = Field(
        default=Logins(),
        description="accounts at archives: GOMS_LOGINS__COPERNICUS_USER, __COPERNICUS_PASSWORD, __CDS_KEY, "
        "__EARTHDATA_TOKEN",
    )
    cache_days: float = Field(
        default=3.0, ge=0, description="days for which fetched slabs are kept in the store; `goms housekeeping` "
        "removes older ones"
    )  # fmt: skip
    scratch: Path = Field(default=Path("./build/scratch"), description="folder for files that a run may lose")
    threads: int = Field(default=2, ge=1, description="processor threads a run may use")
    device: str = Field(default="cpu", description="where models run: cpu, cuda, or cuda:1 and so on")
    precision: Literal["float32", "bfloat16", "fastest"] = Field(
        default="float32",
        description="of a model's products: float32; bfloat16; or fastest: bfloat16 where the device has it in "
        "hardware and, on a processor, it is measured faster. What is not float32 on cpu is said on the products",
    )
    compiled: bool = Field(
        default=False, description="models through torch.compile: a minute at the first step, faster from there on"
    )
    dask_scheduler: str | None = Field(
        default=None, description="address of a dask scheduler whose workers regrid (tcp://host:8786); none: the run's "
        "own threads"
    )  # fmt: skip
    lease_seconds: int = Field(
        default=900, ge=10, description="how long a run holds its cycle without a sign of life, in seconds"
    )
    store_patience_seconds: float = Field(
        default=180, ge=0,
        description="how long an S3 server that is away is asked again, in seconds; less than half of the lease",
    )  # fmt: skip
    restart_every_days: int = Field(
        default=5, ge=1, description="lead days between two restart states: the most a killed rollout repeats"
    )
    queue_days: int = Field(default=2, ge=1, description="lead days that may wait to be written: bounds memory")
    device_slot: str | None = Field(
        default=None,
        description="Prefect's concurrency limit of which a run takes a slot while it forecasts; none: it takes none",
    )
    alert_webhooks: Addresses = Field(
        default=(), description="webhooks that get alerts as JSON, with blanks between them; Slack's are known"
    )
    alert_slack_webhooks: Addresses = Field(
        default=(), description="incoming webhooks that take Slack's layout, with blanks between them"
    )
    alert_heartbeat: SecretStr | None = Field(
        default=None, description="address that `goms watch` asks after each look: what notices when it is silent"
    )
    alert_blocks: Words = Field(
        default=(), description="notification blocks of the Prefect server, TYPE/NAME, with blanks between them"
    )
    alert_mail: Mail = Field(
        default=Mail(),
        description="alerts by e-mail: GOMS_ALERT_MAIL__HOST, __PORT, __ENCRYPTION (starttls, tls or none), __USER, "
        "__PASSWORD, __SENDER, __RECIPIENTS (by comma)",
    )
    runbook: str = Field(default="deploy/runbook.md", description="where the runbook is: a path or an address")
    log_format: Literal["text", "json"] = Field(
        default="text", description="what stderr is for: text for people, or json, a line for each event"
    )
    signing_key: Path | None = Field(
        default=None,
        description="file of the private Ed25519 key (PEM) that signs manifests; none: not signed",
    )
    traces: str | None = Field(
        default=None, description="address of a collector that takes OpenTelemetry's traces by OTLP over HTTP, like "
        "http://127.0.0.1:4318; none: there are none"
    )  # fmt: skip
    publisher: Publisher = Field(
        default=Publisher(), description="who answers for the products: GOMS_PUBLISHER__NAME and so on"
    )


def prefect_defaults(settings: Settings, log_level: str) -> Path:
    """What Prefect does unless the environment says otherwise; it reads this when it is first imported.

    Returns its folder for state, kept out of the user's own. It tells nobody outside that it was run, and where
    stderr is for machines it says nothing there whatever the environment says.
    """
    home = settings.scratch / "prefect"
    defaults = {
        "PREFECT_HOME": str(home.absolute()),
        "PREFECT_LOGGING_LEVEL": log_level,
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # what a server takes for dead is quiet for five times as long
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    if settings.log_format == "json":
        os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "CRITICAL"
    return home


def prefect_api_named() -> bool:
    """Whether the environment names a Prefect server."""
    return bool(os.environ.get("PREFECT_API_URL"))


def child_environment(changes: Mapping[str, str], unless_set: Mapping[str, str]) -> dict[str, str]:
    """The environment for a process that this one starts: its own, changed, with defaults for what is not set."""
    return {**unless_set, **os.environ, **changes}


def secrets() -> tuple[str, ...]:
    """Values of the environment that nobody outside may see: by the variable's name, or a password in an address."""
    named = [value for name, value in os.environ.items() if _SECRET_NAMES.search(name) and value]
    inside = [found for value in os.environ.values() for found in _IN_ADDRESS.findall(value)]
    hooks = [word for name, value in os.environ.items() if name.startswith("GOMS_ALERT_") for word in value.split()
             if "://" in word]  # fmt: skip
    parts = [part for hook in hooks for part in urlsplit(hook).path.split("/") if len(part) >= _TELLING]
    return tuple({*named, *inside, *hooks, *parts})


_SECRET_NAMES = re.compile(r"SECRET|TOKEN|PASSWORD|PASSWD|CREDENTIAL|AUTH|_KEY|KEY_ID", re.IGNORECASE)
_TELLING = 8
"""Characters from which a part of a webhook's path may be the secret in it."""
_IN_ADDRESS = re.compile(r"://[^/\s:@]*:([^/\s@]+)@")
