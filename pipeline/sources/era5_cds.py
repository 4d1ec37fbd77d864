"""ERA5 from the Climate Data Store: asked for as a job, waited for in its queue, read as any ERA5 file.

``<address>/catalogue/v1/collections/reanalysis-era5-single-levels`` says to what instant it reaches; the job is made
and fetched by the centre's own client, in a process that is killed at the deadline: queues take minutes to hours. What
comes is netCDF in the old or the new layout, mixtures of ``expver`` included, which ERA5's reader knows. A key is
wanted (``GOMS_LOGINS__CDS_KEY``). A file that was fetched is kept in the scratch folder by what was asked for.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from pipeline.errors import InputRefused, InputUnavailable
from pipeline.settings import Settings
from pipeline.sources import Native, Request, Sighting, killable
from pipeline.sources.era5 import Era5Source
from pipeline.sources.netcdf import reading
from pipeline.sources.transfer import fetch_one, shown, unavailable
from pipeline.variables import Kind

ADDRESS = "https://cds.climate.copernicus.eu/api"
DATASET = "reanalysis-era5-single-levels"
NAMES = {
    "u10": "10m_u_component_of_wind",
    "v10": "10m_v_component_of_wind",
    "t2m": "2m_temperature",
    "msl": "mean_sea_level_pressure",
    "sp": "surface_pressure",
    "swh": "significant_height_of_combined_wind_waves_and_swell",
    "mwp": "mean_wave_period",
    "mwd": "mean_wave_direction",
}
MARGIN_DEGREES = 1.0
"""Around a region, two points of the coarser of ERA5's grids."""
LONGEST_WORDS = 300
"""Characters of the store's own words about a failed job."""
TRIES, PAUSE_SECONDS, LONGEST_POLL_SECONDS, SILENCE_SECONDS = 8, 2.0, 30.0, 60.0


class Era5CdsSource:
    """ERA5's surface and waves by the Climate Data Store's queue."""

    name = "era5-cds"
    title = "ERA5 (Climate Data Store)"
    kinds: tuple[Kind, ...] = (Kind.SURFACE, Kind.WAVES)

    def look(self, request: Request) -> Sighting:
        """To what instant the collection reaches; see ``Source.look``."""
        try:
            reach = _reach(request)
        except (InputUnavailable, InputRefused) as lack:
            return Sighting(False, None, "the collection's extent", str(lack), isinstance(lack, InputRefused))
        found = _instant(request, reach)
        words = f"{self.title} reaches to {reach:%Y-%m-%dT%HZ}"
        return Sighting(found is not None, found or min(reach, request.when), "the collection's extent", words)

    def fetch(self, request: Request) -> Native:
        """Ask for the instant, or the newest an allowed age permits, and read what comes; see ``Source.fetch``."""
        end = time.monotonic() + request.deadline_seconds
        key, reach = _key(), _reach(request)
        instant = _instant(request, reach)
        if instant is None:
            raise InputUnavailable(
                f"{self.title} at {request.when:%Y-%m-%dT%HZ} or up to {request.maximum_age_days:g} days before",
                found=f"it reaching to {reach:%Y-%m-%dT%HZ}", where=_address(request),
                action="wait for the archive, or take the next rung",
            )  # fmt: skip
        folder = self._fetched(request, instant, key, end)
        native = _read(request, folder)
        base = f"{_address(request)}/{DATASET}"
        files = [record.model_copy(update={"uri": f"{base}#{Path(record.uri).name}"}) for record in native.files]
        return native._replace(files=tuple(files))

    def _fetched(self, request: Request, instant: datetime, key: str, end: float) -> Path:
        wanted = asked(request, instant)
        name = hashlib.sha256(json.dumps([_address(request), wanted], sort_keys=True).encode()).hexdigest()[:16]
        folder = request.scratch / "cds" / name
        if not folder.is_dir():
            partial = folder.with_name(f"{name}.part")
            partial.mkdir(parents=True, exist_ok=True)
            left = max(end - time.monotonic(), 0.001)
            killable.run(retrieve, _address(request), key, wanted, str(partial / "era5.nc"), deadline_seconds=left)
            partial.rename(folder)
        return folder


def _read(request: Request, folder: Path) -> Native:
    """The files' values, in memory; files that are not what they should be are removed, to be asked for again."""
    try:
        native = Era5Source().fetch(request._replace(inputs=str(folder)))
        with reading(native.files):
            return native._replace(dataset=native.dataset.load())
    except (InputRefused, InputUnavailable):  # cut short, or of another day or other variables
        shutil.rmtree(folder)
        raise


