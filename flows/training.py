"""``goms archive`` and ``goms train``: many days as one Zarr, and a checkpoint made from them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from flows import clock
from flows.progress import progress
from flows.stages import code_version
from models import backbone, checkpoint, recipes, training
from models.backbone import Architecture
from models.checkpoint import About
from models.heads import DownscalingArchitecture, StateHeadArchitecture, Window
from models.normalisation import Transform
from models.recipes import Recipe
from models.training import Plan
from pipeline import archive as archives
from pipeline import channels, systems
from pipeline.archive import TrainingArchive
from pipeline.errors import UsageError
from pipeline.grids import Grid
from pipeline.settings import Settings
from pipeline.systems import System
from pipeline.variables import Variable, variable

PRESETS: dict[str, tuple[Architecture, Recipe]] = {
    "paper": (backbone.PAPER, recipes.PAPER_RECIPE),
    "twin": (backbone.TWIN, recipes.TWIN_RECIPE),
    "regional": (backbone.REGIONAL, recipes.REGIONAL_RECIPE),
}
"""Architecture of the backbone and recipe, by the name operators type."""

HELD_GIB = 4.0
"""Memory that training days already read may fill, GiB: the rest is read from the archive again."""
SAID_EVERY = 50
"""Training steps between two lines."""


def archive(
    first: str, last: str, out: str, system: str, inputs: str | None, workers: int, seed: int
) -> None:  # fmt: skip
    """Build or go on with a training archive and say what it holds."""
    entry, settings = systems.system(system), Settings()
    days = [clock.cycle_of(entry, day).start.date() for day in (first, last)]
    built = archives.build(
        entry, days[0], days[1], out, scratch=settings.scratch / "archive", inputs=inputs or settings.inputs,
        seed=seed, workers=workers, progress=lambda done, of, said: progress().say(f"{done} of {of}  {said}"),
    )  # fmt: skip
    progress().say(f"{built.held} days held, {len(built.missing)} missing, in {out}")


def train(archive_path: str, out: Path, preset: str, system: str, seed: int) -> None:
    """Train by a preset and write the checkpoint; prints the pin to give to the system."""
    days = TrainingArchive(archive_path, systems.system(system))
    plan = plan_of(days, preset, seed)
    trained = training.train(days, plan, _say, hold_bytes=int(HELD_GIB * 2**30))
    digest = checkpoint.save(out, trained.suite, trained.card)
    progress().say(f'{out}: CheckpointPin(folder="{out.name}", sha256="{digest}")')


def plan_of(days: TrainingArchive, preset: str, seed: int) -> Plan:
    """What a preset trains on an archive: the backbone, and a head for every array the archive has."""
    if preset not in PRESETS:
        raise UsageError("a preset", found=repr(preset), where="--preset", action=f"one of {', '.join(PRESETS)}")
    system, (architecture, recipe) = days.system, PRESETS[preset]
    if (architecture.rows, architecture.columns) != system.grid.shape:
        raise UsageError(
            f"a preset for the grid {system.grid.shape} of system {system.name}",
            found=f"{preset} for {(architecture.rows, architecture.columns)}", where="--preset",
            action=f"one of {', '.join(PRESETS)} that fits, or a new one in flows/training.py",
        )  # fmt: skip
    recipe = recipe.model_copy(update={"seed": seed})
    return Plan(
        _about(days, preset, recipe), architecture, recipe, system.grid.latitude,
        waves=_state_head(days, "waves", system.wave_grid, architecture),
        biogeochemistry=_state_head(days, "biogeochemistry", system.biogeochemistry_grid, architecture),
        kuroshio=_downscaling(days, system, architecture),
    )  # fmt: skip


def _about(days: TrainingArchive, preset: str, recipe: Recipe) -> About:
    ocean = days.system.region if days.system.real_ocean else "the synthetic twin, not the real ocean"
    last = days.first_day + timedelta(days=days.days - 1)
    return About(
        name=f"{days.system.name}-{preset}", trained_on=f"{ocean}, {days.system.title}",
        data_span=f"{days.first_day}..{last}", recipe=recipe.model_dump_json(), seed=recipe.seed,
        created=str(clock.today()), code_version=code_version(),
    )  # fmt: skip


def _state_head(
    days: TrainingArchive, name: str, grid: Grid | None, architecture: Architecture
) -> StateHeadArchitecture | None:
    if name not in days.channels or grid is None:
        return None
    labels = days.channels[name]
    entries = [variable(channels.parse(label).variable) for label in labels]
    return StateHeadArchitecture(
        channels=labels, transforms=tuple(transform_of(entry) for entry in entries),
        forcing=tuple(c.label for c in channels.forcing() if name == "waves" and c.variable in ("u10", "v10")),
        rows=grid.rows, columns=grid.columns, patch=_divisor(grid.shape, architecture.patch),
        periodic=architecture.periodic,
    )  # fmt: skip


def _downscaling(days: TrainingArchive, system: System, architecture: Architecture) -> DownscalingArchitecture | None:
    fine = system.kuroshio_grid
    if "kuroshio" not in days.channels or fine is None:
        return None
    grid = system.grid
    south = round((fine.latitude_edges[0] - grid.latitude_edges[0]) / grid.latitude_step)
    west = round((fine.longitude_edges[0] - grid.longitude_edges[0]) / grid.longitude_step)
    factor = round(grid.latitude_step / fine.latitude_step)
    window = Window(south=south, north=south + fine.rows // factor, west=west, east=west + fine.columns // factor)
    return DownscalingArchitecture(
        channels=days.channels["kuroshio"], window=window, patch=architecture.patch, factor=factor
    )


def transform_of(entry: Variable) -> Transform:
    """How a quantity is modelled: angles as vectors, what spans decades as logarithms, what has no sign as such."""
    if entry.circular:
        return "angle"
    if entry.logarithmic:
        return "log"
    return "nonnegative" if entry.lower >= 0 else "identity"


def _divisor(shape: Iterable[int], most: int) -> int:
    """The largest patch up to the backbone's that cuts a grid evenly."""
    sizes = tuple(shape)
    return next(patch for patch in range(most, 0, -1) if all(size % patch == 0 for size in sizes))


def _say(step: training.Progress) -> None:
    if step.step % SAID_EVERY == 0 or step.step == step.steps:
        progress().say(f"{step.stage} {step.step} of {step.steps}: loss {step.loss:.4f}, rate {step.rate:.2e}")
