"""Forecasting systems: grids, depths, the ladder of sources for each input, checkpoint, products."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from pipeline import products as p
from pipeline import variables as v
from pipeline.errors import UsageError
from pipeline.grids import Grid
from pipeline.variables import Entry, Kind

ForcingPolicy = Literal["analysis", "persistence", "relaxed", "forecast"]
"""What a forecast takes for the weather to come; ``analysis`` is the weather that came, which only a hindcast has."""


class Rung(Entry):
    """One source of a ladder.

    ``maximum_age_days``: how old its input may be (0: the day itself). ``usual_age_days``: how late the archive
    always is: an input no older than that is told with its age and is not degraded by it. ``expected``: False where
    the archive ordinarily has nothing of a start when it is new (a finished reanalysis): what it has is taken, and what
    it has not is neither waited for nor a reason to call what is taken degraded.
    """

    source: str
    expected: bool = True
    maximum_age_days: float = Field(default=0.0, ge=0)
    usual_age_days: float = Field(default=0.0, ge=0)


def rungs(
    *sources: str, maximum_age_days: float = 0.0, usual_age_days: float = 0.0, expected: bool = True
) -> tuple[Rung, ...]:  # fmt: skip
    """Rungs that are all alike but for their sources, first source first."""
    return tuple(
        Rung(source=source, maximum_age_days=maximum_age_days, usual_age_days=usual_age_days, expected=expected)
        for source in sources
    )


class Ladder(Entry):
    """The ordered sources of one kind of input. A lower rung is used only with its reason on the product.

    ``required``: without it there is no forecast; otherwise its product is left out, and the cycle says so. Hours
    after the cycle's start: ``expected_by_hours``, when the first rung ordinarily has it; ``ready_by_hours``, until
    when a scheduled run waits for the first rung, and for none but it; ``give_up_hours``, until when it waits for any.
    They are no part of what a forecast is. All 0: nothing is waited for.
    """

    kind: Kind
    rungs: tuple[Rung, ...] = Field(min_length=1)
    required: bool
    expected_by_hours: float = Field(default=0.0, ge=0, exclude=True)
    ready_by_hours: float = Field(default=0.0, ge=0, exclude=True)
    give_up_hours: float = Field(default=0.0, ge=0, exclude=True)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.expected_by_hours <= self.ready_by_hours <= self.give_up_hours:
            raise ValueError(f"{self.kind}: expected, ready and give-up hours must not decrease")
        return self

    @property
    def sources(self) -> tuple[str, ...]:
        """The names of the sources, first rung first."""
        return tuple(rung.source for rung in self.rungs)

    def oldest_days(self, source: str) -> float:
        """How old the input of a source may be; of one that is not on the ladder, 0."""
        return max((rung.maximum_age_days for rung in self.rungs if rung.source == source), default=0.0)


class CheckpointPin(Entry):
    """The checkpoint a system runs: a folder under ``models/checkpoints`` and the SHA-256 it must have."""

    folder: str
    sha256: str


class Schedule(Entry):
    """When a system's daily cycle is made, and by when it must be there.

    ``cron`` (minute hour * * *, UTC) is when the daily run fires, for the cycle that started ``days_back`` days before
    the firing's date; ``reason`` says why then. ``publish_by_hours``: after the cycle's start, its deadline.
    ``skip_after_hours``: a run this much later than the cycle's start is not made by the schedule any more.
    """

    cron: str
    days_back: int = Field(ge=0)
    reason: str
    publish_by_hours: float = Field(gt=0)
    skip_after_hours: float = Field(gt=0)


class Retention(Entry):
    """How long what a system made is kept; what is never removed is in ``pipeline.operations.retention``.

    An edition is kept for ``keep_days`` after it was published: its last lead day can be scored only then. Of the
    ``keep_newest`` cycles that are published none is removed for its age, and of more than ``keep_at_most`` the oldest
    are. A revision that was replaced is kept for ``replaced_days``. What is taken from readers' sight lies there for
    ``reading_hours`` more, for those who are reading it. What a run left unfinished is kept for ``abandoned_hours``
    after its last sign of life: longer than the schedule would still run the cycle. Scores and journals are kept for
    ``records_days`` after the last entry. Of the scoreboard the newest ``scores_days`` days are kept: three years are
    three gigabytes for the globe; the alarm on skill looks at the newest hundred.
    """

    keep_days: float = Field(default=35.0, gt=0)
    keep_newest: int = Field(default=3, ge=1)
    keep_at_most: int | None = Field(default=None, ge=1)
    replaced_days: float = Field(default=7.0, ge=0)
    reading_hours: float = Field(default=12.0, ge=0)
    abandoned_hours: float = Field(default=96.0, gt=0)
    records_days: float = Field(default=400.0, gt=0)
    scores_days: int = Field(default=1100, ge=1)


class System(Entry):
    """One forecasting system. Grids that are ``None`` have no product; without a ``schedule`` it is run by hand."""

    name: str
    title: str
    region: str
    grid: Grid
    depths_m: tuple[float, ...] = v.DEPTHS_M
    ocean_variables: tuple[str, ...] = Field(default=tuple(entry.name for entry in v.OCEAN), min_length=1)
    wave_grid: Grid | None = None
    biogeochemistry_grid: Grid | None = None
    kuroshio_grid: Grid | None = None
    start_hour: int = Field(ge=0, le=23, description="hour of the initial snapshot, UTC")
    forecast_days: int = Field(default=30, ge=1)
    forcing_policy: ForcingPolicy = "relaxed"
    ladders: tuple[Ladder, ...]
    products: tuple[p.ProductEntry, ...]
    series: tuple[str, ...] = Field(default=(), description="products laid out a second time, for series at a point")
    checkpoint: CheckpointPin | None = None
    schedule: Schedule | None = None
    retention: Retention = Field(default=Retention(), exclude=True, description="no part of what a forecast is")
    real_ocean: bool = Field(description="False where the ocean is the twin: nobody may take it for the real one")

    @model_validator(mode="after")
    def _kept_until_scored(self) -> Self:
        least = self.forecast_days + 1
        if self.retention.keep_days < least:
            raise ValueError(
                f"{self.name}: a forecast of {self.forecast_days} days must be kept for {least} days or more, until "
                f"its last day has an analysis to be scored by: not keep_days {self.retention.keep_days:g}"
            )
        return self

    def ladder(self, kind: Kind) -> Ladder | None:
        """The ladder of a kind of input, if the system has one."""
        return next((ladder for ladder in self.ladders if ladder.kind == kind), None)

    def variables_of(self, kind: Kind) -> tuple[v.Variable, ...]:
        """What the system has of a kind of input, in registry order."""
        entries = v.of_kind(kind)
        return tuple(e for e in entries if e.name in self.ocean_variables) if kind is Kind.OCEAN else entries

    def grid_of(self, kind: Kind) -> Grid:
        """The grid a kind of input is brought to."""
        chosen = {Kind.WAVES: self.wave_grid, Kind.BIOGEOCHEMISTRY: self.biogeochemistry_grid}.get(kind, self.grid)
        return chosen or self.grid

    def product_grid(self, product: p.ProductEntry) -> Grid:
        """The grid a product is published on."""
        grid: Grid | None = getattr(self, product.grid)
        if grid is None:
            raise ValueError(f"system {self.name!r} publishes {product.name!r} but has no {product.grid}")
        return grid


_ONE_DEGREE = Grid(south=-89.5, west=0.5, latitude_step=1.0, longitude_step=1.0, rows=180, columns=360)
_KUROSHIO_BOX = {"south": 21.0, "north": 45.0, "west": 125.0, "east": 180.0}

TWIN = System(
    name="twin", title="The embedded twin ocean, global, 1 degree", region="Global ocean (synthetic twin)",
    grid=_ONE_DEGREE, wave_grid=_ONE_DEGREE, biogeochemistry_grid=_ONE_DEGREE,
    kuroshio_grid=_ONE_DEGREE.window(**_KUROSHIO_BOX).refined(3), start_hour=12, real_ocean=False,
    ladders=(
        Ladder(kind=Kind.OCEAN, rungs=rungs("twin"), required=True),
        Ladder(kind=Kind.SURFACE, rungs=rungs("twin", "climatology"), required=True),
        Ladder(kind=Kind.WAVES, rungs=rungs("twin"), required=False),
        Ladder(kind=Kind.BIOGEOCHEMISTRY, rungs=rungs("twin"), required=False),
    ),
    products=p.PRODUCTS,
    schedule=Schedule(
        cron="17 6 * * *", days_back=1, publish_by_hours=24.0, skip_after_hours=72.0,
        reason="yesterday's 12 UTC start, when real archives have it; off the full hour, when everybody else fires",
    ),
    checkpoint=CheckpointPin(folder="twin", sha256="98bb5c5405348cba8b5fb1e78e80ced14b28e340d9ff99cb8393a9401b587729"),
)  # fmt: skip

_CORAL_SEA_MODEL = CheckpointPin(
    folder="coral-sea", sha256="5cba19da531dfb0be7af5578d2c4a04f3ee5f69f74625625d553c705b026f904"
)

CORAL_SEA = System(
    name="coral-sea", title="Coral Sea on HYCOM's own points, 0.2 x 0.4 degrees", region="Coral Sea",
    grid=Grid(south=-24.64, west=144.96, latitude_step=0.2, longitude_step=0.4, rows=44, columns=24),
    start_hour=0, real_ocean=True,
    ladders=(
        Ladder(kind=Kind.OCEAN, rungs=rungs("hycom"), required=True),
        Ladder(kind=Kind.SURFACE, rungs=rungs("era5", "climatology"), required=True),
        Ladder(kind=Kind.WAVES, rungs=rungs("era5"), required=False),
        Ladder(kind=Kind.BIOGEOCHEMISTRY, rungs=rungs("nobm"), required=False),
    ),
    products=(p.OCEAN,), checkpoint=_CORAL_SEA_MODEL,
)  # fmt: skip

CORAL_SEA_TWIN = System(
    name="coral-sea-twin", title="The twin ocean on the Coral Sea's points", region="Coral Sea (synthetic twin)",
    grid=CORAL_SEA.grid, start_hour=CORAL_SEA.start_hour, real_ocean=False,
    ladders=(
        Ladder(kind=Kind.OCEAN, rungs=rungs("twin"), required=True),
        Ladder(kind=Kind.SURFACE, rungs=rungs("twin", "climatology"), required=True),
    ),
    products=(p.OCEAN,), checkpoint=_CORAL_SEA_MODEL,
)  # fmt: skip
"""Where the Coral Sea's model is trained and rehearsed: no real archive of that sea is long enough at hand."""

