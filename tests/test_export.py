"""Exports read back by the programs they are for: GDAL, netCDF-C, OceanBench's own expectations; and the product's
own Zarr by the other readers of it.
"""

from __future__ import annotations

import subprocess
from pathlib import Path

import gsw
import numpy as np
import pytest
import tensorstore
import xarray as xr
import zarr
from numpy.typing import NDArray
from small_disk import SmallDisk
from typer.testing import CliRunner, Result

from flows import cli
from flows.desk import readers
from pipeline import cycle, produce, products, systems
from pipeline.errors import StoreError, UsageError
from pipeline.readers import export, oceanbench, public, subset
from pipeline.readers.reading import open_forecast
from pipeline.readers.subset import Subset
from pipeline.store import Store
from tests import debian, published
from tests import small_ocean as small
from tests.published import PREFIX
from tests.test_compliance import complaints

PART = Subset(("to", "zos"), (22.0, 30.0, 122.0, 130.0), (0.0, 50.0), (1.0, 3.0))


@pytest.fixture
def edition(small_cycle: Path) -> public.Published:
    return public.find(small_cycle)


@pytest.fixture
def ocean(small_cycle: Path) -> xr.Dataset:
    return open_forecast(small_cycle).load()


def floats(text: str) -> NDArray[np.float64]:
    return np.array([float(word.strip().rstrip("f")) for word in text.replace("_", "nan").split(",")])


def dumped(where: str, name: str) -> NDArray[np.float64]:
    """Every value of a variable as netCDF-C prints it."""
    command = [debian.program("ncdump", "netcdf-bin"), "-p", "9,17", "-v", name, where]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return floats(text.rpartition(f" {name} =")[2].partition(";")[0])


def by_gdal(where: str, band: int, rows: int, columns: int) -> NDArray[np.float64]:
    """Every value of a band, first row first."""
    command = [debian.program("gdallocationinfo", "gdal-bin"), "-valonly", "-b", str(band), where]
    cells = "".join(f"{column} {row}\n" for row in range(rows) for column in range(columns))
    text = subprocess.run(command, input=cells, capture_output=True, text=True, check=True).stdout
    return np.array([float(line) for line in text.split()]).reshape(rows, columns)


def same(found: NDArray[np.float64], wanted: NDArray[np.float32]) -> bool:
    """Whether they are the same in single precision, missing values included."""
    return bool(np.array_equal(found.astype(np.float32).reshape(wanted.shape), wanted, equal_nan=True))


# ---------------------------------------------------------------------------------------------------------- other tools


def test_netcdf_c_and_gdal_read_a_part_as_netcdf(edition: public.Published, ocean: xr.Dataset, tmp_path: Path) -> None:
    path = export.export(edition, "ocean", tmp_path / "part.nc", part=PART)
    wanted = ocean["to"].sel(latitude=slice(22, 30), longitude=slice(122, 130), depth=[0, 50]).isel(time=[1, 3])
    assert same(dumped(str(path), "to"), wanted.values)
    for band, (lead, depth) in enumerate(np.ndindex(2, 2), start=1):
        found = by_gdal(f"NETCDF:{path}:to", band, 8, 6)
        assert same(found, wanted.values[lead, depth, ::-1]), "GDAL's first row is the northernmost"


def test_netcdf_c_and_gdal_read_zarr_v2(edition: public.Published, ocean: xr.Dataset, tmp_path: Path) -> None:
    path = export.export(edition, "ocean", tmp_path / "whole.zarr", "zarr2")
    assert same(dumped(f"file://{path}#mode=zarr,file", "zos"), ocean["zos"].values)
    assert same(by_gdal(f'ZARR:"{path}":/so:3:14', 1, 14, 11), ocean["so"].values[3, 14])
    with xr.open_zarr(path) as whole:
        xr.testing.assert_equal(whole.load(), ocean)
    found = tensorstore.open({"driver": "zarr", "kvstore": {"driver": "file", "path": f"{path}/to/"}}).result()
    assert same(found.read().result(), ocean["to"].values)


