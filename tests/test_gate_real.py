"""The real Coral Sea goes through the gate and is accepted; corrupted in every way we know, it is refused or labelled.

Each corruption is done to a copy of the archives' own files, of the second of two days; the first day is what the store
remembers. The table of what was found is printed at the end.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, NamedTuple

import netCDF4
import numpy as np
import pytest

from pipeline import cycle, intake
from pipeline.earth import relief
from pipeline.errors import InputRefused
from pipeline.gate import measures
from pipeline.gate.limits import Check
from pipeline.gate.report import Finding, Report
from pipeline.gate.scene import Scene
from pipeline.gate.thresholds import Outcome
from pipeline.grids import Grid
from pipeline.intake import Asked
from pipeline.objects import staged
from pipeline.record import marks
from pipeline.store import Store
from pipeline.systems import CORAL_SEA
from pipeline.variables import Kind, variable

pytestmark = pytest.mark.realdata
OCEAN, WINDS = "hycom_coral_sea_20230101_20230102.nc", "era5_winds_coral_sea_20230101_20230104.nc"
FIRST, SECOND = date(2023, 1, 1), date(2023, 1, 2)
FILL = -30000
FIELDS = ("water_temp", "salinity", "water_u", "water_v", "surf_el")
Edit = Callable[[netCDF4.Dataset], None]


class Corruption(NamedTuple):
    """What is done to the file, and which check must say what of which field."""

    kind: Kind
    edit: Edit | Callable[[Path], None]
    check: str
    fields: tuple[str, ...]
    outcome: Outcome = Outcome.REFUSE


def values(file: netCDF4.Dataset, name: str, change: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> None:
    """Change the second day's values (float, and where they are sea), levels first where there are levels."""
    variable = file[name]
    packed = variable[1]
    sea = packed != FILL
    scale, offset = float(variable.scale_factor), float(variable.add_offset)
    real = np.where(sea, packed * scale + offset, np.nan)
    out = np.clip(np.round((np.nan_to_num(change(real, sea)) - offset) / scale), -29999, 32767)
    variable[1] = np.where(sea, out, FILL).astype(np.int16)


def times(factor: float, *names: str) -> Edit:
    def edit(file: netCDF4.Dataset) -> None:
        for name in names:
            values(file, name, lambda real, sea: real * factor)

    return edit


def level(file: netCDF4.Dataset, depth: float) -> int:
    return int(np.flatnonzero(file["depth"][:] == depth)[0])


def attribute(name: str, key: str, value: Any) -> Edit:
    return lambda file: file[name].setncattr(key, value)


def hours_later(hours: float) -> Edit:
    def edit(file: netCDF4.Dataset) -> None:
        file["time"][:] = file["time"][:] + hours

    return edit


