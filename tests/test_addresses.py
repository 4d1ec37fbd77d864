"""Accounts in addresses and secrets in settings: what is published, printed or logged has none of them."""

from __future__ import annotations

import pytest

from flows.sentences import check_settings
from pipeline.addresses import without_account
from pipeline.errors import InputUnavailable, UsageError
from pipeline.provenance import FileRecord
from pipeline.sources.transfer import shown

ADDRESS = "https://bob:hunter2@archive.org:8443/2023/hycom.nc"
BARE = "https://archive.org:8443/2023/hycom.nc"


def test_an_address_loses_its_account_wherever_it_is_shown() -> None:
    assert without_account(f"a {ADDRESS} and s3://key:secret@bucket/x") == f"a {BARE} and s3://bucket/x"
    assert shown(f"{ADDRESS}?X-Signature=abc") == BARE
    assert FileRecord(uri=ADDRESS, size_bytes=1, sha256="0").uri == BARE
    error = InputUnavailable("a file", found=f"nothing at {ADDRESS}", where=ADDRESS, action="wait")
    assert (error.where, "hunter2" in str(error)) == (BARE, False)


@pytest.mark.parametrize("text", ["someone@example.org", "s3://bucket/a@b", "https://archive.org/a?to=b@c", "1 @ 2"])
def test_what_is_no_account_stays(text: str) -> None:
    assert without_account(text) == text


def test_a_secret_under_a_wrong_name_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMS_LOGINS__CDS_TOKEN", "s3cr3t-abcdef")
    with pytest.raises(UsageError, match="GOMS_LOGINS__CDS_TOKEN") as refused:
        check_settings()
    assert "s3cr3t" not in f"{refused.value} {refused.value.__cause__}"
