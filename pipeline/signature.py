"""Detached signatures of manifests: 64 bytes of Ed25519 beside the manifest, which OpenSSL verifies as well.

openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in manifest.json -sigfile manifest.json.sig
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from pipeline.errors import UsageError
from pipeline.settings import Settings
from pipeline.store import Store

SUFFIX = ".sig"
"""What the signature's name has after that of what is signed."""


def public_key() -> str:
    """The public key of the machine's signing key in hexadecimal; empty where it has none."""
    path = Settings().signing_key
    return "" if path is None else in_hexadecimal(_private(path).public_key())


def sign(store: Store, path: str, signed_by: str) -> None:
    """Put the signature of an object beside it, unless it is not to be signed or it is signed.

    Nothing is done where this machine does not have the key that the object says it is signed by.
    """
    key = Settings().signing_key
    if key is None or not signed_by or public_key() != signed_by:
        return
    signature = _private(key).sign(store.read_bytes(path))
    there = store.find(path + SUFFIX)
    if there is None or there.data != signature:
        store.write_bytes(path + SUFFIX, signature)


def verified(data: bytes, signature: bytes, key: str) -> bool:
    """Whether a signature of these bytes is by the key (in hexadecimal)."""
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def read_public_key(text: str) -> str:
    """The public key that a person names, in hexadecimal: a PEM file, or the hexadecimal itself."""
    if len(text) == 64 and all(digit in "0123456789abcdef" for digit in text.lower()):
        return text.lower()
    try:
        key = load_pem_public_key(Path(text).read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise _no_key("a public Ed25519 key: a PEM file, or 64 hexadecimal digits", f"{error}", text) from error
    if not isinstance(key, Ed25519PublicKey):
        raise _no_key("a public Ed25519 key", f"one of another kind, {type(key).__name__}", text)
    return in_hexadecimal(key)


def in_pem(key: str) -> bytes:
    """A public key in hexadecimal as PEM."""
    loaded = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
    return loaded.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def in_hexadecimal(key: Ed25519PublicKey) -> str:
    """A public key in hexadecimal."""
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()


def _private(path: Path) -> Ed25519PrivateKey:
    try:
        return _loaded(path.read_bytes())
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _no_key(
            "a private Ed25519 key in PEM, without a password", f"{type(error).__name__}: {error}", str(path)
        ) from error


@lru_cache(maxsize=4)
def _loaded(data: bytes) -> Ed25519PrivateKey:
    key = load_pem_private_key(data, password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError(f"a key of another kind, {type(key).__name__}")
    return key


def _no_key(needed: str, found: str, where: str) -> UsageError:
    return UsageError(
        needed, found=found, where=where,
        action="make one: openssl genpkey -algorithm ed25519 -out key.pem; openssl pkey -in key.pem -pubout",
    )  # fmt: skip
