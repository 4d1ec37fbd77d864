"""HYCOM's archives as the twin would have filled them: a region for every source, small enough for many tests.

``ESPC_DAY``: a year's datasets with three steps of the day (of the sea level more), the forecasts' aggregation with the
next day along ``time1``. ``ANALYSIS_DAY``: GLBy0.08, all eight steps. ``REANALYSIS_DAY``: GLBv0.08 over
OPeNDAP, and the bucket's files in both header layouts. The bucket's longitudes run from -180, so that the region
crosses their seam.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

import netCDF4
import numpy as np

from pipeline.grids import Grid
from pipeline.sources import Native, Request
from pipeline.sources.espc import DATASETS
from pipeline.twin import Twin, native
from pipeline.variables import DEPTHS_M, Kind, of_kind
from tests.archive_servers import opendap

TWIN = Twin(7)
ESPC_DAY = datetime(2025, 3, 4, 12, tzinfo=UTC)
ANALYSIS_DAY = datetime(2020, 7, 5, 12, tzinfo=UTC)
REANALYSIS_DAY = datetime(2012, 1, 5, 12, tzinfo=UTC)
GRID = Grid(south=-28.0, west=168.0, latitude_step=1.0, longitude_step=1.0, rows=22, columns=24)
LATITUDE, LONGITUDE = -36.0 + 0.5 * np.arange(80.0), 160.0 + 0.5 * np.arange(84.0)
ROUND_LONGITUDE = 1.5 * np.arange(240.0)
DEPTHS = (*DEPTHS_M[:2], 8.0, *DEPTHS_M[2:], 600.0)
"""The wanted depths, one that is not, between them, and one below."""
NAMES = tuple(DATASETS)
NOON = (9, 12, 15)
"""The hours that archives without a whole day have: noon and the steps beside it."""
OURS = {name: ours for name, (ours, _) in native.HYCOM_NAMES.items()}
HALF_PACKING_STEP = 0.0005 + 3e-5
"""Half of 0.001, and what float32 rounds near 35 where the twin sums up the same field on other points."""


def steps_of(day: datetime, hours: Sequence[int] = tuple(range(0, 24, 3))) -> list[datetime]:
    """Steps of a day: all eight, or those of these hours."""
    return [day.replace(hour=hour) for hour in hours]


def request(when: datetime, scratch: Path, archives: dict[str, str]) -> Request:
    """All five ocean fields at the wanted depths on the region's grid."""
    names = tuple(entry.name for entry in of_kind(Kind.OCEAN))
    return Request(Kind.OCEAN, when, names, DEPTHS_M, GRID, None, scratch, archives=archives, deadline_seconds=60.0)


class World:
    """The files, and the catalogue of the OPeNDAP server that serves them; ``restore`` undoes what a test did."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.catalogue = folder, opendap.Catalogue()
        for name, moments, depths in (
            ("espc", steps_of(ESPC_DAY, NOON), DEPTHS), ("espc_level", steps_of(ESPC_DAY, (9, 11, 12, 13, 15)), (0.0,)),
            ("ahead", steps_of(ESPC_DAY + timedelta(days=1), (9, 12)), DEPTHS),
            ("analysis", steps_of(ANALYSIS_DAY), DEPTHS), ("reanalysis", steps_of(REANALYSIS_DAY, NOON), DEPTHS),
        ):  # fmt: skip
            native.write_hycom(folder / f"{name}.nc", moments, TWIN, LATITUDE, LONGITUDE, depths)
        with netCDF4.Dataset(folder / "ahead.nc", "r+") as file:
            file["tau"][:] = (33.0, 36.0)
        self.restore()

    def restore(self) -> None:
        """Every dataset as it should be."""
        self.catalogue.datasets.clear()
        self.serve_espc()
        self.serve_whole("GLBy0.08/expt_93.0", "analysis")
        self.serve_whole(f"GLBv0.08/expt_53.X/data/{REANALYSIS_DAY.year}", "reanalysis")

    def serve_espc(self, edit: opendap.Edit = opendap.as_it_is, steps: slice = slice(None)) -> None:
        """One dataset a variable, for the year and for the forecasts; ``steps``, of the year's three-hourly ones."""
        for name, short in DATASETS.items():
            file = "espc_level" if name == "surf_el" else "espc"
            hourly = slice(None) if name == "surf_el" else steps
            year, best = f"ESPC-D-V02/{short}/{ESPC_DAY.year}", f"FMRC_ESPC-D-V02_{short}"
            self.catalogue.datasets[year] = opendap.dataset(self.folder / f"{file}.nc", year, (name,), edit=edit,
                                                            steps=hourly)  # fmt: skip
            path = f"{best}/{best}_best.ncd"
            self.catalogue.datasets[path] = opendap.dataset(self.folder / "ahead.nc", best, (name,), time="time1")

    def serve_whole(
        self, path: str, file: str, edit: opendap.Edit = opendap.as_it_is, steps: slice | list[int] = slice(None)
    ) -> None:
        """All five variables in one dataset."""
        self.catalogue.datasets[path] = opendap.dataset(self.folder / f"{file}.nc", path, NAMES, edit=edit, steps=steps)


