"""Who is thanked on the products: every archive that was used, whatever way its data came."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pipeline import credits
from pipeline.provenance import InputRecord
from pipeline.sources import SOURCES
from pipeline.variables import Kind

DAY = datetime(2024, 3, 1, 12, tzinfo=UTC)


def record(source: str, note: str = "") -> InputRecord:
    return InputRecord(kind=Kind.WAVES, variables=("swh",), source=source, rung=0, valid_time=DAY, age_hours=0.0,
                       note=note)  # fmt: skip


@pytest.mark.parametrize("name", [name for name in SOURCES if name != "own-forecast"])
def test_every_source_has_words_of_its_own(name: str) -> None:
    """Never its bare name, which is what a source without an entry gets."""
    assert credits.contributors([record(name)]) != name
    assert "Contains data of the source" not in credits.acknowledgement([record(name)])


@pytest.mark.parametrize(("name", "words"), [
    ("ifs", "under CC-BY-4.0"),
    ("gfs", "NOAA's National Centers for Environmental Prediction"),
    ("copernicus", "Generated using E.U. Copernicus Marine Service Information; https://doi.org/10.48670/moi-00016"),
    ("nobm", "NASA's Global Modeling and Assimilation Office"),
    ("era5-arco", "modified Copernicus Climate Change Service information"),
    ("hycom-espc-daily", "product of the US Navy"),
])  # fmt: skip
def test_a_licence_gets_the_words_it_asks_for(name: str, words: str) -> None:
    assert words in credits.acknowledgement([record(name)])


def test_what_passes_on_others_data_thanks_them() -> None:
    chain = record(
        "own-forecast", "own forecast of 20240229T12 r1, lead day 1; begun from copernicus of 2024-02-20T12Z"
    )
    assert credits.contributors([chain]) == "E.U. Copernicus Marine Service"
    mean = record("climatology", "monthly means of 2001-2004; made from nobm and copernicus")
    assert credits.contributors([mean]) == (
        "NASA Global Modeling and Assimilation Office, E.U. Copernicus Marine Service"
    )
    assert credits.contributors([record("climatology")]) == "NOAA National Oceanographic Data Center"


def test_one_provider_is_thanked_once() -> None:
    assert credits.acknowledgement([record("era5-arco"), record("era5-cds")]).count("European Commission") == 1
