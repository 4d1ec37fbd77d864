"""``goms archive`` and ``goms train``: many days as one Zarr, and a checkpoint made from them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError
from rich.markup import escape

from flows import clock
from flows.desk import validation
from flows.journey.stages import code_version
from flows.progress import progress
from flows.service.upkeep import ARCHIVE
from models import backbone, checkpoint, ranks, recipes, training
from models.backbone import Architecture
from models.checkpoint import About, Checkpoint
from models.engine import Engine
from models.forecaster import load
from models.heads import DownscalingArchitecture, StateHeadArchitecture, Window
from models.normalisation import Transform
from models.plans import Keeping, Plan, Report
from models.ranks import Ranks
from models.recipes import Recipe
from pipeline import channels, systems
from pipeline.cycle import cycle
from pipeline.errors import UsageError
from pipeline.settings import Settings
from pipeline.training import archive as archives
from pipeline.training import archive_check, archive_statistics
from pipeline.training.archive_contract import Contract
from pipeline.training.training_archive import TrainingArchive
from pipeline.variables import Variable, variable

PRESETS: dict[str, tuple[Architecture, Recipe]] = {
    "paper": (backbone.PAPER, recipes.PAPER_RECIPE),
    "twin": (backbone.TWIN, recipes.TWIN_RECIPE),
    "regional": (backbone.REGIONAL, recipes.REGIONAL_RECIPE),
    "agulhas": (backbone.AGULHAS, recipes.AGULHAS_RECIPE),
}
"""Architecture of the backbone and recipe, by the name operators type; grid and channels are the archive's."""
PARTS: dict[str, tuple[str, ...]] = {
    "all": ("waves", "biogeochemistry", "kuroshio"), "backbone": (), "waves": ("waves",),
    "biochemistry": ("biogeochemistry",), "downscaling": ("kuroshio",),
}  # fmt: skip
"""What can be trained, by the name operators type, and the arrays whose heads that is; `all` is a backbone and them."""

HELD_GIB = 4.0
"""Memory that training days already read may fill, GiB: the rest is read from the archive again."""


class Asked(NamedTuple):
    """What an operator asked for. ``part``: of ``PARTS``; ``changes``: ``name=value`` of recipe or architecture.

    ``trust_archive``: its days are not looked at before they are trained on.
    """

    part: str
    preset: str
    seed: int = 0
    changes: tuple[str, ...] = ()
    backbone: Path | None = None
    validate_until: str | None = None
    device: str = "auto"
    every: int = 200
    trust_archive: bool = False