def write_bucket_file(path: Path, when: datetime, layout: str, edit: opendap.Edit = opendap.as_it_is) -> Path:
    """One step as the public bucket has it: ``plain``, or ``record`` (time grows, the header is 40 bytes longer)."""
    flat = native.write_hycom(path.with_suffix(".flat"), [when], TWIN, LATITUDE, ROUND_LONGITUDE, DEPTHS)
    turned = np.where(ROUND_LONGITUDE >= 180.0, ROUND_LONGITUDE - 360.0, ROUND_LONGITUDE)
    order = np.argsort(turned)
    with netCDF4.Dataset(flat) as old, netCDF4.Dataset(path, "w", format="NETCDF3_64BIT_OFFSET") as new:
        old.set_auto_maskandscale(False)
        new.classification_level = "UNCLASSIFIED"
        if layout == "record":
            new.history_of_the_run = "x" * 16
        for dim in ("depth", "lat", "lon", "time"):
            new.createDimension(dim, None if dim == "time" and layout == "record" else old.dimensions[dim].size)
        for name in ("depth", "lat", "lon", "time", "tau", "water_u", "water_v", "water_temp", "salinity", "surf_el"):
            source = old[name]
            attributes = {key: source.getncattr(key) for key in source.ncattrs()}
            fill = attributes.pop("_FillValue", None)
            made = new.createVariable(name, source.dtype, source.dimensions, fill_value=fill)
            made.setncatts(attributes)
            made.set_auto_maskandscale(False)
            values = turned if name == "lon" else edit(name, source[:])
            made[:] = values[..., order] if "lon" in source.dimensions else values
    flat.unlink()
    return path


def bucket_key(when: datetime, experiment: int = 530) -> str:
    """The key of the step: the analysis is that of the 12 UTC before it."""
    analysis = (when - timedelta(hours=12)).replace(hour=12)
    tau = round((when - analysis).total_seconds() / 3600)
    return f"{analysis:%Y}/hycom_GLBv0.08_{experiment}_{analysis:%Y%m%d}12_t{tau:03d}.nc"


def assert_true(answer: Native, moments: Sequence[datetime], wanted: Request) -> None:
    """Every value is the twin's (the mean of the moments) to half a packing step; land is where it is."""
    dataset = answer.dataset.compute()
    order = np.argsort(dataset["lon"].values % 360.0)
    dataset = dataset.isel(lon=order)
    latitude, longitude = dataset["lat"].values, dataset["lon"].values % 360.0
    truth = [_truth(moment, latitude.tobytes(), longitude.tobytes(), wanted.depths_m) for moment in moments]
    assert set(dataset.data_vars) == set(NAMES)
    assert tuple(dataset["depth"].values) == wanted.depths_m
    for name, ours in OURS.items():
        expected = np.mean([fields[ours].astype(np.float64) for fields in truth], axis=0)
        np.testing.assert_allclose(dataset[name].values[0], expected, rtol=0, atol=HALF_PACKING_STEP, err_msg=name)
    for axis, edges in ((latitude, GRID.latitude_edges), (longitude, GRID.longitude_edges)):
        assert axis.min() < edges[0] < edges[-1] < axis.max()


@lru_cache(maxsize=32)
def _truth(moment: datetime, latitude: bytes, longitude: bytes, depths_m: tuple[float, ...]) -> dict[str, np.ndarray]:
    return TWIN.fields(Kind.OCEAN, moment, np.frombuffer(latitude), np.frombuffer(longitude), depths_m)
