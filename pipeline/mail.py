"""Where alerts go by e-mail: the server, who sends, who reads."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class Mail(BaseModel):
    """A mail server and its two ends. Without a host or a recipient no e-mail is sent."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    host: str = ""
    port: int = Field(default=587, ge=1, le=65535)
    encryption: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    password: SecretStr = SecretStr("")
    sender: str = "goms@localhost"
    recipients: str = Field(default="", description="addresses, by comma")
