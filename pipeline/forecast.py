"""Initial state -> thirty forecast days. Here is what a forecaster must be; ``models`` satisfies it unseen."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import RectBivariateSpline
from scipy.ndimage import distance_transform_edt

from pipeline import channels, contracts, forcing, output_gate
from pipeline.contracts import ForecastDay, InitialState
from pipeline.earth import landmask
from pipeline.errors import ForecastRefused, UsageError
from pipeline.grids import Grid
from pipeline.systems import System

Arrays = Mapping[str, NDArray[np.float32]]
"""The numpy treaty. Keys ``ocean``, ``waves``, ``biogeochemistry`` (state: what the next day starts from) and
``kuroshio`` (derived); values float32 in the registry's units, (channel, latitude, longitude), NaN on land."""
Masks = Mapping[str, NDArray[np.bool_]]
"""True on ocean, under the keys and of the shapes of ``Arrays``."""

STATE_ARRAYS = ("ocean", "waves", "biogeochemistry")
"""The arrays a step starts from; the others are derived from them."""

FORCING_TIME = "step_start"
"""The one forcing-time convention, in training and rollout: the step from day n to n + 1 sees the forcing of day n."""


class Forecaster(Protocol):
    """Arrays in, one day of named arrays out at a time.

    Day n + 1 depends on nothing but the arrays of day n as they were yielded and the forcing of that step: a
    rollout restarted from any yielded day gives the same bytes as one that was never stopped.
    """

    name: str
    """For people: ``persistence``, or the checkpoint's name."""
    digest: str
    """SHA-256 of the weights; empty where there are none."""
    trained_on: str
    """In words: what ocean the weights have seen."""
    ocean_channels: tuple[str, ...]
    """Labels of the ocean channels it takes and gives, in order (``channels.Channel.label``)."""
    forcing_channels: tuple[str, ...]
    """Labels of the forcing channels it takes, in order."""
    forcing_memory_days: Mapping[str, float]
    """How fast it was trained to see an anomaly of the weather fade, by variable (``forcing.DECORRELATION_DAYS``)."""

    def derive(self, state: Arrays) -> dict[str, NDArray[np.float32]]:
        """The arrays that follow from a state without a step (``kuroshio``), or none."""
        ...

    def roll_out(
        self, state: Arrays, forcing: Iterable[NDArray[np.float32]], after: int = 0
    ) -> Iterator[dict[str, NDArray[np.float32]]]:
        """Yield one day per forcing field: the state's arrays and what is derived from them.

        ``state``: the start, with ``ocean`` and any heads' own state. ``forcing``: for each step, the forcing
        (forcing_channel, latitude, longitude) valid at the *start* of that step, no NaN (``FORCING_TIME``).
        ``after``: the lead day of ``state``, 0 but for a rollout that is gone on with.
        """
        ...


def forecast(
    initial: InitialState,
    forecaster: Forecaster,
    system: System,
    *,
    resume: ForecastDay | None = None,
    masks: Masks | None = None,
) -> Iterator[ForecastDay]:
    """Yield lead day 0 (the initial state and what derives from it), then each day to the system's last.

    ``resume``: a day yielded before; the days after it follow, byte for byte as if never stopped. ``masks``: the
    system's own unless given. Raises ``UsageError`` where forecaster and system do not fit, before any compute;
    ``ForecastRefused`` where a day must not be published.
    """
    check_fit(forecaster, system)
    if resume is None:
        state = {name: initial[name].values for name in STATE_ARRAYS if name in initial}
        derived = forecaster.derive(state)
        masks = masks_of(system, (*state, *derived)) if masks is None else masks
        yield _checked({**state, **derived}, 0, initial, system, masks)
        first = 0
    else:
        state = {name: resume[name].values for name in STATE_ARRAYS if name in resume}
        masks = masks_of(system, tuple(str(name) for name in resume.data_vars)) if masks is None else masks
        first = int(resume["lead_day"])
    steps = system.forecast_days - first
    if steps > 0:
        fields = forcing.future_forcing(initial, system, steps, first, forecaster.forcing_memory_days)
        for lead, arrays in enumerate(forecaster.roll_out(state, fields, first), start=first + 1):
            yield _checked(arrays, lead, initial, system, masks)


