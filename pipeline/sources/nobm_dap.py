"""NASA NOBM over OPeNDAP: the daily means of ``nobm``, one dataset a day or one for many days, where a setting says.

No public address of it is certain, so there is none by default: ``GOMS_ARCHIVES`` names it under ``nobm-dap``, with
``strftime``'s signs for the day and, where each variable has a dataset of its own, ``{name}`` for its native name:
``https://HOST/opendap/NOBM_DAY/%Y/day%Y%m%d.nc``. NASA's servers want an Earthdata login: a token of it
(``GOMS_LOGINS__EARTHDATA_TOKEN``, made on one's profile page at urs.earthdata.nasa.gov, or printed by
``earthaccess.get_edl_token()``) goes with every request.

A dataset without a time axis is of the day in its address; one with a time axis is asked for its step of the day.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.errors import InputRefused, InputUnavailable
from pipeline.provenance import FileRecord
from pipeline.settings import Settings
from pipeline.sources import Native, Request, Sighting, dap2
from pipeline.sources import holdings as h
from pipeline.sources.asking import Answer, Asking, DamagedAnswer, all_of, within_deadline
from pipeline.sources.nobm import FILL, LEXICON, is_nobm
from pipeline.sources.opendap import WORDS_BYTES, Described, answered, described
from pipeline.sources.transfer import shown
from pipeline.variables import Kind

HOW = "the time axes of its datasets, or their addresses"
Plane = NDArray[np.float32]


class _Found(NamedTuple):
    """A variable in its dataset; ``step``: of the day, ``None`` where the dataset has no time axis."""

    name: str
    dataset: Described
    step: int | None


class NobmDapSource:
    """NOBM's biogeochemistry from an OPeNDAP server."""

    name = "nobm-dap"
    title = "NASA NOBM (OPeNDAP)"
    kinds: tuple[Kind, ...] = (Kind.BIOGEOCHEMISTRY,)

    def look(self, request: Request) -> Sighting:
        """The datasets' descriptions; see ``Source.look``."""
        try:
            found = within_deadline(
                self.title, request.deadline_seconds, lambda asking: self._found(asking, request), _login()
            )
        except (InputUnavailable, InputRefused) as lack:
            return Sighting(False, None, HOW, f"{self.title}: {lack.found}", isinstance(lack, InputRefused))
        return Sighting(True, request.when, HOW, f"{self.title} holds {', '.join(item.name for item in found)}")

    def fetch(self, request: Request) -> Native:
        """The daily means of the day the instant lies in; see ``Source.fetch``."""
        return within_deadline(
            self.title, request.deadline_seconds, lambda asking: self._fetched(asking, request), _login()
        )

    async def _found(self, asking: Asking, request: Request) -> list[_Found]:
        names = h.native_names(LEXICON, request.variables)
        address = request.archives.get(self.name)
        if address is None:
            raise InputUnavailable(
                f"the address of {self.title}", found="none: no public one is certain", where="GOMS_ARCHIVES",
                action='name it there: {"nobm-dap": "https://HOST/opendap/.../%Y/day%Y%m%d.nc"}',
            )  # fmt: skip
        day = request.when.astimezone(UTC).strftime(address)
        uris = {name: day.replace("{name}", name).rstrip("/") for name in names}
        every = await all_of([described(asking, self.name, uri) for uri in dict.fromkeys(uris.values())])
        datasets = {dataset.uri: dataset for dataset in every}
        found = [item for name in names if (item := _of_day(name, datasets[uris[name]], request)) is not None]
        if not found:
            raise InputUnavailable(
                f"{self.title} of {request.when:%Y-%m-%d}", found=f"none of {', '.join(names)} of that day",
                where=shown(day), action="NOBM is a finished reanalysis: take the next rung for later days",
            )  # fmt: skip
        return found

    async def _fetched(self, asking: Asking, request: Request) -> Native:
        found = await self._found(asking, request)
        planes = await all_of([_read(asking, item) for item in found])
        stamp = np.array([h.instant(request.when)]).astype("datetime64[ns]")
        fields = {}
        for item, plane in zip(found, planes, strict=True):
            latitude, longitude = _axes(item)
            units = {"units": str(item.dataset.attributes.get(item.name, {}).get("units", ""))}
            values = np.where(plane < FILL / 10, plane, np.float32("nan"))[None]
            fields[item.name] = xr.DataArray(
                values, {"time": stamp, "lat": latitude, "lon": longitude}, ("time", "lat", "lon"), attrs=units
            )
        files = tuple(_record(item, plane) for item, plane in zip(found, planes, strict=True))
        return Native(xr.Dataset(fields), LEXICON, files, f"daily mean of {request.when:%Y-%m-%d}")