_QUARTER_DEGREE = Grid(south=-90.0, west=0.0, latitude_step=0.25, longitude_step=0.25, rows=720, columns=1440)
_ERA5 = ("era5-arco", "era5-cds", "era5")
_OLD_ERA5 = rungs(*_ERA5, maximum_age_days=7.0, usual_age_days=6.0)
"""ERA5's preliminary product is five to six days behind; one day more for a day on which it is late.

A past start gets ERA5 of its own instant. A new one gets the weather service's analysis of it before an ERA5 that is
six days old: of an anomaly of the wind, which lives two days (``forcing.DECORRELATION_DAYS``), a twentieth is left by
then, and the two come from one centre's model; only where no analysis is to be had does the old one stand in."""
_NIGHT = {"expected_by_hours": 18.0, "ready_by_hours": 20.0, "give_up_hours": 22.0}
"""The daily run fires 18 hours after the start. Two hours for the first rung and two for any leave two before the
cycle is due."""
GLOBAL_QUARTER_DEGREE = System(
    name="global-quarter-degree", title="AI-GOMS's own grid, global, 1/4 degree", region="Global ocean",
    grid=_QUARTER_DEGREE,
    wave_grid=Grid(south=-90.0, west=0.0, latitude_step=0.5, longitude_step=0.5, rows=360, columns=720),
    biogeochemistry_grid=_ONE_DEGREE,
    kuroshio_grid=_QUARTER_DEGREE.window(south=21.2, north=51.1, west=124.6, east=182.1).refined(3),
    start_hour=12, real_ocean=True,
    ladders=(
        Ladder(
            kind=Kind.OCEAN, required=True, **_NIGHT, rungs=rungs("hycom-espc", "hycom-gofs", "hycom", "copernicus")
        ),
        Ladder(
            kind=Kind.SURFACE, required=True, **_NIGHT,
            rungs=(*rungs(*_ERA5, expected=False), *rungs("ifs", "gfs"), *_OLD_ERA5, *rungs("climatology")),
        ),
        Ladder(
            kind=Kind.WAVES, required=False, **_NIGHT,
            rungs=(*rungs(*_ERA5, expected=False), *rungs("ifs", "copernicus"),
                   *rungs("own-forecast", maximum_age_days=5.0), *_OLD_ERA5),
        ),
        Ladder(
            kind=Kind.BIOGEOCHEMISTRY, required=False,
            rungs=(*rungs("nobm-dap", "nobm", expected=False),
                   *rungs("own-forecast", maximum_age_days=30.0, usual_age_days=30.0),
                   *rungs("copernicus", "climatology")),
        ),
        Ladder(kind=Kind.FORCING, required=False, **_NIGHT, rungs=rungs("ifs", "gfs", maximum_age_days=1.0)),
    ),
    forcing_policy="forecast", products=p.PRODUCTS, series=tuple(entry.name for entry in p.PRODUCTS),
    schedule=Schedule(
        cron="17 6 * * *", days_back=1, publish_by_hours=24.0, skip_after_hours=72.0,
        reason="a night after HYCOM's 12 UTC analysis; off the full hour, when everybody else asks",
    ),
)  # fmt: skip

