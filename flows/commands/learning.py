"""Commands that make a model: an archive of days, a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flows.commands.options import Debug, Inputs, Seed, SystemName
from flows.sentences import sentences


def archive(
    first: Annotated[str, typer.Argument(metavar="FIRST", help="First day, YYYY-MM-DD.")],
    last: Annotated[str, typer.Argument(metavar="LAST", help="Last day, YYYY-MM-DD.")],
    out: Annotated[str, typer.Option(help="Folder of the training archive; one that is there is gone on with.")],
    system: SystemName = "twin",
    inputs: Inputs = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes at a time, where there is no dask scheduler.")] = 1,
    seed: Seed = 0,
    fit_until: Annotated[str | None, typer.Option(
        metavar="DATE", help="Last day that statistics, climatology and training may see; else LAST.")] = None,
    debug: Debug = False,
) -> None:  # fmt: skip
    """Bring many days onto a system's grids, as one Zarr to train on."""
    with sentences(debug):
        from flows.desk import training

        training.archive((first, last), out, system, inputs, workers, seed, fit_until)


def train(
    part: Annotated[str, typer.Argument(
        metavar="PART", help="backbone, waves, biochemistry, downscaling, or all: the backbone and every head.")],
    archive_path: Annotated[str, typer.Argument(metavar="ARCHIVE", help="What `goms archive` made.")],
    out: Annotated[Path, typer.Option(help="Folder of the checkpoint; state and curves go to FOLDER.training.",
                                      metavar="FOLDER")],
    preset: Annotated[str, typer.Option(help="Architecture and recipe: paper, twin, regional or agulhas.")] = "twin",
    backbone: Annotated[Path | None, typer.Option(
        metavar="FOLDER", help="Checkpoint whose frozen backbone a head is trained on.")] = None,
    system: Annotated[str | None, typer.Option(
        "--system", "-s", metavar="NAME", help="What the archive must be of; else whatever it says.")] = None,
    validate_until: Annotated[str | None, typer.Option(
        metavar="DATE", help="Days after the fitted ones until this one judge the run.")] = None,
    changes: Annotated[list[str] | None, typer.Option(
        "--set", metavar="NAME=VALUE", help="Another value of the recipe or the architecture.")] = None,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto: a GPU where there is one.")] = "auto",
    every: Annotated[int, typer.Option(min=1, help="Steps between two states that a killed run goes on from.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Of the weights and of the order of days.")] = 0,
    trust_archive: Annotated[bool, typer.Option(
        "--trust-archive", help="Train without comparing the archive's days with their digests first.")] = False,
    debug: Debug = False,
) -> None:  # fmt: skip
    """Train a checkpoint: the same command goes on with a run that was killed.

    With several processes: torchrun --nproc-per-node 8 --no-python goms train ...
    """
    with sentences(debug):
        from flows.desk import training

        asked = training.Asked(part, preset, seed, tuple(changes or ()), backbone, validate_until, device, every,
                               trust_archive)  # fmt: skip
        training.train(archive_path, out, asked, system)
