"""Copernicus Marine's portal in its own layout: login, catalogue of STAC documents, Zarr stores in chunks of a level.

Fields are the twin's, brought to that archive's own conventions: potential temperature (gsw), daily means stamped
with their day (the twin's noon stands for the mean), fifty levels here cut to those that reach 500 m, int16 packing,
chunks without water left out, iron in mmol m-3.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import gsw
import numpy as np
import zarr

from pipeline.earth.splines import Axis
from pipeline.twin import Twin
from pipeline.variables import Kind

LATITUDE: Axis = np.arange(-80.0, 90.01, 2.5)
LONGITUDE: Axis = np.arange(-180.0, 180.0, 2.5)
FORECAST_DAYS = 10
COARSE = 3
"""The biogeochemistry has every third point of the physics, as in the archive."""
DEPTHS_M = np.array([
    0.49402499, 1.541375, 2.645669, 3.819495, 5.0782242, 6.4406142, 7.9295602, 9.5729971, 11.405, 13.46714, 15.81007,
    18.49556, 21.59882, 25.21141, 29.444731, 34.434151, 40.344051, 47.373692, 55.76429, 65.807266, 77.853851, 92.326073,
    109.7293, 130.666, 155.8507, 186.1256, 222.4752, 266.0403, 318.1274, 380.213, 453.9377, 541.0889,
])  # fmt: skip
CHUNK, SMALL_CHUNK = (36, 48), (9, 12)
"""The waves' height has small ones, so that some are land from end to end, and not stored."""
DATASETS = {
    "cmems_mod_glo_phy-thetao_anfc_0.083deg_P1D-m": ("thetao",),
    "cmems_mod_glo_phy-so_anfc_0.083deg_P1D-m": ("so",),
    "cmems_mod_glo_phy-cur_anfc_0.083deg_P1D-m": ("uo", "vo"),
    "cmems_mod_glo_phy_anfc_0.083deg_P1D-m": ("zos", "mlotst"),
    "cmems_mod_glo_wav_anfc_0.083deg_PT3H-i": ("VHM0", "VTM10", "VMDR"),
    "cmems_mod_glo_bgc-nut_anfc_0.25deg_P1D-m": ("no3", "fe"),
    "cmems_mod_glo_bgc-pft_anfc_0.25deg_P1D-m": ("chl",),
}
UNITS = {"thetao": "degrees_C", "so": "1e-3", "uo": "m s-1", "vo": "m s-1", "zos": "m", "mlotst": "m", "VHM0": "m",
         "VTM10": "s", "VMDR": "degree", "no3": "mmol m-3", "fe": "mmol m-3", "chl": "mg m-3"}  # fmt: skip
SCALES = {"thetao": (0.0007, 21.0), "so": (0.0007, 20.0), "uo": (0.0002, 0.0), "vo": (0.0002, 0.0),
          "zos": (0.0003, 0.0), "mlotst": (0.15, 2400.0), "VHM0": (0.001, 0.0),
          "VTM10": (0.001, 0.0), "VMDR": (0.02, 180.0)}  # fmt: skip
FILL = -32767
OURS = {"VHM0": "swh", "VTM10": "mwp", "VMDR": "mwd"}


def truth(kind: Kind, moment: datetime, depths_m: tuple[float, ...] = (0.0,)) -> dict[str, np.ndarray]:
    """The twin on the archive's points, longitudes from 0: in-situ temperature and all, as the twin says it."""
    latitude, longitude = axes_of(kind)
    return Twin().fields(kind, moment, latitude, np.sort(longitude % 360.0), depths_m)


def axes_of(kind: Kind) -> tuple[Axis, Axis]:
    """Latitudes and longitudes of the archive's points."""
    thin = COARSE if kind is Kind.BIOGEOCHEMISTRY else 1
    return LATITUDE[::thin], LONGITUDE[::thin]


def write(folder: Path, address: str, day: datetime, *, version: str = "202406") -> dict[str, str]:
    """The portal as files to be served at ``address``; what to give a request as ``archives``.

    The stores reach ten days beyond ``day``, which is their last analysis; of what is beyond there is the last stamp
    alone, and of the waves a field.
    """
    noon = day.replace(hour=12)
    fields = _native(noon)
    products = {}
    for dataset, names in DATASETS.items():
        product = "GLOBAL_ANALYSISFORECAST_" + dataset.split("_")[3].split("-")[0].upper()
        products[dataset] = product
        place = f"data/{product}/{dataset}_{version}/timeChunked.zarr"
        waves = "wav" in dataset
        stamps = [noon - timedelta(hours=3), noon] if waves else [day.replace(hour=0) - timedelta(days=1),
                                                                  day.replace(hour=0)]  # fmt: skip
        stamps.append(stamps[1] + timedelta(days=FORECAST_DAYS))
        _store(folder / place, {name: fields[name] for name in names}, stamps)
        _document(folder / f"stac/{product}/{dataset}_{version}/dataset.stac.json", {
            "id": f"{dataset}_{version}", "type": "Feature",
            "assets": {"native": {"href": f"{address}/none"}, "timeChunked": {"href": f"{address}/{place}"}},
        })  # fmt: skip
    for product in set(products.values()):
        links = [{"rel": "item", "href": f"{dataset}_{version}/dataset.stac.json"}
                 for dataset, mine in products.items() if mine == product]  # fmt: skip
        _document(folder / f"stac/{product}/product.stac.json", {"id": product, "links": links})
    _document(folder / "stac/dataset_product_id_mapping.json", products)
    catalogue = {"idMapping": f"{address}/stac/dataset_product_id_mapping.json", "stacRoot": f"{address}/stac",
                 "stac": f"{address}/stac/catalog.stac.json"}  # fmt: skip
    _document(folder / "meta/clientsConfigV1.json", {"catalogues": [catalogue], "clientVersions": {}})
    _document(folder / "token", {"access_token": "abc" * 400})
    return {"copernicus": f"{address}/meta", "copernicus-login": f"{address}/token"}


