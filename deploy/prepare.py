#!/usr/bin/env python3
"""What an installation needs and no repository may hold: passwords, S3 keys, policies. Needs Python alone.

    python3 deploy/prepare.py --bucket forecasts --prefix goms --systems twin,coral-sea

writes ``deploy/secrets/``: one file a secret, random; ``alerts.env`` and ``goms.env``, to be filled in; the folder
``keys`` for the key that signs manifests; the policies of ``deploy/policies/`` for this bucket, prefix and
these systems, to be given to a store elsewhere; the identities of the SeaweedFS in ``compose.yaml``. Nobody else may
enter the folder; the files themselves are readable, since the service reads them inside its containers as a user of
its own. What is there is never overwritten.
"""

import argparse
import json
import secrets
import sys
from pathlib import Path

POLICIES = Path(__file__).parent / "policies"
ROLES = ("writer", "watcher", "observer")
SYSTEMS = ("twin", "coral-sea", "coral-sea-twin", "global-quarter-degree")


def policy(name: str, bucket: str, prefix: str, systems: tuple[str, ...] = SYSTEMS) -> dict:
    """One of ``deploy/policies/`` for a bucket, a prefix and systems: what names a SYSTEM is said once for each."""
    text = (POLICIES / f"{name}.json").read_text().replace("BUCKET", bucket).replace("PREFIX", prefix)
    return _for_each(json.loads(text), systems)


def _for_each(value: object, systems: tuple[str, ...]) -> object:
    if isinstance(value, dict):
        return {key: _for_each(item, systems) for key, item in value.items()}
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return [text for item in value for text in _named(item, systems)]
    return [_for_each(item, systems) for item in value] if isinstance(value, list) else value


def _named(text: str, systems: tuple[str, ...]) -> list[str]:
    return [text.replace("SYSTEM", system) for system in systems] if "SYSTEM" in text else [text]


def identities(keys: dict[str, tuple[str, str]], bucket: str, prefix: str, systems: tuple[str, ...] = SYSTEMS) -> dict:
    """SeaweedFS's configuration: who may do what. Anonymous readers get theirs by the bucket's policy."""
    rights = {role: _narrowed(policy(role, bucket, prefix, systems)) for role in ROLES}
    return {
        "identities": [
            _identity("admin", keys["admin"], actions=["Admin", "Read", "Write", "List", "Tagging"]),
            *(_identity(role, keys[role], policyNames=[role]) for role in ROLES),
        ],
        "policies": [{"name": role, "content": json.dumps(given)} for role, given in rights.items()],
    }


def _narrowed(rights: dict) -> dict:
    """Without the right to list the bucket's names, which AWS asks for before it says that an object is absent."""
    kept = [statement for statement in rights["Statement"] if statement["Sid"] != "AbsentIsToldFromForbidden"]
    return {**rights, "Statement": kept}


def _identity(name: str, keys: tuple[str, str], **rights: list[str]) -> dict:
    return {"name": name, "credentials": [{"accessKey": keys[0], "secretKey": keys[1]}], **rights}


def files(bucket: str, prefix: str, systems: tuple[str, ...]) -> dict[str, str]:
    """Every file of the folder by its name."""
    database, redis, grafana, prefect = (secrets.token_urlsafe(24) for _ in range(4))
    keys = {role: (secrets.token_hex(10).upper(), secrets.token_urlsafe(30)) for role in ("admin", *ROLES)}
    every = tuple(dict.fromkeys((*SYSTEMS, *systems)))  # the service may make more systems than everyone may read
    credentials = "[default]\naws_access_key_id = {}\naws_secret_access_key = {}\n"
    return {
        "prefect_auth": f"goms:{prefect}",
        "postgres_password": database,
        "database_url": f"postgresql+asyncpg://prefect:{database}@postgres:5432/prefect",
        "redis.conf": f"requirepass {redis}\nappendonly yes\n",
        "redis_url": f"redis://:{redis}@redis:6379/0",
        "grafana_password": grafana,
        "alerts.env": "# Whom alerts are sent to: GOMS_ALERT_... of deploy/settings.md, a line each, such as\n"
        "# GOMS_ALERT_WEBHOOKS=https://alerts.example.org/goms\n",
        "goms.env": "# GOMS_PUBLISHER__..., GOMS_LOGINS__..., GOMS_SIGNING_KEY of deploy/settings.md, a line each,\n"
        "# such as\n# GOMS_PUBLISHER__NAME=The Ocean Desk\n# GOMS_SIGNING_KEY=/run/keys/goms.pem\n",
        "s3_identities.json": json.dumps(identities(keys, bucket, prefix, every), indent=1),
        "public-read.json": json.dumps(policy("public-read", bucket, prefix, systems), indent=1),
        **{f"{role}.json": json.dumps(policy(role, bucket, prefix, every), indent=1) for role in ROLES},
        **{f"s3_{role}": credentials.format(*pair) for role, pair in keys.items()},
    }


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--bucket", default="forecasts", help="the bucket: one of its own is best")
    parser.add_argument("--prefix", default="goms", help="the store's prefix in the bucket")
    parser.add_argument("--systems", default=",".join(SYSTEMS), help="those that everyone may read, by comma")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "secrets", help="the folder to make")
    return parser.parse_args()


def main() -> int:
    """Write the folder, unless it is there."""
    asked = arguments()
    try:
        asked.out.mkdir(mode=0o700, parents=True)
    except FileExistsError:
        print(
            f"goms: needed no secrets yet; found {asked.out}; on this machine; keep it, or move it away to make new "
            "ones (every service must then be started again)", file=sys.stderr,
        )  # fmt: skip
        return 2
    for name, text in files(asked.bucket, asked.prefix, tuple(asked.systems.split(","))).items():
        (asked.out / name).write_text(text)
        (asked.out / name).chmod(0o644)
    (asked.out / "keys").mkdir()
    print(f"made {asked.out}: keep it out of every repository and backup that others read")
    return 0


if __name__ == "__main__":
    sys.exit(main())
