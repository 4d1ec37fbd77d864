"""Who publishes, who must be thanked for the inputs and how old they were: the words that products carry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pydantic import BaseModel, ConfigDict, Field

from pipeline.provenance import InputRecord


class Publisher(BaseModel):
    """Who answers for what is published. The defaults say that nobody was named (``.invalid``: RFC 2606)."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str = Field(default="publisher not named", description="person or group that publishes")
    institution: str = Field(default="institution not named", description="institution behind it")
    url: str = Field(default="https://publisher-not-named.invalid", description="where readers learn more")
    email: str = Field(default="publisher-not-named@goms.invalid", description="where readers ask")
    naming_authority: str = Field(
        default="invalid.goms", description="reversed domain that product names are unique in"
    )
    licence: str = Field(
        default="No licence was named by the publisher; the terms of the sources named under acknowledgement apply. "
        "Not for navigation.",
        description="terms that the products are under",
    )


_CREDITS: Mapping[str, tuple[str, str]] = {
    "hycom": (
        "HYCOM Consortium and US Navy FNMOC",
        "The HYCOM ocean analysis is a product of the US Navy, distributed by the HYCOM Consortium.",
    ),
    "era5": (
        "Copernicus Climate Change Service",
        "Contains modified Copernicus Climate Change Service information (ERA5); neither the European Commission nor "
        "ECMWF is responsible for any use that may be made of it.",
    ),
    "nobm": (
        "NASA Global Modeling and Assimilation Office",
        "The NASA Ocean Biogeochemical Model was provided by NASA's Global Modeling and Assimilation Office.",
    ),
    "twin": ("GOMS twin", "The synthetic twin ocean is computed, not observed."),
    "climatology": (
        "NOAA National Oceanographic Data Center",
        "Climatological fields derive from the Levitus climatology and ETOPO relief of NOAA.",
    ),
}
"""Per source: the provider's name, and the sentence its licence or courtesy asks for."""


def sources_in_words(inputs: Iterable[InputRecord], forecaster: str) -> str:
    """``goms forecaster NAME from hycom (ocean), era5 (surface)``."""
    pairs = dict.fromkeys(f"{record.source} ({record.kind.value})" for record in inputs)
    return f"goms forecaster {forecaster} from {', '.join(pairs) or 'no recorded input'}"


def acknowledgement(inputs: Iterable[InputRecord]) -> str:
    """The sentences that the sources used ask for."""
    return " ".join(_credits(inputs, 1))


def contributors(inputs: Iterable[InputRecord]) -> str:
    """The names of the providers of the sources used."""
    return ", ".join(_credits(inputs, 0))


def ages_in_words(inputs: Iterable[InputRecord]) -> str:
    """For each input its source and how many hours before the start it was valid."""
    lines = [f"{record.kind.value} {' '.join(record.variables)}: {record.source}, {_age(record)}" for record in inputs]
    return "; ".join(dict.fromkeys(lines)) or "no recorded input"


def _age(record: InputRecord) -> str:
    return "of no date" if record.valid_time is None else f"{record.age_hours:g} h"


def _credits(inputs: Iterable[InputRecord], part: int) -> list[str]:
    names = dict.fromkeys(record.source for record in inputs)
    found = [_CREDITS.get(name, (name, f"Contains data of the source {name}."))[part] for name in names]
    return list(dict.fromkeys(found)) or ["no recorded input"]
