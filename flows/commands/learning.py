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
    workers: Annotated[int, typer.Option(min=1, help="Processes at a time.")] = 1,
    seed: Seed = 0,
    debug: Debug = False,
) -> None:
    """Bring many days onto a system's grids, as one Zarr to train on."""
    with sentences(debug):
        from flows import training

        training.archive(first, last, out, system, inputs, workers, seed)


def train(
    archive_path: Annotated[str, typer.Argument(metavar="ARCHIVE", help="What `goms archive` made.")],
    out: Annotated[Path, typer.Option(help="Folder of the checkpoint.", metavar="FOLDER")],
    preset: Annotated[str, typer.Option(help="Architecture and recipe: paper, twin or regional.")] = "twin",
    system: SystemName = "twin",
    seed: Annotated[int, typer.Option(help="Of the weights and of the order of days.")] = 0,
    debug: Debug = False,
) -> None:
    """Train a checkpoint for a system: backbone, fine-tuning, heads."""
    with sentences(debug):
        from flows import training

        training.train(archive_path, out, preset, system, seed)
