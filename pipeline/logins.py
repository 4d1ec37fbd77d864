"""Accounts at archives that want one: secrets that are shown nowhere."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, SecretStr


class Logins(BaseModel):
    """Who asks: Copernicus Marine's user and password, the Climate Data Store's key, a token of NASA's Earthdata.

    None: not asked there, or asked without.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    copernicus_user: str | None = None
    copernicus_password: SecretStr | None = None
    cds_key: SecretStr | None = None
    earthdata_token: SecretStr | None = None
