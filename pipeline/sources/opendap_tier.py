"""OPeNDAP datasets that together hold HYCOM's fields: each described once, when it is first asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from pipeline.sources import holdings as h
from pipeline.sources.asking import Asking, NotThere, all_of
from pipeline.sources.opendap import Described, described
from pipeline.sources.slabs import Field


class Place(NamedTuple):
    """A dataset by its path on the server, and the native names that are looked for in it."""

    path: str
    names: tuple[str, ...]


class Datasets:
    """A tier of datasets under one address."""

    def __init__(self, address: str, places: tuple[Place, ...]) -> None:
        self.address, self.places = address, places
        self._described: dict[str, Described] = {}

    async def stamps(self, asking: Asking, names: Sequence[str]) -> Mapping[str, h.Stamps]:
        """The steps of the time axes; see ``Tier.stamps``."""
        wanted = [place for place in self.places if set(place.names) & set(names)]
        datasets = await all_of([described(asking, place.path, f"{self.address}/{place.path}") for place in wanted])
        for place, dataset in zip(wanted, datasets, strict=True):
            self._described |= {name: dataset for name in place.names if name in names and name in dataset.arrays}
        if not self._described:
            raise NotThere(
                f"{' or '.join(names)}", found=f"none in {', '.join(place.path for place in wanted)}",
                where=self.address, action="look for the archive's new layout",
            )  # fmt: skip
        return {name: self._described[name].stamps(name) for name in names if name in self._described}

    async def fields(self, asking: Asking, names: Sequence[str], stamp: np.datetime64) -> Mapping[str, Field]:
        """See ``Tier.fields``."""
        return {name: self._described[name].field(name) for name in names}