def archive(
    span: tuple[str, str], out: str, system: str, inputs: str | None, workers: int, seed: int, fit_until: str | None
) -> None:
    """Build or go on with a training archive and say what it holds."""
    entry, settings = systems.system(system), Settings()
    first, last = (clock.cycle_of(entry, day).start.date() for day in span)
    fitted = last if fit_until is None else clock.cycle_of(entry, fit_until).start.date()
    who = archives.Workers(workers, max(1, settings.threads // workers), settings.dask_scheduler)
    built = archives.build(
        entry, first, last, out, scratch=settings.scratch / ARCHIVE, inputs=inputs or settings.inputs, seed=seed,
        workers=who, fit=(first, fitted), archives=settings.archives,
        progress=lambda done, of, said: progress().say(escape(f"{done} of {of}  {said}")),
    )  # fmt: skip
    progress().say(escape(f"{built.held} days held, {len(built.missing)} missing, in {out}; manifest beside it"))
    if built.fitted < archive_statistics.LEAST_DAYS:
        progress().say(
            f"[yellow]it cannot be trained on yet[/]: {built.fitted} of the days to fit, {first}..{fitted}, are held, "
            f"and statistics are of {archive_statistics.LEAST_DAYS} at least"
        )


def train(archive_path: str, out: Path, asked: Asked, system: str | None) -> None:
    """Train what is asked and write the checkpoint; prints the pin to give to the system.

    Its state is kept in ``<out>.training`` with the curves: the same command goes on with a run that was killed.
    """
    with ranks.joined(asked.device) as mine:
        recipe = recipe_of(asked)
        days = opened(archive_path, recipe, system)
        plan = plan_of(days, asked, recipe)
        if mine.first:
            checkpoint.replaceable(out)
        if not asked.trust_archive:
            look_through(days, plan, mine)
        judged_on = validation.starts(days, plan)
        folder = out.with_name(f"{out.name}.training")
        keeping = Keeping(folder, asked.every)
        with _shown(folder / "curves", recipe, mine.first) as report:
            trained = training.train(days, plan, report, int(HELD_GIB * 2**30), mine, keeping)
        if mine.first:
            if not checkpoint.holds(out, trained.suite, trained.card):  # else whoever pinned it finds it as it was
                checkpoint.save(out, trained.suite, trained.card)
            if judged_on and not checkpoint.load(out).card.about.scores:
                _judged(out, days, plan, judged_on, str(mine.device))
            digest = checkpoint.digest(out)
            progress().say(escape(f'{out}: CheckpointPin(folder="{out.name}", sha256="{digest}")'))


def opened(path: str, recipe: Recipe, system: str | None) -> TrainingArchive:
    """The archive; ``UsageError`` where it is not of the system, or has another policy and the recipe chooses none."""
    entry = None if system is None else systems.system(system)
    days = TrainingArchive(path, entry, recipe.forcing_policy)
    if entry is not None and recipe.forcing_policy is None and days.forcing_policy != entry.forcing_policy:
        raise UsageError(
            f"the weather to come under the policy of system {entry.name}, {entry.forcing_policy}",
            found=f"{days.forcing_policy}, which the system had when its days were archived", where=path,
            action=f"say which: --set forcing_policy={entry.forcing_policy}, or ={days.forcing_policy}",
        )  # fmt: skip
    return days


def look_through(days: TrainingArchive, plan: Plan, mine: Ranks) -> None:
    """``InputRefused`` where a day that the plan needs is not as it was written or has gaps in its ocean.

    Each process looks at its share of the days, and all are refused together.
    """
    arrays = [name for name in ("ocean", "forcing", *plan.heads) if name in days.channels]
    spans = [(plan.span[0], days.fit[1] if plan.span[1] is None else plan.span[1])]
    spans += [] if plan.validation is None else [plan.validation]
    if mine.first:
        count = sum(last - first + 1 for first, last in spans)
        said = f"comparing {count} days of {days.path} with their digests (--trust-archive leaves that out)"
        progress().say(escape(said))
    share = archive_check.Share(mine.rank, mine.world, max(1, Settings().threads // mine.world))
    archive_check.refuse(days, mine.gathered(archive_check.wrong(days, arrays, spans, share)))


def _judged(out: Path, days: TrainingArchive, plan: Plan, starts: list[int], device: str) -> None:
    """Put how the saved checkpoint does on the validation days onto its card and show it."""
    found = validation.scored(days, load(out, engine=Engine(device=device)), starts, plan.recipe.validation_lead)
    validation.show(found, len(starts))
    checkpoint.add_scores(out, validation.named(found))


@contextmanager
def _shown(folder: Path, recipe: Recipe, first: bool) -> Iterator[Report]:
    if not first:
        yield lambda step: None
        return
    from flows.desk.curves import Curves

    with Curves(folder, recipe) as curves:
        yield curves
    if curves.silent:
        said = f"no step was left to take: the recipe has none, or this run was over before ({folder.parent})"
        progress().say(escape(said))


def recipe_of(asked: Asked) -> Recipe:
    """The preset's recipe with the changes that were asked for; ``UsageError`` where it has no such option."""
    if asked.preset not in PRESETS:
        raise UsageError("a preset", found=repr(asked.preset), where="--preset", action=f"one of {', '.join(PRESETS)}")
    options = json.loads(PRESETS[asked.preset][1].model_dump_json())
    options |= {name: value for name, value in changes(asked).items() if name not in Architecture.model_fields}
    try:
        return Recipe.model_validate_json(json.dumps({**options, "seed": asked.seed}))
    except ValidationError as error:
        known = ", ".join(sorted({*Recipe.model_fields, *Architecture.model_fields}))
        raise UsageError("options of the recipe as name=value", found=_problems(error), where="--set",
                         action=f"one of {known}") from error  # fmt: skip


def _problems(error: ValidationError) -> str:
    return "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}".removeprefix(": ") for one in error.errors())


def changes(asked: Asked) -> dict[str, Any]:
    """The changes that were asked for, their values as JSON where they are that, else as text."""
    found: dict[str, Any] = {}
    for change in asked.changes:
        name, _, text = change.partition("=")
        try:
            found[name] = json.loads(text)
        except ValueError:
            found[name] = text
    return found


def plan_of(days: TrainingArchive, asked: Asked, recipe: Recipe) -> Plan:
    """What is asked of an archive: the backbone, or heads on one, or all for which the archive has arrays."""
    if asked.part not in PARTS:
        raise UsageError(
            "what to train", found=repr(asked.part), where="goms train", action=f"one of {', '.join(PARTS)}"
        )
    kept = _kept(days, asked)
    architecture = fitted(asked, days.contract) if kept is None else kept.card.ocean.architecture
    wanted = PARTS[asked.part]
    heads = {
        **{name: _state_head(days, name, architecture) for name in wanted if name in ("waves", "biogeochemistry")},
        **({"kuroshio": _downscaling(days, architecture)} if "kuroshio" in wanted else {}),
    }
    if asked.part not in ("all", "backbone") and not any(heads.values()):
        raise UsageError(f"an archive with {' and '.join(wanted)}", found=f"only {', '.join(days.channels)}",
                         where=days.path, action="archive a system that has it")  # fmt: skip
    judged_on = _validation(days, asked)
    return Plan(
        _about(days, asked, recipe), architecture, recipe, days.contract.grids["ocean"].latitude, days.fit,
        waves=heads.get("waves"), biogeochemistry=heads.get("biogeochemistry"), kuroshio=heads.get("kuroshio"),  # type: ignore[arg-type]
        backbone=kept, validation=judged_on, days=_identity(days, judged_on),
    )  # fmt: skip


def _identity(days: TrainingArchive, judged_on: tuple[int, int] | None) -> str:
    """What tells the days that a run sees from all others: whose, from when, under which policy, made of what."""
    last = days.fit[1] if judged_on is None else judged_on[1]
    return f"{days.contract.system} {days.first_day} {days.forcing_policy} {days.made_of(days.fit[0], last)}"


def _kept(days: TrainingArchive, asked: Asked) -> Checkpoint | None:
    """The checkpoint whose backbone heads are to be trained on; ``UsageError`` for what would count for nothing."""
    if asked.part in ("all", "backbone"):
        if asked.backbone is not None:
            raise UsageError(f"no backbone to keep, since {asked.part} trains one", found=str(asked.backbone),
                             where="--backbone", action="leave it out, or train heads by their names")  # fmt: skip
        return None
    if asked.backbone is None:
        raise UsageError(f"the backbone that {asked.part} are trained on", found="none", where="--backbone",
                         action="name the folder of its checkpoint")  # fmt: skip
    if shaped := sorted(changes(asked).keys() & Architecture.model_fields.keys()):
        raise UsageError("no option of the architecture: the backbone that is kept has its own",
                         found=", ".join(shaped), where="--set", action="leave that out")  # fmt: skip
    return checkpoint.load(asked.backbone)


def _validation(days: TrainingArchive, asked: Asked) -> tuple[int, int] | None:
    """From the day after the fitted ones to the day that was asked for."""
    if asked.validate_until is None:
        return None
    last = days.index_of(cycle(days.contract.system, asked.validate_until, days.contract.start_hour).start.date())
    if last <= days.fit[1]:
        raise UsageError("days to validate on after those that are trained on", found=asked.validate_until,
                         where="--validate-until", action=f"a day after {days.date_of(days.fit[1])}")  # fmt: skip
    return days.fit[1] + 1, last


def fitted(asked: Asked, contract: Contract) -> Architecture:
    """The preset's architecture, changed, on an archive's grid and channels; ``UsageError`` where it does not fit."""
    changed = {name: value for name, value in changes(asked).items() if name in Architecture.model_fields}
    grid, states = contract.grids["ocean"], len(contract.channels["ocean"])
    sizes = {"rows": grid.rows, "columns": grid.columns, "periodic": grid.periodic, "out_channels": states,
             "in_channels": states + len(contract.channels.get("forcing", ()))}  # fmt: skip
    try:
        return Architecture.model_validate({**PRESETS[asked.preset][0].model_dump(), **sizes, **changed})
    except ValidationError as error:
        raise UsageError(f"an architecture for the grid {grid.shape} of system {contract.system}",
                         found=_problems(error), where="--preset and --set",
                         action=f"one of {', '.join(PRESETS)} that fits, or other options") from error  # fmt: skip


def _about(days: TrainingArchive, asked: Asked, recipe: Recipe) -> About:
    contract = days.contract
    ocean = contract.region if contract.real_ocean else "the synthetic twin, not the real ocean"
    first, last = (days.date_of(day) for day in days.fit)
    return About(
        name=f"{contract.system}-{asked.preset}", trained_on=f"{ocean}, {contract.title}",
        data_span=f"{first}..{last}", recipe=recipe.model_dump_json(), seed=recipe.seed,
        created=str(clock.today()), code_version=code_version(),
    )  # fmt: skip


def _state_head(days: TrainingArchive, name: str, architecture: Architecture) -> StateHeadArchitecture | None:
    if name not in days.channels:
        return None
    grid, labels = days.contract.grids[name], days.channels[name]
    entries = [variable(channels.parse(label).variable) for label in labels]
    return StateHeadArchitecture(
        channels=labels, transforms=tuple(transform_of(entry) for entry in entries),
        forcing=tuple(c.label for c in channels.forcing() if name == "waves" and c.variable in ("u10", "v10")),
        rows=grid.rows, columns=grid.columns, patch=_divisor(grid.shape, architecture.patch),
        periodic=architecture.periodic,
    )  # fmt: skip


def _downscaling(days: TrainingArchive, architecture: Architecture) -> DownscalingArchitecture | None:
    if "kuroshio" not in days.channels:
        return None
    grid, fine = days.contract.grids["ocean"], days.contract.grids["kuroshio"]
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
