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


_HYCOM = (
    "HYCOM Consortium and US Navy FNMOC",
    "The HYCOM ocean analysis is a product of the US Navy, distributed by the HYCOM Consortium.",
)
_ERA5 = (
    "Copernicus Climate Change Service",
    "Contains modified Copernicus Climate Change Service information (ERA5); neither the European Commission nor "
    "ECMWF is responsible for any use that may be made of it.",
)
_NOBM = (
    "NASA Global Modeling and Assimilation Office",
    "The NASA Ocean Biogeochemical Model was provided by NASA's Global Modeling and Assimilation Office.",
)
_CREDITS: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(
        (
            "hycom",
            "hycom-espc",
            "hycom-espc-daily",
            "hycom-gofs",
            "hycom-gofs-daily",
            "hycom-bucket",
            "hycom-bucket-daily",
        ),
        _HYCOM,
    ),
    **dict.fromkeys(("era5", "era5-arco", "era5-cds"), _ERA5),
    **dict.fromkeys(("nobm", "nobm-dap"), _NOBM),
    "ifs": (
        "European Centre for Medium-Range Weather Forecasts (ECMWF)",
        "Contains modified ECMWF open data (IFS), (C) European Centre for Medium-Range Weather Forecasts, under "
        "CC-BY-4.0 (https://creativecommons.org/licenses/by/4.0/); ECMWF accepts no liability for any error or "
        "omission in them or for any use of them.",
    ),
    "gfs": (
        "NOAA National Centers for Environmental Prediction",
        "Contains modified output of the Global Forecast System of NOAA's National Centers for Environmental "
        "Prediction, which do not endorse this product.",
    ),
    "globcurrent": (
        "GlobCurrent project of the European Space Agency",
        "Surface currents were provided by the GlobCurrent project, funded by the European Space Agency.",
    ),
    "copernicus": (
        "E.U. Copernicus Marine Service",
        "Generated using E.U. Copernicus Marine Service Information; "
        "https://doi.org/10.48670/moi-00016 (physics), https://doi.org/10.48670/moi-00015 (biogeochemistry), "
        "https://doi.org/10.48670/moi-00017 (waves).",
    ),
    "twin": ("GOMS twin", "The synthetic twin ocean is computed, not observed."),
    "climatology": (
        "NOAA National Oceanographic Data Center",
        "Climatological fields derive from the Levitus climatology and ETOPO relief of NOAA.",
    ),
}
"""Per source: the provider's name, and the sentence its licence or courtesy asks for.

What passes on what others gave names them in its record's note, after one of the two marks below.
"""
BEGUN_FROM, MADE_FROM = "; begun from ", "; made from "
"""Before the source an own forecast's chain began with, and before those a climatology is the mean of."""


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
    names = dict.fromkeys(name for record in inputs for name in _origins(record))
    found = [_CREDITS.get(name, (name, f"Contains data of the source {name}."))[part] for name in names]
    return list(dict.fromkeys(found)) or ["no recorded input"]


def beginnings(record: InputRecord) -> list[str]:
    """What stands behind a record, in words: its source, or of an own forecast what its chain began with.

    A climatology is told with the archives it is the mean of: ``climatology (nobm, copernicus)``.
    """
    _, there, origin = record.note.rpartition(BEGUN_FROM)
    if record.source == "own-forecast" and there:
        return origin.partition(" of ")[0].split(" and ")
    _, there, origin = record.note.rpartition(MADE_FROM)
    if record.source == "climatology" and there:
        return [f"climatology ({', '.join(origin.partition('; ')[0].split(' and '))})"]
    return [record.source]


def _origins(record: InputRecord) -> list[str]:
    """The sources behind a record that must be thanked: of a climatology made from archives these alone."""
    parts = [words.rstrip(")").partition(" (") for words in beginnings(record)]
    return [name for source, made, archives in parts for name in (archives.split(", ") if made else [source])]