SYSTEMS: tuple[System, ...] = (TWIN, CORAL_SEA, CORAL_SEA_TWIN, GLOBAL_QUARTER_DEGREE)


AGULHAS = System(
    name="agulhas", title="GlobCurrent surface currents off the Agulhas, 0.25 degrees", region="Agulhas Current",
    grid=Grid(south=-40.125, west=14.875, latitude_step=0.25, longitude_step=0.25, rows=40, columns=80),
    depths_m=(0.0,), ocean_variables=("uo", "vo"), start_hour=0, forcing_policy="persistence", real_ocean=True,
    ladders=(Ladder(kind=Kind.OCEAN, rungs=rungs("globcurrent"), required=True),), products=(),
)  # fmt: skip
"""Observed currents alone: the northernmost row and easternmost column of the file are left out, for whole patches."""

STUDIES: tuple[System, ...] = (AGULHAS,)
"""What can be archived and trained on, and is not forecast as a service: no products."""


def system(name: str) -> System:
    """The system with this name; ``UsageError`` lists what there is."""
    for entry in SYSTEMS + STUDIES:
        if entry.name == name:
            return entry
    raise UsageError(
        "the name of a forecasting system",
        found=repr(name),
        where="--system",
        action=f"choose one of {', '.join(s.name for s in SYSTEMS + STUDIES)}",
    )
