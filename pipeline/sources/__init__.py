"""The archives we read: the ``Source`` protocol, and ``SOURCES``, the one list of them.

A source knows one archive: where its files are, its native names, layout and quirks. It opens; it does not
judge (that is ``ingest``) and it does not regrid. To add one: one file here and one name in ``SOURCES``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import xarray as xr
from numpy.typing import NDArray

from pipeline.errors import UsageError
from pipeline.grids import Grid
from pipeline.provenance import FileRecord
from pipeline.systems import Ladder, Rung, System
from pipeline.variables import Kind


class Term(NamedTuple):
    """One lexicon line: the archive's name for one of our variables, and the spellings of its unit there.

    ``units`` maps each accepted spelling of the unit attribute to (factor, offset):
    ours = factor * native + offset. A spelling that is not listed is refused.
    """

    native: str
    units: Mapping[str, tuple[float, float]]


class Slabs(Protocol):
    """Where a source keeps what it has fetched, by keys that name the content; every entry is verified on reading."""

    def get(self, key: str) -> NDArray[Any] | None:
        """The array kept under the key, or ``None`` where there is none that is whole."""
        ...

    def put(self, key: str, array: NDArray[Any]) -> None:
        """Keep an array under the key."""
        ...


class Request(NamedTuple):
    """What a forecast start needs of one kind of input.

    ``variables``: our names. ``grid``: the grid it will be brought to (a source may read no more than covers it).
    ``inputs``: where the operator says the files are (folder or URL), or ``None``.
    ``scratch``: a folder a source may write to. ``seed``: of the twin. ``maximum_age_days``: how much older than
    ``when`` an input may be; a source that can give an older instant gives the newest one allowed. ``archives``:
    base addresses by archive name, where they are not the documented ones. ``cache``: of what was fetched before;
    ``deadline_seconds``: for all that a remote source does about the request. ``issued_by``: no forecast issued later
    than this may be used, ``when`` itself where there is none. ``system``, ``store``: whose forecast is made and where
    its forecasts are published, for the source that reads them.
    """

    kind: Kind
    when: datetime
    variables: tuple[str, ...]
    depths_m: tuple[float, ...]
    grid: Grid
    inputs: str | None
    scratch: Path
    seed: int = 0
    maximum_age_days: float = 0.0
    archives: Mapping[str, str] = MappingProxyType({})
    cache: Slabs | None = None
    deadline_seconds: float = 600.0
    issued_by: datetime | None = None
    system: str = ""
    store: str | None = None


class Sighting(NamedTuple):
    """What a look at an archive showed, no field of it moved.

    ``ready``: whether ``fetch`` would find an instant that the request allows. ``newest``: the newest instant held
    that is not after the request's, where the archive tells. ``how``: by what it was checked. ``words``: a sentence.
    ``refused``: something is there and is not what it should be: fetching it again may help, a lower rung hides it.
    """

    ready: bool
    newest: datetime | None
    how: str
    words: str
    refused: bool = False


class Native(NamedTuple):
    """What a source found: its dataset in the archive's own names, lazily opened, masked and unpacked.

    ``dataset`` holds the requested instant(s) with the archive's own dimensions; ``lexicon`` translates it;
    ``files`` are what was read. Variables the archive does not hold are simply absent: ingest decides. ``analysed``:
    when its values last met an observed state, where that is before the instant they are valid at: they are a forecast.
    ``near_hours``: how far from the request's instant the dataset's lies because the archive lacks it (its gap
    policy); ``degraded``: why what is given is less than what was asked for, in words for the product.
    """

    dataset: xr.Dataset
    lexicon: Mapping[str, Term]
    files: tuple[FileRecord, ...]
    note: str = ""
    analysed: datetime | None = None
    near_hours: float = 0.0
    degraded: str = ""


class Source(Protocol):
    """One archive. One that reads the operator's own files says so by an attribute ``reads_inputs``."""

    name: str
    title: str
    kinds: tuple[Kind, ...]

    def look(self, request: Request) -> Sighting:
        """Whether the archive has the request's instant, or one that its age allows: metadata only, cheap.

        What is absent is a ``Sighting`` that is not ready, never an error.
        """
        ...

    def fetch(self, request: Request) -> Native:
        """Open what the archive holds of the request.

        Raises ``InputUnavailable`` where the archive, the file or the date is absent; ``InputRefused`` where a
        file is there and cannot be read (truncated, not netCDF, time stamps undecodable).
        """
        ...


from pipeline.sources.climatology import ClimatologySource  # noqa: E402  (the archives need the words above)
from pipeline.sources.copernicus import CopernicusSource  # noqa: E402
from pipeline.sources.era5 import Era5Source  # noqa: E402
from pipeline.sources.era5_arco import Era5ArcoSource  # noqa: E402
from pipeline.sources.era5_cds import Era5CdsSource  # noqa: E402
from pipeline.sources.espc import EspcSource  # noqa: E402
from pipeline.sources.gfs import GfsSource  # noqa: E402
from pipeline.sources.globcurrent import GlobcurrentSource  # noqa: E402
from pipeline.sources.gofs import GofsSource  # noqa: E402
from pipeline.sources.hycom import HycomSource  # noqa: E402
from pipeline.sources.hycom_bucket import HycomBucketSource  # noqa: E402
from pipeline.sources.ifs import IfsSource  # noqa: E402
from pipeline.sources.instants import Sampling  # noqa: E402
from pipeline.sources.nobm import NobmSource  # noqa: E402
from pipeline.sources.nobm_dap import NobmDapSource  # noqa: E402
from pipeline.sources.own_forecast import OwnForecastSource  # noqa: E402
from pipeline.sources.twin import TwinSource  # noqa: E402

_ARCHIVES: tuple[Source, ...] = (
    *(archive(sampling) for archive in (EspcSource, GofsSource, HycomBucketSource) for sampling in Sampling),
    HycomSource(), Era5Source(), Era5ArcoSource(), Era5CdsSource(), IfsSource(), GfsSource(), NobmSource(),
    NobmDapSource(), CopernicusSource(), GlobcurrentSource(), OwnForecastSource(), TwinSource(), ClimatologySource(),
)  # fmt: skip
SOURCES: Mapping[str, Source] = {source.name: source for source in _ARCHIVES}
"""Every archive by the name the systems' ladders know it by."""


def in_order(ladder: Ladder, inputs: str | None, sources: Mapping[str, Source] = SOURCES) -> tuple[Rung, ...]:
    """A ladder's rungs as they are asked: where the operator names a place of files, those that read files first.

    But a file that may be older than what the ladder begins with keeps its place: there the day itself goes before it.
    """
    if inputs is None:
        return ladder.rungs
    of_the_day = ladder.rungs[0].maximum_age_days
    return tuple(sorted(
        ladder.rungs, key=lambda rung: rung.maximum_age_days > of_the_day or not _reads_inputs(rung, sources)
    ))  # fmt: skip


def refuse_unread(system: System, inputs: str | None) -> None:
    """``UsageError`` where files are named for a system that reads none: they would be passed over in silence."""
    rungs = (rung for ladder in system.ladders for rung in ladder.rungs)
    if inputs is not None and not any(_reads_inputs(rung, SOURCES) for rung in rungs):
        raise UsageError(
            "a system that reads files", found=f"{system.name}, which reads none", where="--inputs",
            action="leave --inputs out, or name a system that is made from archives (--system)",
        )  # fmt: skip


def _reads_inputs(rung: Rung, sources: Mapping[str, Source]) -> bool:
    """Whether a rung's source reads the operator's own files."""
    return bool(getattr(sources.get(rung.source), "reads_inputs", False))