def _login() -> Mapping[str, str]:
    token = Settings().logins.earthdata_token
    return {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}


def _of_day(name: str, dataset: Described, request: Request) -> _Found | None:
    """The variable at the request's day, ``None`` where the dataset has not got it; refused where it is not NOBM's."""
    if name not in dataset.arrays:
        return None
    array = dataset.arrays[name]
    axes = dict(zip(("lat", "lon"), array.dims[-2:], strict=True))
    on_axes = xr.Dataset(coords={ours: dataset.axes[theirs].astype(np.float64) for ours, theirs in axes.items()})
    if len(array.dims) not in (2, 3) or not is_nobm(on_axes):
        raise InputRefused(
            f"{name} on NOBM's 1.25 by 2/3 degrees", found=f"dimensions {', '.join(array.dims)} of {h.box(on_axes)}",
            where=shown(dataset.uri), action="look at the address: it is another archive's",
        )  # fmt: skip
    if len(array.dims) == 2:
        return _Found(name, dataset, None)
    days = dataset.stamps(name).astype("datetime64[D]")
    steps = np.flatnonzero(days == h.instant(request.when).astype("datetime64[D]"))
    return _Found(name, dataset, int(steps[0])) if steps.size else None


async def _read(asking: Asking, item: _Found) -> Plane:
    """The plane, with the proof that it is of the step that was described."""
    dataset, step = item.dataset, item.step
    array, shape = dataset.arrays[item.name], tuple(axis.size for axis in _axes(item))
    spans = "".join(f"[0:1:{size - 1}]" for size in shape)
    path = ".".join((*array.path, array.name))
    question = f"{path}{spans}" if step is None else f"{path}[{step}]{spans},{array.dims[0]}[{step}]"

    def check(answer: Answer) -> Plane:
        values = answered(answer)
        plane = values.get(item.name)
        if plane is None or plane.size != shape[0] * shape[1]:
            raise DamagedAnswer(f"no {item.name} of {shape} values")
        if not (plane >= FILL / 10).any():
            raise DamagedAnswer(f"{item.name} without land")
        told = None if step is None else values.get(array.dims[0])
        known = None if step is None else dataset.axes[array.dims[0]][step]
        if step is not None and (told is None or told.size != 1 or told.flat[0] != known):
            raise DamagedAnswer(f"{array.dims[0]} {told} where {known} was asked for")
        return plane.reshape(shape).astype(np.float32)

    size = shape[0] * shape[1] * np.dtype(dap2.WIRE[array.kind]).itemsize
    return await asking.ask(f"{dataset.uri}.dods?{question}", check, most_bytes=size + WORDS_BYTES)


def _axes(item: _Found) -> tuple[NDArray[Any], NDArray[Any]]:
    dims = item.dataset.arrays[item.name].dims[-2:]
    latitude, longitude = (item.dataset.axes[dim].astype(np.float64) for dim in dims)
    return latitude, longitude


def _record(item: _Found, plane: Plane) -> FileRecord:
    digest = hashlib.sha256(plane.tobytes()).hexdigest()
    return FileRecord(uri=f"{shown(item.dataset.uri)}#{item.name}", size_bytes=plane.nbytes, sha256=digest)