@pytest.mark.parametrize("name", ["to", "zos"])
def test_tensorstore_and_zarrs_read_the_product_itself(small_cycle: Path, ocean: xr.Dataset, name: str) -> None:
    folder = small_cycle / PREFIX / "ocean.zarr"
    found = tensorstore.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": f"{folder}/{name}/"}}).result()
    assert same(found.read().result(), ocean[name].values)
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}):
        array = zarr.open_group(folder, mode="r")[name]
        assert isinstance(array, zarr.Array)
        assert type(array.async_array.codec_pipeline).__module__.startswith("zarrs")
        assert same(np.asarray(array[:]), ocean[name].values)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("product", "part"),
    [
        ("ocean", PART),
        ("ocean", Subset(leads=(2.0,), depths=(100.0,))),
        ("ocean", Subset(variables=("zos",), leads=(0.0, 1.0, 4.0))),
        ("kuroshio", Subset(box=(24.0, 26.0, 125.0, 127.0))),
        ("waves", Subset(("mwd",), leads=slice(1.0, None))),
    ],
)  # fmt: skip
def test_parts_pass_cf_and_acdd_without_error_warning_or_suggestion(
    edition: public.Published, tmp_path: Path, product: str, part: Subset
) -> None:
    assert complaints(export.export(edition, product, tmp_path / "part.nc", part=part)) == ""


# ---------------------------------------------------------------------------------------------------------------- parts


def test_a_part_says_what_it_covers(ocean: xr.Dataset) -> None:
    part = subset.select(ocean, PART)
    told = ("time_coverage", "geospatial_lat_m")
    assert {name: part.attrs[name] for name in part.attrs if name.startswith(told)} == {
        "geospatial_lat_min": 22.5, "geospatial_lat_max": 29.5, "time_coverage_start": "2024-02-28T12:00:00Z",
        "time_coverage_end": "2024-03-01T12:00:00Z", "time_coverage_duration": "P2D", "time_coverage_resolution": "P2D",
    }  # fmt: skip
    assert part.attrs["geospatial_bounds"] == "POLYGON ((22 121.25, 30 121.25, 30 130.25, 22 130.25, 22 121.25))"
    assert part.attrs["geospatial_vertical_resolution"] == "0, 50"


@pytest.fixture
def globe() -> xr.Dataset:
    """A global product of one degree whose field is its longitude."""
    start = cycle.cycle("twin", "2024-02-27", 12)
    frame = produce.layout(products.WAVES, systems.TWIN, start, small.facts()).isel(time=[0])
    values = np.broadcast_to(frame["longitude"].values.astype(np.float32), (1, 180, 360))
    return frame.assign(swh=(("time", "latitude", "longitude"), values, {"standard_name": "x"}))


@pytest.mark.parametrize(
    ("west", "east", "longitudes"),
    [
        (-2.0, 2.0, [-1.5, -0.5, 0.5, 1.5]),
        (358.0, 2.0, [-1.5, -0.5, 0.5, 1.5]),
        (358.0, 362.0, [-1.5, -0.5, 0.5, 1.5]),
        (178.0, -178.0, [178.5, 179.5, 180.5, 181.5]),
        (10.0, 12.0, [10.5, 11.5]),
        (-12.0, -10.0, [348.5, 349.5]),
    ],
)
def test_a_box_may_cross_any_meridian(globe: xr.Dataset, west: float, east: float, longitudes: list[float]) -> None:
    part = subset.select(globe, Subset(box=(-10.0, 10.0, west, east)))
    assert part["longitude"].values.tolist() == longitudes
    assert part["latitude"].values.tolist() == [-9.5 + row for row in range(20)]
    assert (part["swh"].values[0, 0] % 360).tolist() == [longitude % 360 for longitude in longitudes]
    assert part["longitude_bounds"].values[0].tolist() == [longitudes[0] - 0.5, longitudes[0] + 0.5]
    assert part["longitude"].attrs["units"] == "degrees_east"


