"""Datasets on an OPeNDAP server (DAP2 over HTTP): described, and read slab by slab with proof of what arrived.

Each slab is asked for together with the time and the depth it lies at: the answer must say the same instant and depth
as the description did, and its lengths must fit to the byte. (Aggregations of forecasts move their steps daily, and
the netCDF library takes a body that was cut short for a whole one.)
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from pipeline.errors import InputRefused
from pipeline.sources import dap2
from pipeline.sources import holdings as h
from pipeline.sources.asking import Answer, Asking, DamagedAnswer
from pipeline.sources.slabs import Field, Slab

WORDS_BYTES = 4096
"""Room for declarations in an answer of values."""
DESCRIPTION_BYTES = 1 << 24


class Described(NamedTuple):
    """A dataset: its arrays, their attributes, and the values of its axes (and of ``tau``, where it has one)."""

    dataset: str
    uri: str
    arrays: Mapping[str, dap2.Array]
    attributes: Mapping[str, Mapping[str, Any]]
    axes: Mapping[str, NDArray[Any]]

    def stamps(self, name: str) -> h.Stamps:
        """The instants of a variable's steps; ``InputRefused`` where the axis is not one."""
        time = self.arrays[name].dims[0]
        return h.decoded_stamps(xr.Variable(("time",), self.axes[time], dict(self.attributes.get(time, {}))), self.uri)

    def field(self, name: str) -> Field:
        """A variable as a field that can be read."""
        array, attributes = self.arrays[name], dict(self.attributes.get(name, {}))
        latitude, longitude = (self.axes[dim].astype(np.float64) for dim in array.dims[-2:])
        facts = json.dumps({key: str(value) for key, value in attributes.items()}, sort_keys=True)
        return Field(
            name, self.dataset, self.uri, hashlib.sha256(facts.encode()).hexdigest(), self.stamps(name),
            self.axes[array.dims[1]].astype(np.float64) if len(array.dims) == 4 else None, latitude, longitude,
            attributes, dap2.NATIVE[array.kind], self._read, self._tau(array.dims[0]),
        )  # fmt: skip

    def _tau(self, time: str) -> NDArray[Any] | None:
        tau = self.arrays.get("tau")
        return self.axes["tau"] if tau is not None and tau.dims == (time,) else None

    async def _read(self, asking: Asking, slab: Slab) -> NDArray[Any]:
        runs = [await self._run(asking, slab, run) for run in slab.box.columns]
        return runs[0] if len(runs) == 1 else np.concatenate(runs, axis=1)

    async def _run(self, asking: Asking, slab: Slab, columns: tuple[int, int]) -> NDArray[Any]:
        array, box = self.arrays[slab.field.name], slab.box
        places = [slab.step, *([] if slab.level is None else [slab.level])]
        proofs = list(zip(array.dims, places, strict=False))
        spans = "".join(f"[{first}:1:{last - 1}]" for first, last in (box.rows, columns))
        inside = ".".join((*array.path, array.name))
        question = [inside + "".join(f"[{place}]" for place in places) + spans,
                    *(f"{dim}[{place}]" for dim, place in proofs)]  # fmt: skip
        shape = box.rows[1] - box.rows[0], columns[1] - columns[0]
        size = int(np.prod(shape)) * np.dtype(dap2.WIRE[array.kind]).itemsize

        def check(answer: Answer) -> NDArray[Any]:
            found = answered(answer)
            for dim, place in proofs:
                told, known = found.get(dim), self.axes[dim][place]
                if told is None or told.size != 1 or told.flat[0] != known:
                    raise DamagedAnswer(f"{dim} {told} where {known} was asked for: the dataset has moved on")
            values = found.get(array.name)
            if values is None or values.size != np.prod(shape):
                raise DamagedAnswer(f"no {array.name} of {shape} values")
            return values.reshape(shape)

        url = f"{self.uri}.dods?{','.join(question)}"
        return await asking.ask(url, check, most_bytes=size + WORDS_BYTES)


async def described(asking: Asking, dataset: str, uri: str) -> Described:
    """What a dataset declares, with the values of its axes; ``InputUnavailable`` where it does not answer."""
    declared, attributes = await asyncio.gather(
        asking.ask(f"{uri}.dds", lambda answer: dap2.by_name(_parsed(dap2.declarations, _text(answer)))),
        asking.ask(f"{uri}.das", lambda answer: _parsed(dap2.attributes, _text(answer))),
    )
    dims = {dim for item in declared.values() if len(item.dims) > 1 for dim in item.dims}
    names = [name for name, item in declared.items()
             if len(item.dims) == 1 and (name in dims or name == "tau") and item.kind in dap2.NATIVE]  # fmt: skip
    if not dims <= set(names):
        raise InputRefused("an axis for every dimension", found=f"none for {', '.join(sorted(dims - set(names)))}",
                           where=uri, action="look at the dataset: its layout has changed")  # fmt: skip

    def check(answer: Answer) -> dict[str, NDArray[Any]]:
        found = answered(answer)
        if any(name not in found or found[name].shape != declared[name].shape for name in names):
            raise DamagedAnswer("axes of other lengths than were declared: the dataset has moved on")
        return found

    axes = await asking.ask(f"{uri}.dods?{','.join(names)}", check, most_bytes=DESCRIPTION_BYTES)
    return Described(dataset, uri, declared, attributes, axes)


def answered(answer: Answer) -> dict[str, NDArray[Any]]:
    """The values of an answer by name; ``DamagedAnswer`` where it is cut short or is none."""
    found: dict[str, NDArray[Any]] = _parsed(dap2.values, answer.body)[0]
    return found


def _text(answer: Answer) -> str:
    return answer.body.decode("utf-8", "replace")


def _parsed(parse: Any, content: Any) -> Any:
    try:
        return parse(content)
    except (ValueError, OverflowError) as error:
        raise DamagedAnswer(str(error)) from error
