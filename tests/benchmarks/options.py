"""What each option of training beyond the paper is worth: the recipe trained again without it, on observed currents.

    goms archive 2002-01-01 2003-01-01 --system agulhas --inputs FILE --fit-until 2002-09-30 --out build/agulhas.zarr
    python -m tests.benchmarks.options build/agulhas.zarr [--only recipe,noise]

Each option trains a checkpoint of its own beside the archive, in about a minute, and is scored as
``tests.benchmarks.globcurrent`` does: root mean square error of u / v over the held-out starts, and the ratio of
kinetic energies. One seed: differences of .002 are noise. A table in Markdown.
"""

from __future__ import annotations

import argparse
import sys
from contextlib import redirect_stdout
from datetime import date
from pathlib import Path

import numpy as np

from flows.desk import training
from tests.benchmarks import globcurrent

OPTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "recipe": ("the recipe as it is", ()),
    "increment": ("the state is predicted, not its increment", ("predicts=state",)),
    "latitude": ("cells count alike, not by area", ("latitude_weights=false",)),
    "mixing": ("rows and columns mixed apart, longitudes closed", ("mixing=plane", "periodic=true")),
    "gradient": ("no error of gradients", ("gradient_weight=0.0",)),
    "noise": ("no noise on the initial state", ("noise=0.0",)),
    "averaging": ("no average of the weights", ("averaging=0.0",)),
    "masking": ("with masking in pretraining", ("mask_schedule=[[0.02,0.0],[0.08,0.5],[0.15,0.25],[1.0,0.0]]",)),
}
"""In words, and as ``goms train --set`` takes them."""
FIRST = date(2002, 10, 16)
"""The first start that no training or validation has seen."""
LEADS = (2, 5, 10, 30)


def row(archive: str, name: str) -> str:
    """Train and score one option: its line of the table."""
    words, changes = OPTIONS[name]
    out = Path(archive).with_name(f"option-{name}")
    asked = training.Asked("backbone", "agulhas", changes=changes, validate_until="2002-10-15", device="cpu")
    with redirect_stdout(sys.stderr):
        training.train(archive, out, asked, "agulhas")
    found, _ = globcurrent.scores(out, archive, FIRST, max(LEADS))
    errors, energy = np.sqrt(found["model"].errors), found["model"].energy
    cells = [" / ".join(f"{error:.3f}".removeprefix("0") for error in errors[lead - 1]) for lead in LEADS]
    ratio = energy[0, 9] / energy[1, 9]
    shown = " ".join(f"`--set '{change}'`" for change in changes)
    return f"| {words} | {shown} | {' | '.join(cells)} | {ratio:.2f} |"


def main() -> None:
    """Print the table, a line after each training."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive")
    parser.add_argument("--only", default=",".join(OPTIONS))
    asked = parser.parse_args()
    print(f"| changed | option | {' | '.join(f'day {lead}' for lead in LEADS)} | energy, day 10 |", flush=True)
    print("|---|---|" + "---|" * (len(LEADS) + 1), flush=True)
    for name in asked.only.split(","):
        print(row(asked.archive, name), flush=True)


if __name__ == "__main__":
    main()