@pytest.mark.parametrize("box", [(-90.0, 90.0, -180.0, 180.0), (-90.0, 90.0, 0.0, 360.0)])
def test_a_box_of_the_whole_earth_has_every_cell_once(globe: xr.Dataset, box: tuple[float, ...]) -> None:
    part = subset.select(globe, Subset(box=box))
    assert part["longitude"].values.tolist() == [box[2] + 0.5 + column for column in range(360)]
    assert sorted(part["swh"].values[0, 0].tolist()) == sorted(globe["swh"].values[0, 0].tolist())


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (Subset(variables=("sst",)), "needed variables of the product; found sst; .* choose of .*zos"),
        (Subset(depths=(5.0,)), "needed depths in metres of the product; found 5; .* choose of 0, 6, 10"),
        (Subset(leads=slice(20.0, None)), "needed lead days of the product; found none; .* choose of 0, 1, 2, 3, 4"),
        (Subset(box=(50.0, 60.0, 120.0, 130.0)), "needed a box with cells of the product in it; .* it has 20.5..33.5"),
    ],
)
def test_a_part_that_is_not_there_is_refused_with_what_is(ocean: xr.Dataset, part: Subset, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        subset.select(ocean, part)


def test_a_surface_product_has_no_depths_to_choose(small_cycle: Path) -> None:
    with pytest.raises(UsageError, match="leave the depths out"):
        subset.select(open_forecast(small_cycle, "kuroshio"), Subset(depths=(0.0,)))


def test_an_export_that_fails_leaves_what_was_there(own_cycle: Store, tmp_path: Path) -> None:
    path = tmp_path / "out.nc"
    path.write_bytes(b"last year's")
    own_cycle.delete(f"{PREFIX}/ocean.zarr/vo/c/4/0/0/0")
    with pytest.raises(StoreError, match=r"needed the object .*vo/c/4/0/0/0; found nothing there"):
        export.export(public.find(own_cycle.uri), "ocean", path)
    assert path.read_bytes() == b"last year's"
    assert sorted(item.name for item in tmp_path.iterdir()) == ["out.nc", "store"]


@pytest.mark.parametrize("layout", ["netcdf", "zarr2"])
def test_a_full_disk_is_a_sentence_and_leaves_no_part(
    edition: public.Published, small_disk: SmallDisk, layout: str
) -> None:
    small_disk.leave(30)
    with pytest.raises(StoreError, match=r"needed to write ocean as .*; free space or name another file"):
        export.export(edition, "ocean", small_disk.folder / "out", layout)
    assert [item.name for item in small_disk.folder.iterdir()] == ["ballast"]


@pytest.mark.parametrize("layout", ["netcdf", "zarr2"])
def test_a_folder_that_no_export_made_is_never_replaced(edition: public.Published, tmp_path: Path, layout: str) -> None:
    kept = tmp_path / "results" / "thesis.tex"
    kept.parent.mkdir()
    kept.write_text("years of work")
    with pytest.raises(UsageError, match=r"found a folder that is neither; in .*results; name a file in it"):
        export.export(edition, "waves", kept.parent, layout)
    assert kept.read_text() == "years of work"


# ----------------------------------------------------------------------------------------------------------- OceanBench


def test_oceanbench_gets_its_dimensions_names_depths_and_potential_temperature(
    edition: public.Published, ocean: xr.Dataset, tmp_path: Path
) -> None:
    with xr.open_zarr(export.export(edition, "ocean", tmp_path / "bench.zarr", "oceanbench")) as bench:
        assert dict(bench.sizes) == {
            "first_day_datetime": 1, "lead_day_index": 4, "depth": 3, "latitude": 14, "longitude": 11,
        }  # fmt: skip
        assert bench["first_day_datetime"].values == np.datetime64("2024-02-28")
        assert bench["lead_day_index"].values.tolist() == [0, 1, 2, 3]
        assert bench["depth"].values.tolist() == list(oceanbench.DEPTHS_M[:3])
        assert {str(name): field.attrs["standard_name"] for name, field in bench.data_vars.items()} == {
            name: standard for name, standard, _ in oceanbench.NAMES.values()
        }
        found = bench["thetao"].values[0, 2, 1]
    share = (47.37369 - 30) / (50 - 30)
    wanted = (1 - share) * potential(ocean, 30) + share * potential(ocean, 50)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.isfinite(found).sum() == np.isfinite(ocean["to"].sel(depth=50).values[3]).sum()


def potential(ocean: xr.Dataset, depth: float) -> NDArray[np.float64]:
    """Potential temperature of lead day 3 at a depth, cell by cell."""
    level = ocean.sel(depth=depth).isel(time=3)
    latitude, longitude = np.meshgrid(ocean["latitude"].values, ocean["longitude"].values, indexing="ij")
    pressure = gsw.p_from_z(-depth, latitude)
    salinity = gsw.SA_from_SP(level["so"].values, pressure, longitude, latitude)
    return np.asarray(gsw.pt0_from_t(salinity, level["to"].values, pressure))


def test_oceanbenchs_longitudes_begin_at_minus_180(ocean: xr.Dataset) -> None:
    moved = ocean.assign_coords(longitude=ocean["longitude"] + 50.0)  # 170.5 .. 185.5
    shaped = oceanbench.shaped(moved.chunk())
    east = [170.5 + 1.5 * step for step in range(7)]
    assert shaped["longitude"].values.tolist() == [-179.0, -177.5, -176.0, -174.5, *east]
    np.testing.assert_array_equal(shaped["zos"].values[0, 0], np.roll(moved["zos"].values[1], 4, axis=1))


@pytest.mark.parametrize("part", [Subset(variables=("to",)), Subset(leads=(0.0,)), Subset(depths=(500.0,))])
def test_what_oceanbench_cannot_be_given_is_refused(ocean: xr.Dataset, part: Subset) -> None:
    with pytest.raises(UsageError, match="export the whole ocean product"):
        oceanbench.shaped(subset.select(ocean, part))


# ---------------------------------------------------------------------------------------------------------- the command


def goms(*arguments: object) -> Result:
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_the_command_exports_a_part_from_a_web_server(
    small_cycle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GOMS_SCRATCH", str(tmp_path / "scratch"))
    options = ("--variables", "to, zos", "--box", "22,30,122,130", "--depths", "0:50", "--leads", "1,3")
    with published.web_server(small_cycle) as address:
        answer = goms("export", "ocean", f"{address}/small", *options)
    assert (answer.exit_code, answer.stdout) == (0, "goms-small-20240227T12-r1-ocean.nc\n")
    with xr.open_dataset(tmp_path / "goms-small-20240227T12-r1-ocean.nc") as part:
        assert dict(part["to"].sizes) == {"time": 2, "depth": 6, "latitude": 8, "longitude": 6}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ocean", "--format", "grib"), "choose one of netcdf, zarr2, oceanbench"),
        (("ice",), "choose one of biogeochemistry, kuroshio, ocean, waves"),
        (("ocean", "--box", "1,2,3"), "type it like 30,45,-20,10"),
        (("ocean", "--depths", "surface"), "needed numbers; found 'surface'; in --depths"),
    ],
)
def test_what_cannot_be_exported_is_exit_2_and_one_sentence(
    small_cycle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.setenv("GOMS_SCRATCH", str(tmp_path / "scratch"))
    answer = goms("export", arguments[0], small_cycle, *arguments[1:])
    assert (answer.exit_code, said in answer.stderr) == (2, True), answer.stderr


def test_numbers_are_read_as_people_write_them() -> None:
    part = readers.subset("to,so", "30,45,-20,10", "0:100", ":5")
    assert part == Subset(("to", "so"), (30.0, 45.0, -20.0, 10.0), slice(0.0, 100.0), slice(None, 5.0))
