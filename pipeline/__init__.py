"""Take today's ocean, forecast thirty more days, publish them whole, and say how good they were.

For analysts: ``pipeline.open_forecast("s3://bucket/prefix", product="ocean")``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.readers.reading import open_forecast

__all__ = ["open_forecast"]


def __getattr__(name: str) -> Any:
    """What readers use, imported when it is first asked for: most who import the package need nothing of it."""
    if name in __all__:
        from pipeline.readers import reading

        return getattr(reading, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