def asked(request: Request, instant: datetime) -> dict[str, Any]:
    """The job, in the store's own words."""
    job: dict[str, Any] = {
        "product_type": ["reanalysis"],
        "variable": [NAMES[name] for name in request.variables],
        "year": [f"{instant:%Y}"],
        "month": [f"{instant:%m}"],
        "day": [f"{instant:%d}"],
        "time": [f"{instant:%H}:00"],
        "data_format": "netcdf",
        "download_format": "unarchived",
    }
    grid = request.grid
    if not grid.periodic:
        north, south = grid.latitude[-1] + MARGIN_DEGREES, grid.latitude[0] - MARGIN_DEGREES
        west, east = grid.longitude[0] - MARGIN_DEGREES, grid.longitude[-1] + MARGIN_DEGREES
        job["area"] = [float(value) for value in (min(north, 90.0), west, max(south, -90.0), east)]
    return job


def retrieve(address: str, key: str, job: dict[str, Any], target: str) -> None:
    """Make the job, wait for it and fetch it to ``target``, unpacked where it comes as an archive.

    Raises ``InputUnavailable`` where the store does not do it, ``InputRefused`` where what came is no such file.
    """
    try:
        import requests
        from ecmwf.datastores import Client
        from ecmwf.datastores.processing import DownloadError, LinkError, ProcessingFailedError
    except ImportError as error:
        raise InputUnavailable(
            "the Climate Data Store's client", found=str(error), where="this installation",
            action="install the project with its extra: goms[archives]",
        ) from error  # fmt: skip
    try:
        client = Client(url=address, key=key, progress=False, maximum_tries=TRIES, retry_after=PAUSE_SECONDS,
                        sleep_max=LONGEST_POLL_SECONDS, timeout=SILENCE_SECONDS)  # fmt: skip
        client.retrieve(DATASET, job, target)
    except (
        requests.RequestException,
        DownloadError,
        LinkError,
        ProcessingFailedError,
        OSError,
        AssertionError,
    ) as error:  # fmt: skip  (it asserts that what it fetched has the length it should have)
        words = " / ".join(filter(None, map(str.strip, str(error).splitlines()))) or type(error).__name__
        raise unavailable("the Climate Data Store", words[:LONGEST_WORDS], address) from error
    except (KeyError, ValueError, TypeError) as error:
        raise InputRefused(
            "the Climate Data Store's answer about a job", found=f"{type(error).__name__}: {error}", where=address,
            action="wait, or look whether its interface has changed",
        ) from error  # fmt: skip
    _unpack(Path(target))


def _unpack(target: Path) -> None:
    """Files of a zip archive beside it, in its stead: the store sends one where a job spans two of its streams."""
    if zipfile.is_zipfile(target):
        with zipfile.ZipFile(target) as archive:
            for number, item in enumerate(archive.namelist()):
                (target.parent / f"era5_{number}.nc").write_bytes(archive.read(item))
        target.unlink()


def _key() -> str:
    key = Settings().logins.cds_key
    if key is None:
        raise InputUnavailable(
            "a key of the Climate Data Store", found="none in the settings", where="GOMS_LOGINS__CDS_KEY",
            action="set it, or take the next rung",
        )  # fmt: skip
    return key.get_secret_value()


def _address(request: Request) -> str:
    return request.archives.get(Era5CdsSource.name, ADDRESS).rstrip("/")


def _reach(request: Request) -> datetime:
    """The last instant of the collection, by its own extent."""
    url = f"{_address(request)}/catalogue/v1/collections/{DATASET}"
    data = fetch_one(url, archive=Era5CdsSource.title, deadline_seconds=request.deadline_seconds)
    if data is None:
        raise unavailable(Era5CdsSource.title, "no such collection: it has moved", url)
    try:
        moment = datetime.fromisoformat(str(json.loads(data)["extent"]["temporal"]["interval"][0][1]))
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise InputRefused(
            "the extent of ERA5 in time", found=f"{type(error).__name__}: {error}", where=shown(url),
            action="wait, or look whether its interface has changed",
        ) from error  # fmt: skip
    moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    return moment + timedelta(hours=23) if moment.hour == 0 else moment


def _instant(request: Request, reach: datetime) -> datetime | None:
    """The newest instant at the request's hour that is reached and not too old."""
    for day in range(int(request.maximum_age_days) + 1):
        instant = request.when.astimezone(UTC) - timedelta(days=day)
        if instant <= reach:
            return instant
    return None
