"""Where Copernicus Marine keeps a dataset today, and the login it wants: by its own catalogue."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pipeline.errors import InputRefused, InputUnavailable
from pipeline.settings import Settings
from pipeline.sources.transfer import fetch_one, post, shown, unavailable

TITLE = "Copernicus Marine"
CATALOGUE = "https://s3.waw3-1.cloudferro.com/mdl-metadata"
LOGIN = "https://auth.marine.copernicus.eu/realms/MIS/protocol/openid-connect/token"
ASSET = "timeChunked"
LOGIN_SECONDS = 30.0
"""Longest wait for the login's whole answer."""


def log_in(archives: Mapping[str, str], deadline_seconds: float) -> None:
    """Show the account to the archive; ``InputUnavailable`` where there is none, or it is not known there."""
    logins = Settings().logins
    if logins.copernicus_user is None or logins.copernicus_password is None:
        raise InputUnavailable(
            f"an account at {TITLE}", found="none in the settings", where="GOMS_LOGINS__COPERNICUS_USER and "
            "__COPERNICUS_PASSWORD", action="set them, or take the next rung",
        )  # fmt: skip
    form = {"client_id": "toolbox", "grant_type": "password", "username": logins.copernicus_user,
            "password": logins.copernicus_password.get_secret_value(), "scope": "openid profile email"}  # fmt: skip
    url = archives.get("copernicus-login", LOGIN)
    status = post(url, form, archive=f"{TITLE}'s login", deadline_seconds=min(LOGIN_SECONDS, deadline_seconds))
    if status in (400, 401):
        raise InputUnavailable(
            f"an account that {TITLE} knows", found=f"HTTP {status}", where=shown(url),
            action="correct GOMS_LOGINS__COPERNICUS_USER and __COPERNICUS_PASSWORD",
        )  # fmt: skip
    if status != 200:
        raise unavailable(f"{TITLE}'s login", f"HTTP {status}", url)


def store_of(dataset: str, archives: Mapping[str, str], deadline_seconds: float) -> str:
    """The address of a dataset's Zarr store whose chunks are instants; raises where the catalogue does not tell."""
    root = archives.get("copernicus", CATALOGUE)
    config = _json(f"{root}/clientsConfigV1.json", deadline_seconds)
    for catalogue in _held(config, "catalogues", root):
        products = _json(_held(catalogue, "idMapping", root), deadline_seconds).get(dataset)
        if products:
            base = f"{str(_held(catalogue, 'stacRoot', root)).rstrip('/')}/{products.split(',')[0]}"
            return _newest(dataset, base, deadline_seconds)
    raise InputUnavailable(
        f"the dataset {dataset} of {TITLE}", found="no product with it in the catalogue", where=root,
        action="look for its new name: identifiers change about twice a year",
    )  # fmt: skip


def _newest(dataset: str, base: str, deadline_seconds: float) -> str:
    """Of a dataset's versions (``..._YYYYMM``) the newest that has the store."""
    links = _held(_json(f"{base}/product.stac.json", deadline_seconds), "links", base)
    items = sorted(link["href"] for link in links if link.get("rel") == "item" and _is_version(link["href"], dataset))
    for item in reversed(items):
        assets = _held(_json(f"{base}/{item}", deadline_seconds), "assets", base)
        if ASSET in assets:
            return str(_held(assets[ASSET], "href", base))
    raise InputUnavailable(
        f"the dataset {dataset} of {TITLE} as {ASSET}", found=f"{len(items)} versions without it", where=base,
        action="look for its new name: identifiers change about twice a year",
    )  # fmt: skip


def _is_version(href: str, dataset: str) -> bool:
    name = href.rsplit("/", 1)[0] if href.endswith("/dataset.stac.json") else href.rsplit("/", 1)[-1].split(".stac")[0]
    head, _, version = name.rpartition("_")
    return dataset in (name, head) and (dataset == name or version.isdigit())


def _json(url: str, deadline_seconds: float) -> dict[str, Any]:
    data = fetch_one(url, archive=f"{TITLE}'s catalogue", deadline_seconds=deadline_seconds)
    if data is None:
        raise unavailable(f"{TITLE}'s catalogue", "nothing there: it has moved", url)
    try:
        found = json.loads(data)
    except ValueError as error:
        raise _refused(url, f"no JSON: {error}") from error
    if not isinstance(found, dict):
        raise _refused(url, f"a {type(found).__name__}")
    return found


def _held(document: Any, name: str, where: str) -> Any:
    if not isinstance(document, dict) or name not in document:
        raise _refused(where, f"an entry without {name}")
    return document[name]


def _refused(where: str, found: str) -> InputRefused:
    return InputRefused(f"{TITLE}'s catalogue", found=found, where=shown(where), action="wait, or tell its provider")
