"""ECMWF's and NOAA's forecasts in their archives' own layouts, written by eccodes from the twin's weather.

A run of the twin knows the future: what it says of a day is that day's weather, the truth that readers are held to.
Between the wanted fields lie others, as in the archives: a height, and a sum over the step under a wind's name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import eccodes
import numpy as np

from pipeline.earth.splines import Axis
from pipeline.twin import Twin
from pipeline.variables import Kind

LATITUDE: Axis = np.arange(90.0, -90.1, -2.0)
LONGITUDE: Axis = np.arange(-180.0, 180.0, 2.5)
"""As ECMWF's: from the north, from -180; coarse, so that tests are quick."""
EASTWARD: Axis = np.arange(0.0, 360.0, 2.5)
"""As NOAA's."""
SHORT_NAMES = {"u10": "10u", "v10": "10v", "t2m": "2t", "msl": "msl", "sp": "sp", "swh": "swh", "mwp": "mwp",
               "mwd": "mwd"}  # fmt: skip
GFS_LINES = {
    "u10": ("10u", "UGRD", "10 m above ground"), "v10": ("10v", "VGRD", "10 m above ground"),
    "t2m": ("2t", "TMP", "2 m above ground"), "msl": ("prmsl", "PRMSL", "mean sea level"),
    "sp": ("sp", "PRES", "surface"),
}  # fmt: skip
MISSING = 9999.0


def truth(kind: Kind, moment: datetime, seed: int = 0) -> dict[str, np.ndarray]:
    """What the twin says, latitude and longitude increasing, 0..360: (latitude, longitude)."""
    return Twin(seed).fields(kind, moment, LATITUDE[::-1], EASTWARD)


def message(
    name: str, values: np.ndarray, issued: datetime, step: int, *, latitude: Axis = LATITUDE,
    longitude: Axis = LONGITUDE, edition: int = 2, centre: str = "ecmf", packing: str = "grid_simple",
    accumulated: bool = False,
) -> bytes:  # fmt: skip
    """One GRIB message; ``values`` in the order of the axes given, NaN where there is none."""
    handle = eccodes.codes_grib_new_from_samples(f"regular_ll_sfc_grib{edition}")
    settings: dict[str, object] = {
        "centre": centre, "dataDate": int(f"{issued:%Y%m%d}"), "dataTime": issued.hour * 100, "Ni": longitude.size,
        "Nj": latitude.size, "latitudeOfFirstGridPointInDegrees": float(latitude[0]),
        "latitudeOfLastGridPointInDegrees": float(latitude[-1]),
        "longitudeOfFirstGridPointInDegrees": float(longitude[0] % 360.0),
        "longitudeOfLastGridPointInDegrees": float(longitude[-1] % 360.0),
        "iDirectionIncrementInDegrees": float(longitude[1] - longitude[0]),
        "jDirectionIncrementInDegrees": float(abs(latitude[1] - latitude[0])), "shortName": name,
    }  # fmt: skip
    if accumulated:
        settings |= {"stepType": "accum", "stepRange": f"0-{step}"}
    else:
        settings["step"] = step
    for key, value in settings.items():
        eccodes.codes_set(handle, key, value)
    eccodes.codes_set(handle, "packingType", packing)
    if packing == "grid_simple":
        eccodes.codes_set(handle, "bitsPerValue", 24)
    eccodes.codes_set(handle, "bitmapPresent", int(np.isnan(values).any()))
    eccodes.codes_set(handle, "missingValue", MISSING)
    eccodes.codes_set_values(handle, np.where(np.isnan(values), MISSING, values).ravel().astype(float))
    data: bytes = eccodes.codes_get_message(handle)
    eccodes.codes_release(handle)
    return data


def write_ifs(
    folder: Path, issued: datetime, steps: Mapping[int, Kind] | list[int], kind: Kind = Kind.SURFACE, *,
    packing: str = "grid_simple", seed: int = 0,
) -> None:  # fmt: skip
    """One run: a GRIB file and its index for each step."""
    long = issued.hour in (0, 12)
    stream = {True: "wave", False: "scwv"}[long] if kind is Kind.WAVES else {True: "oper", False: "scda"}[long]
    place = folder / f"{issued:%Y%m%d}" / f"{issued:%H}z" / "ifs" / "0p25" / stream
    place.mkdir(parents=True, exist_ok=True)
    order = np.argsort(LONGITUDE % 360.0)
    back = np.argsort(order)
    for step in steps:
        fields = truth(kind, issued + timedelta(hours=step), seed)
        body, lines = b"", []
        extra = {"z": np.full((LATITUDE.size, LONGITUDE.size), 5.0)}
        for name, values in [("z", extra["z"]), *((n, v[::-1][:, back]) for n, v in fields.items())]:
            short = SHORT_NAMES.get(name, name)
            data = message(short, values, issued, step, packing=packing if name != "z" else "grid_simple")
            level = {"levtype": "pl", "levelist": "500", "param": "gh"} if name == "z" else {"levtype": "sfc"}
            lines.append({"domain": "g", "date": f"{issued:%Y%m%d}", "time": f"{issued:%H}00", "expver": "0001",
                          "class": "od", "type": "fc", "stream": stream, "step": str(step), "param": short, **level,
                          "_offset": len(body), "_length": len(data)})  # fmt: skip
            body += data
        path = place / f"{issued:%Y%m%d%H}0000-{step}h-{stream}-fc"
        path.with_name(path.name + ".grib2").write_bytes(body)
        path.with_name(path.name + ".index").write_text("".join(json.dumps(line) + "\n" for line in lines))


def write_gfs(folder: Path, issued: datetime, steps: list[int], seed: int = 0) -> None:
    """One run: a GRIB file and its index for each step."""
    place = folder / f"gfs.{issued:%Y%m%d}" / f"{issued:%H}" / "atmos"
    place.mkdir(parents=True, exist_ok=True)
    for step in steps:
        fields = truth(Kind.SURFACE, issued + timedelta(hours=step), seed)
        body, lines = b"", []
        instant = "anl" if step == 0 else f"{step} hour fcst"
        entries = [(*GFS_LINES[name], instant, values[::-1]) for name, values in fields.items()]
        entries.insert(1, ("10u", "UGRD", "10 m above ground", f"0-{step} hour ave fcst", fields["u10"][::-1] * 0 + 99))
        entries.append(("2t", "TMP", "surface", instant, fields["t2m"][::-1]))
        for number, (short, name, level, when, values) in enumerate(entries, start=1):
            lines.append(f"{number}:{len(body)}:d={issued:%Y%m%d%H}:{name}:{level}:{when}:")
            body += message(short, values, issued, step, longitude=EASTWARD, centre="kwbc")
        path = place / f"gfs.t{issued:%H}z.pgrb2.0p25.f{step:03d}"
        path.write_bytes(body)
        path.with_name(path.name + ".idx").write_text("\n".join(lines) + "\n")