def _native(noon: datetime) -> dict[str, np.ndarray]:
    """By native name (depth,) latitude, longitude on the archive's points in its own units."""
    turned = np.argsort(np.argsort(LONGITUDE % 360.0))
    ocean = {name: values[..., turned] for name, values in truth(Kind.OCEAN, noon, tuple(DEPTHS_M)).items()}
    pressure = gsw.p_from_z(-DEPTHS_M[:, None, None], LATITUDE[None, :, None])
    absolute = gsw.SA_from_SP(ocean["so"], pressure, LONGITUDE[None, None, :], LATITUDE[None, :, None])
    potential = gsw.pt0_from_t(absolute, ocean["to"], pressure)
    waves = {name: values[..., turned] for name, values in truth(Kind.WAVES, noon).items()}
    thinned = np.argsort(np.argsort(axes_of(Kind.BIOGEOCHEMISTRY)[1] % 360.0))
    plankton = {name: values[..., thinned] for name, values in truth(Kind.BIOGEOCHEMISTRY, noon).items()}
    mixed = Twin().fields(Kind.BIOGEOCHEMISTRY, noon, LATITUDE, np.sort(LONGITUDE % 360.0), (0.0,))["mld"][..., turned]
    fields = {"thetao": potential, "so": ocean["so"], "uo": ocean["uo"], "vo": ocean["vo"], "zos": ocean["zos"],
              "mlotst": mixed}  # fmt: skip
    fields |= {name: waves[ours] for name, ours in OURS.items()}
    deep = {"no3": plankton["no3"], "fe": plankton["fe"] / 1000.0, "chl": plankton["chl"]}
    return fields | {name: np.stack([values, values + 50.0]) for name, values in deep.items()}


def _store(folder: Path, fields: dict[str, np.ndarray], stamps: list[datetime]) -> None:
    group = zarr.open_group(folder, mode="w", zarr_format=2)
    deep = next(iter(fields.values())).ndim == 3
    depths = DEPTHS_M if next(iter(fields.values())).shape[0] == DEPTHS_M.size else DEPTHS_M[:2]
    milliseconds = np.array([int(stamp.astimezone(UTC).timestamp() * 1000) for stamp in stamps])
    _axis(group, "time", milliseconds, "milliseconds since 1970-01-01")
    if deep:
        _axis(group, "elevation", -depths[::-1], "m")
    thin = LATITUDE.size // next(iter(fields.values())).shape[-2]
    _axis(group, "latitude", LATITUDE[::thin].astype("f4"), "degrees_north")
    _axis(group, "longitude", LONGITUDE[::thin].astype("f4"), "degrees_east")
    for name, values in fields.items():
        lead = (len(stamps), *([depths.size] if deep else []))
        packed, attrs = _packed(name, values)
        chunk = SMALL_CHUNK if name == "VHM0" else tuple(map(min, CHUNK, values.shape[-2:]))
        array = group.create_array(name, shape=(*lead, *values.shape[-2:]), chunks=(*[1] * len(lead), *chunk),
                                   dtype=packed.dtype, fill_value=attrs["_FillValue"])  # fmt: skip
        dims = ["time", *(["elevation"] if deep else []), "latitude", "longitude"]
        array.attrs.update({**attrs, "_ARRAY_DIMENSIONS": dims, "units": UNITS[name]})
        for step in (1, 2) if name in OURS else (1,):
            array[step] = packed[::-1] if deep else packed
    zarr.consolidate_metadata(group.store)


def _packed(name: str, values: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    if name not in SCALES:
        return np.where(np.isnan(values), 9.96921e36, values).astype("f4"), {
            "_FillValue": float(np.float32(9.96921e36))
        }
    scale, offset = SCALES[name]
    whole = np.where(np.isnan(values), FILL, np.rint((np.nan_to_num(values) - offset) / scale))
    return whole.astype("i2"), {"_FillValue": FILL, "scale_factor": scale, "add_offset": offset}


def _axis(group: zarr.Group, name: str, values: np.ndarray, units: str) -> None:
    array = group.create_array(name, data=values, chunks=values.shape)
    array.attrs.update({"_ARRAY_DIMENSIONS": [name], "units": units})


def _document(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