def check_fit(forecaster: Forecaster, system: System) -> None:
    """``UsageError`` unless the forecaster's channels are the system's, in order."""
    for what, found, wanted in (
        ("ocean", forecaster.ocean_channels, channels.ocean(system.depths_m)),
        ("forcing", forecaster.forcing_channels, channels.forcing()),
    ):
        labels = tuple(channel.label for channel in wanted)
        if tuple(found) != labels:
            odd = sorted(set(found) ^ set(labels)) or ["the same ones in another order"]
            raise UsageError(
                f"a forecaster with the {len(labels)} {what} channels {labels[0]}..{labels[-1]}",
                found=f"{forecaster.name} with {len(found)} (differing: {', '.join(odd[:6])})",
                where=f"system {system.name}",
                action="pin the checkpoint that was trained for this system",
            )


def masks_of(system: System, names: Iterable[str]) -> dict[str, NDArray[np.bool_]]:
    """The system's ocean masks, True on ocean, for these arrays."""
    return {name: landmask.ocean_mask(system, name) for name in names}


def _checked(arrays: Arrays, lead: int, initial: InitialState, system: System, masks: Masks) -> ForecastDay:
    unknown = sorted(set(arrays) - set(masks))
    if unknown or "ocean" not in arrays:
        raise ForecastRefused(
            f"the arrays {', '.join(sorted(masks))} on every lead day", found=", ".join(sorted(arrays)) or "none",
            where=f"lead day {lead} of system {system.name}", action="look at the forecaster",
        )  # fmt: skip
    day = contracts.forecast_day(arrays, lead, initial, system, masks)
    output_gate.check(day, system)
    return day


class Persistence:
    """Tomorrow is as today: the yardstick every other forecaster is measured against, and a complete one.

    Every array stays as it started; the Kuroshio surface is the coarse surface interpolated bicubically.
    """

    name = "persistence"
    digest = ""
    trained_on = "nothing: it repeats the initial state"
    forcing_memory_days = forcing.DECORRELATION_DAYS

    def __init__(self, system: System, *, masks: Masks | None = None) -> None:
        """``masks``: the system's own unless given; the Kuroshio's is needed where the system has its grid."""
        self.ocean_channels = tuple(channel.label for channel in channels.ocean(system.depths_m))
        self.forcing_channels = tuple(channel.label for channel in channels.forcing())
        self._system = system
        self._masks = masks

    def derive(self, state: Arrays) -> dict[str, NDArray[np.float32]]:
        """``kuroshio`` (channel, latitude, longitude) where the system has that grid."""
        fine = self._system.kuroshio_grid
        if fine is None:
            return {}
        masks = masks_of(self._system, ("kuroshio",)) if self._masks is None else self._masks
        rows = [self.ocean_channels.index(channel.label) for channel in channels.surface_ocean()]
        fields = [bicubic(state["ocean"][row], self._system.grid, fine) for row in rows]
        return {"kuroshio": np.where(masks["kuroshio"], np.stack(fields), np.float32("nan"))}

    def roll_out(
        self, state: Arrays, forcing: Iterable[NDArray[np.float32]], after: int = 0
    ) -> Iterator[dict[str, NDArray[np.float32]]]:
        """The same arrays for every forcing field."""
        day = {**state, **self.derive(state)}
        for _ in forcing:
            yield dict(day)


def bicubic(field: NDArray[np.float32], coarse: Grid, fine: Grid, margin: int = 4) -> NDArray[np.float32]:
    """A coarse field (latitude, longitude) on a finer grid inside it, by bicubic spline; values everywhere.

    Land is first filled with the nearest ocean value, so that coasts are not dragged to a fill value. The spline
    sees ``margin`` cells beyond the fine grid. Overshoots are cut at the coarse field's extremes there.
    """
    rows = _window(coarse.latitude, fine.latitude, margin)
    columns = _window(coarse.longitude, fine.longitude, margin)
    window = _fill_nearest(field[rows, columns].astype(np.float64))
    spline = RectBivariateSpline(coarse.latitude[rows], coarse.longitude[columns], window, kx=3, ky=3)
    values = spline(fine.latitude, fine.longitude).clip(window.min(), window.max())
    return np.asarray(values, dtype=np.float32)


def _window(axis: NDArray[np.float64], wanted: NDArray[np.float64], margin: int) -> slice:
    first = int(np.searchsorted(axis, wanted[0], side="right")) - 1 - margin
    last = int(np.searchsorted(axis, wanted[-1], side="left")) + margin
    return slice(max(first, 0), min(last + 1, axis.size))


def _fill_nearest(field: NDArray[np.float64]) -> NDArray[np.float64]:
    land = np.isnan(field)
    if land.all():
        raise ForecastRefused(
            "an ocean cell to interpolate from", found="land only", where="bicubic interpolation",
            action="check the land mask and the fine grid's window",
        )  # fmt: skip
    nearest = distance_transform_edt(land, return_distances=False, return_indices=True)
    return np.asarray(field[tuple(nearest)])