def axis(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Edit:
    def edit(file: netCDF4.Dataset) -> None:
        file[name][:] = change(np.asarray(file[name][:]))

    return edit


def too_high(real: np.ndarray) -> np.ndarray:
    return np.where(np.arange(25) == 12, 7.3, real)


def half_missing(file: netCDF4.Dataset) -> None:
    file["water_u"][1, level(file, 100), :, 12:] = FILL


def renamed(file: netCDF4.Dataset) -> None:
    file.renameVariable("salinity", "salt")


def emptied(share: float) -> Edit:
    def edit(file: netCDF4.Dataset) -> None:
        packed = file["water_v"][:]
        packed[np.random.default_rng(7).random(packed.shape) < share] = FILL
        file["water_v"][:] = packed

    return edit


def all_moved(change: Callable[[np.ndarray], np.ndarray]) -> Edit:
    def edit(file: netCDF4.Dataset) -> None:
        for name in FIELDS:
            file[name][:] = change(file[name][:])

    return edit


def one_level(name: str, depth: float, change: Callable[[np.ndarray], np.ndarray]) -> Edit:
    def edit(file: netCDF4.Dataset) -> None:
        def changed(real: np.ndarray, sea: np.ndarray) -> np.ndarray:
            place = level(file, depth)
            real[place] = change(real[place])
            return real

        values(file, name, changed)

    return edit


def copied_level(file: netCDF4.Dataset) -> None:
    """250 m written over 300 m, where both are sea."""
    above, below = file["water_temp"][1, level(file, 250)], file["water_temp"][1, level(file, 300)]
    file["water_temp"][1, level(file, 300)] = np.where(below == FILL, FILL, above)
    file["water_temp"][1, level(file, 250)] = np.where(below == FILL, FILL, above)


def yesterday(*names: str) -> Edit:
    def edit(file: netCDF4.Dataset) -> None:
        for name in names:
            file[name][1] = file[name][0]

    return edit


def yesterday_at(name: str, depth: float) -> Edit:
    def edit(file: netCDF4.Dataset) -> None:
        place = level(file, depth)
        file[name][1, place] = file[name][0, place]

    return edit


def exchanged(one: str, other: str) -> Edit:
    def edit(file: netCDF4.Dataset) -> None:
        first, second = (file[name] for name in (one, other))
        real = [
            np.where(item[1] == FILL, np.nan, item[1] * item.scale_factor + item.add_offset) for item in (first, second)
        ]
        values(file, one, lambda _, sea: real[1])
        values(file, other, lambda _, sea: real[0])

    return edit


def upside_down(file: netCDF4.Dataset) -> None:
    """The levels of the first 500 m the other way up, gaps filled by the level's mean."""

    def change(real: np.ndarray, sea: np.ndarray) -> np.ndarray:
        top = level(file, 500) + 1
        means = np.nanmean(real[:top], axis=(1, 2), keepdims=True)
        whole = np.where(np.isnan(real[:top]), means, real[:top])
        real[:top] = whole[::-1]
        return real

    values(file, "water_temp", change)


def shifted_values(columns: int) -> Edit:
    """Values of a place further east, the coast as it was."""

    def change(real: np.ndarray, sea: np.ndarray) -> np.ndarray:
        mean = np.nansum(real, axis=(-2, -1), keepdims=True) / np.maximum(sea.sum(axis=(-2, -1), keepdims=True), 1)
        return np.roll(np.where(sea, real, mean), columns, axis=-1)

    def edit(file: netCDF4.Dataset) -> None:
        for name in ("water_u", "water_v"):
            values(file, name, change)

    return edit


def block(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(real: np.ndarray) -> np.ndarray:
        real = real.copy()
        real[10:26, 10:22] = value
        return real

    return change


def one_cell(step: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(real: np.ndarray) -> np.ndarray:
        real = real.copy()
        inside = np.isfinite(real) & np.isfinite(np.roll(real, (1, 1), (0, 1)) + np.roll(real, (-1, -1), (0, 1)))
        rows, columns = np.nonzero(inside[5:-5, 5:-5])
        real[rows[len(rows) // 2] + 5, columns[len(rows) // 2] + 5] += step
        return real

    return change


def broken_off(real: np.ndarray) -> np.ndarray:
    real = real.copy()
    real[35:] = real[35]
    return real


def saturated(real: np.ndarray) -> np.ndarray:
    return np.minimum(real, np.nanpercentile(real, 40))


def noise(real: np.ndarray) -> np.ndarray:
    return real + np.random.default_rng(3).normal(0, 1.5 * np.nanstd(real), real.shape)


def zeros_in(share: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda real: np.where(np.random.default_rng(5).random(real.shape) < share, 0.0, real)


def height(change: Callable[[np.ndarray], np.ndarray]) -> Edit:
    return lambda file: values(file, "surf_el", lambda real, sea: change(real))


def truncated(path: Path) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])


def damaged(path: Path) -> None:
    whole = bytearray(path.read_bytes())
    for start in range(len(whole) // 4, len(whole) - 20_000, 20_000):
        whole[start : start + 2000] = bytes(2000)
    path.write_bytes(whole)


def winds(change: Callable[[np.ndarray], np.ndarray], *names: str) -> Edit:
    """Change the hour of the second day's start, in the file's own numbers unpacked."""

    def edit(file: netCDF4.Dataset) -> None:
        file.set_auto_maskandscale(True)
        for name in names:
            file[name][24] = change(np.asarray(file[name][24], dtype=np.float64))

    return edit


def winds_of_yesterday(file: netCDF4.Dataset) -> None:
    for name in ("u10", "v10", "msl"):
        file[name][24] = file[name][0]


def wind_gap(file: netCDF4.Dataset) -> None:
    file.set_auto_maskandscale(True)
    file["u10"][24, 22, 34] = np.nan


SEA, AIR, LABEL = Kind.OCEAN, Kind.SURFACE, Outcome.LABEL
SWAPPED = exchanged("water_temp", "salinity")
BIT = one_level("water_temp", 500, one_cell(8.192))
CORRUPTIONS: dict[str, Corruption] = {
    "a variable missing": Corruption(SEA, renamed, "variables", ("so",)),
    "a depth missing": Corruption(SEA, axis("depth", lambda d: np.where(d == 125, 126, d)), "levels", ()),
    "a depth twice": Corruption(SEA, axis("depth", lambda d: np.where(d == 8, 6, d)), "levels", ()),
    "units say kelvin": Corruption(SEA, attribute("water_temp", "units", "K"), "units", ("to",)),
    "units say cm/s": Corruption(SEA, attribute("water_u", "units", "cm/s"), "units", ("uo",)),
    "no units": Corruption(SEA, lambda file: file["water_u"].delncattr("units"), "units", ("uo",)),
    "kelvin labelled degC": Corruption(SEA, attribute("water_temp", "add_offset", 293.15), "bounds", ("to",)),
    "98 % missing": Corruption(SEA, emptied(0.98), "coverage", ("vo",)),
    "nothing but nulls": Corruption(SEA, emptied(1.1), "coverage", ("vo",)),
    "one value everywhere": Corruption(
        SEA, lambda file: values(file, "salinity", lambda real, sea: real * 0 + 35), "constant", ("so",)
    ),
    "a level written twice": Corruption(SEA, copied_level, "repeated level", ("to",)),
    "one height of 7.3 m": Corruption(SEA, height(too_high), "bounds", ("zos",)),
    "stamps six hours late": Corruption(SEA, hours_later(6), "time stamps", ()),
    "stamps half an hour late": Corruption(SEA, hours_later(0.5), "time stamps", ()),
    "stamps twice": Corruption(SEA, axis("time", lambda t: np.full_like(t, t[1])), "time stamps", ()),
    "stamps that go back": Corruption(SEA, axis("time", lambda t: t[::-1]), "time stamps", ()),
    "stamps without a calendar": Corruption(SEA, attribute("time", "units", "hours since analysis"), "time stamps", ()),
    "a gap in latitude": Corruption(SEA, axis("lat", lambda y: np.where(np.arange(47) < 20, y, y + 1)), "axes", ()),
    "a longitude twice": Corruption(SEA, axis("lon", lambda x: np.where(np.arange(25) == 12, x[11], x)), "axes", ()),
    "truncated": Corruption(SEA, truncated, "file", ()),
    "damaged inside": Corruption(SEA, damaged, "file", ()),
    "latitude turned over": Corruption(SEA, axis("lat", lambda y: y[::-1]), "land", FIELDS),
    "moved by five columns": Corruption(SEA, all_moved(lambda p: np.roll(p, 5, axis=-1)), "land", FIELDS),
    "east is west": Corruption(SEA, all_moved(lambda p: p[..., ::-1]), "land", FIELDS),
    "half a level missing": Corruption(
        SEA, half_missing, "land", ("uo",)
    ),
    "yesterday's file again": Corruption(SEA, yesterday(*FIELDS), Check.STALE, ("to", "so", "uo", "vo", "zos")),
    "one level of yesterday": Corruption(SEA, yesterday_at("water_temp", 100), Check.STALE, ("to",)),
    "currents the other way": Corruption(SEA, times(-1, "water_u", "water_v"), Check.PATTERN, ("uo", "vo")),
    "east and north exchanged": Corruption(SEA, exchanged("water_u", "water_v"), Check.PATTERN, ("uo", "vo")),
    "heights upside down": Corruption(SEA, height(lambda real: -real), Check.BALANCE, ("zos",)),
    "heights in feet": Corruption(SEA, height(lambda real: real * 3.28), Check.SPREAD, ("zos",)),
    "currents in knots": Corruption(SEA, times(1.944, "water_u", "water_v"), Check.SPREAD, ("uo", "vo")),
    "currents in km/h": Corruption(SEA, times(3.6, "water_u", "water_v"), Check.SPREAD, ("uo", "vo")),
    "salinity in kg/kg": Corruption(SEA, times(0.001, "salinity"), "constant", ("so",)),
    "temperature upside down": Corruption(SEA, upside_down, Check.SEASON, ("to",)),
    "temperature and salinity exchanged": Corruption(SEA, SWAPPED, Check.SEASON, ("to", "so")),
    "a tenth of the anomaly": Corruption(
        SEA, lambda file: values(file, "surf_el", lambda real, sea: np.nanmean(real) + (real - np.nanmean(real)) / 10),
        Check.SPREAD, ("zos",),
    ),
    "a bit flipped at depth": Corruption(SEA, BIT, Check.SPIKES, ("to",), LABEL),
    "a tile of zeros": Corruption(SEA, one_level("water_temp", 50, block(0.0)), Check.LOCAL_JUMP, ("to",)),
    "a transfer that broke off": Corruption(SEA, one_level("salinity", 20, broken_off), Check.LINES, ("so",)),
    "noise": Corruption(SEA, one_level("water_temp", 30, noise), Check.JUMP, ("to",)),
    "zeros for nulls": Corruption(SEA, one_level("water_u", 0, zeros_in(0.4)), Check.COMMON, ("uo",)),
    "saturated": Corruption(
        SEA, one_level("water_temp", 0, saturated), Check.COMMON, ("to",)
    ),
    "values of another place": Corruption(SEA, shifted_values(6), Check.PATTERN, ("uo", "vo")),
    "pressure in hPa": Corruption(AIR, attribute("msl", "units", "hPa"), "units", ("msl",)),
    "pressure a hundredth": Corruption(AIR, winds(lambda real: real / 100, "msl"), "bounds", ("msl",)),
    "a gap in the wind": Corruption(AIR, wind_gap, "coverage", ("u10",)),
    "no wind at all": Corruption(AIR, winds(lambda real: real * 0 + 1, "u10"), "constant", ("u10",)),
    "yesterday's wind": Corruption(AIR, winds_of_yesterday, Check.STALE, ("u10", "v10", "msl")),
    "a wind that broke off": Corruption(AIR, winds(broken_off, "v10"), Check.LINES, ("v10",)),
}  # fmt: skip
OURS = {"water_temp": "to", "salinity": "so", "water_u": "uo", "water_v": "vo", "surf_el": "zos"}


@pytest.fixture(scope="module")
def remembered(realdata: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store that has taken in the first day's real ocean and winds."""
    folder = tmp_path_factory.mktemp("coral")
    store = Store(folder / "store")
    for kind in (Kind.OCEAN, Kind.SURFACE):
        asked = request(realdata, folder / "scratch", kind, FIRST)
        put = staged.save(store, f"{asked.cycle.run_prefix}/staged/{kind}.npz", intake.take_in(asked, store))
        marks.mark(store, asked.cycle, kind.value, "first", [put])
        assert report(store, asked).outcome is Outcome.ACCEPT
    return store


@pytest.fixture(scope="module")
def table(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Lines that are printed when all corruptions were tried."""
    lines: list[str] = []
    yield lines
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print(f"\n{'corruption':<36}{'outcome':<17}{'check':<36}{'field':<12}found (threshold)")
        print("\n".join(lines))


def request(inputs: Path, scratch: Path, kind: Kind, day: date) -> Asked:
    return Asked(CORAL_SEA, cycle.cycle("coral-sea", day, 0), kind, str(inputs), scratch)


def report(store: Store, asked: Asked) -> Report:
    return Report.model_validate(json.loads(store.read_bytes(intake.report_path(asked.cycle, asked.kind))))


def corrupted(folder: Path, realdata: Path, corruption: Corruption) -> Path:
    folder.mkdir()
    name = OCEAN if corruption.kind is Kind.OCEAN else WINDS
    path = Path(shutil.copyfile(realdata / name, folder / name))
    path.chmod(0o644)
    if corruption.edit in (truncated, damaged):
        corruption.edit(path)  # type: ignore[arg-type]
        return folder
    with netCDF4.Dataset(path, "r+") as file:
        file.set_auto_maskandscale(False)
        corruption.edit(file)  # type: ignore[arg-type]
    return folder


def found_in(report: Report, corruption: Corruption) -> Finding:
    """The finding of the right check, of one of the fields that are wrong."""
    names = {OURS.get(name, name) for name in corruption.fields}
    mine = [item for item in report.findings if item.check == corruption.check and (not names or item.field in names)]
    assert mine, [(item.check, item.field, item.found) for item in report.findings]
    return mine[0]


def test_the_last_cells_are_in_a_block_too() -> None:
    """Twenty rows and thirteen columns: a third block of rows and a second of columns, which end where they do."""
    change = np.zeros((20, 13))
    change[16:, 8:] = 1.0
    means = measures._block_means(change)
    assert means.shape == (3, 2)
    assert np.argwhere(means).tolist() == [[2, 1]]
    assert means[2, 1] == 4 * 5 / 64
    bad = measures._block(change.shape, (np.intp(2), np.intp(1)))
    assert bad.sum() == bad[12:, 5:].sum() == 64


@pytest.mark.parametrize("kind", [Kind.OCEAN, Kind.SURFACE])
def test_the_real_second_day_is_accepted_beside_the_first(
    realdata: Path, remembered: Store, tmp_path: Path, kind: Kind
) -> None:
    asked = request(realdata, tmp_path, kind, SECOND)
    intake.take_in(asked, remembered)
    made = report(remembered, asked)
    assert (made.outcome, made.findings) == (Outcome.ACCEPT, ())
    beside = {measure.check for measure in made.measures}
    assert {Check.STALE, Check.JUMP, Check.SEASON} <= beside
    assert set(made.not_done) == {Check.FORECAST, Check.FORECAST_PATTERN}


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_corrupted_input_is_refused_or_labelled_by_the_right_check(
    realdata: Path, remembered: Store, tmp_path: Path, table: list[str], name: str
) -> None:
    corruption = CORRUPTIONS[name]
    asked = request(corrupted(tmp_path / "inputs", realdata, corruption), tmp_path, corruption.kind, SECOND)
    if corruption.outcome is Outcome.REFUSE:
        with pytest.raises(InputRefused) as caught:
            intake.take_in(asked, remembered)
        assert caught.value.exit_code == 4
        assert "\n" not in str(caught.value)
    else:
        intake.take_in(asked, remembered)
    made = report(remembered, asked)
    finding = found_in(made, corruption)
    assert (made.outcome, finding.outcome) == (corruption.outcome, corruption.outcome)
    assert finding.found
    assert finding.needed
    if finding.check in set(Check):
        assert finding.value is not None
        assert finding.threshold is not None
        assert finding.origin
        picture = remembered.read_bytes(intake.report_path(asked.cycle, asked.kind).replace(".json", ".png"))
        assert picture.startswith(b"\x89PNG")
    first = f"{finding.found[:60]} ({finding.needed[:50]})"
    table.append(f"{name:<36}{made.outcome:<17}{finding.check:<36}{finding.field:<12}{first}")


def test_there_are_forty_kinds() -> None:
    assert len(CORRUPTIONS) >= 40


@pytest.mark.parametrize(
    ("south", "west", "rows", "columns", "highest"),
    [(-12.0, 135.0, 14, 20, 1500.0), (-24.0, 155.0, 9, 13, 10.0)], ids=("New Guinea", "New Caledonia"),
)  # fmt: skip
def test_islands_are_no_spikes_of_pressure_and_temperature_and_a_wrong_value_at_sea_is(
    south: float, west: float, rows: int, columns: int, highest: float
) -> None:
    """12 Pa a metre over the land, on a sea of 1 hPa from west to east, and 5 degrees colder; then one wrong cell."""
    grid = Grid(south=south, west=west, latitude_step=1.0, longitude_step=1.0, rows=rows, columns=columns)
    land = relief.land_height(grid)
    assert land.max() > highest
    weather = np.linspace(0, 100, columns)
    fields = {"sp": 101000 + weather - 12 * land, "t2m": 300 + weather / 100 - 5 * (land > 0)}
    fields = {name: values.astype(np.float32) for name, values in fields.items()}
    scene, pad = Scene(fields, grid, (), datetime(2023, 1, 1, tzinfo=UTC)), np.pad(land, 1, mode="edge")
    beside = np.maximum.reduce([land, pad[2:, 1:-1], pad[:-2, 1:-1], pad[1:-1, 2:], pad[1:-1, :-2]])
    row, column = np.argwhere(beside[1:-1, 1:-1] == 0)[0] + 1

    def largest() -> list[float]:
        return [measure.value for name in fields for measure in measures.spikes(scene, variable(name))]

    assert max(largest()) < 4
    fields["sp"][row, column] -= 2000
    fields["t2m"][row, column] -= 20
    assert min(largest()) > 4
