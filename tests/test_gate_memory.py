"""What the gate remembers of yesterday: what is lost or damaged of it is told, and stops nothing."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest
import xarray as xr

from pipeline.gate import judging, memory
from pipeline.gate.limits import OF_FORECAST, OF_YESTERDAY, Check
from pipeline.gate.report import Report
from pipeline.gate.scene import scene_of
from pipeline.store import Store
from pipeline.variables import Kind
from tests import small_ocean as small
from tests.published import PREFIX

DAY = f"the cycle {small.CYCLE.key}"
TODAY = small.CYCLE._replace(start=small.CYCLE.start + timedelta(days=1))


def judged(store: Store) -> Report:
    """Today's ocean, which is as it was forecast, beside what a store has of yesterday."""
    with xr.open_zarr(store.address(f"{PREFIX}/ocean.zarr"), chunks=None) as product:
        today = product.isel(time=2)[["so", "uo"]].load()
    with ExitStack() as stack:
        past = memory.remembered(store, small.SYSTEM, TODAY, Kind.OCEAN, stack)
        scene = scene_of(today, small.SYSTEM.grid, TODAY.start, yesterday=past.yesterday, forecast=past.forecast,
                         absent=past.absent)  # fmt: skip
        return judging.judge(scene, Kind.OCEAN, "small", TODAY.key, ("test",)).report


def compared(report: Report, checks: set[Check]) -> set[str]:
    return {measure.field for measure in report.measures if measure.check in checks}


def test_yesterdays_fields_that_can_be_read_are_compared_with(own_cycle: Store) -> None:
    report = judged(own_cycle)
    assert compared(report, OF_YESTERDAY) == compared(report, OF_FORECAST) == {"so", "uo"}
    assert set(report.not_done) == {Check.SEASON}


def test_a_shard_of_yesterdays_that_was_cut_off_or_lost_is_told_and_todays_ocean_is_judged(own_cycle: Store) -> None:
    path = f"{PREFIX}/ocean.zarr/so/c/0/0/0/0"
    whole = own_cycle.read_bytes(path)
    own_cycle.write_bytes(path, whole[: len(whole) // 2])
    own_cycle.delete(f"{PREFIX}/ocean.zarr/uo/c/1/0/0/0")
    report = judged(own_cycle)
    assert compared(report, OF_YESTERDAY) == {"uo"}
    assert compared(report, OF_FORECAST) == {"so"}
    assert {report.not_done[check] for check in OF_YESTERDAY} == {f"so of {DAY} cannot be read: ValueError"}
    assert {report.not_done[check] for check in OF_FORECAST} == {f"uo of {DAY} cannot be read: CheckFailed"}


def test_a_product_whose_coordinates_are_lost_is_told(own_cycle: Store) -> None:
    own_cycle.delete(f"{PREFIX}/ocean.zarr/time/c/0")
    with ExitStack() as stack:
        past = memory.remembered(own_cycle, small.SYSTEM, TODAY, Kind.OCEAN, stack)
    assert past.absent == dict.fromkeys(("yesterday", "forecast"), f"{DAY} cannot be read: CheckFailed")


@pytest.mark.parametrize(
    "change",
    [
        {"depths_m": (*small.SYSTEM.depths_m[:-1], 700.0)},
        {"grid": small.SYSTEM.grid.model_copy(update={"columns": 6})},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_system_that_was_changed_is_not_compared_with_its_other_points(own_cycle: Store, change: Any) -> None:
    system = small.SYSTEM.model_copy(update=change)
    with ExitStack() as stack:
        past = memory.remembered(own_cycle, system, TODAY, Kind.OCEAN, stack)
    words = f"{DAY} is on other points"
    assert past == (None, None, {"yesterday": words, "forecast": words})
