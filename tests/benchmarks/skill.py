"""Skill of a forecaster over several starts: publishes and verifies each with `goms`, pools the scores, prints a table.

    python -m tests.benchmarks.skill 2024-02-05 2024-05-05 [--leads 5,10,20,30] [--forecaster checkpoint]

Each cell is the forecast's root mean square error, then persistence's; the downscaling stands beside bicubic
interpolation of the coarse forecast as well. Bold: better than every yardstick. The dates must lie outside the
checkpoint's training days.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import xarray as xr

from pipeline import systems
from pipeline.publish import Manifest, read_manifest
from pipeline.record.latest import latest
from pipeline.scoring import scores
from pipeline.store import Store
from pipeline.verify import Row, combine, summary


def published_and_scored(store: Path, day: str, system: str, forecaster: str, leads: str) -> Manifest:
    """Run and verify one start by the command line; its manifest."""
    goms = [str(Path(sys.executable).with_name("goms"))]
    common = [day, "--system", system, "--store", str(store)]
    for command in (["run", *common, "--forecaster", forecaster], ["verify", *common, "--leads", leads]):
        subprocess.run(goms + command, check=True, stdout=sys.stderr)
    newest = latest(Store(str(store)), system)
    assert newest is not None
    manifest = read_manifest(Store(str(store)), newest.start, newest.revision)
    assert manifest is not None
    assert newest.start.start.strftime("%Y-%m-%d") == day
    return manifest


def pooled(folder: str, manifests: Sequence[Manifest], product: str) -> xr.Dataset:
    """One product's scores of all starts as one."""
    members = [
        xr.load_dataset(Path(folder, scores.prefix(one), f"{product}.nc"), engine="netcdf4") for one in manifests
    ]
    return combine(members)


def lines(product: str, rows: Sequence[Row], leads: Sequence[int]) -> Iterator[str]:
    """A Markdown line for each variable."""
    for name in dict.fromkeys(row.variable for row in rows):
        chosen = {row.lead_day: row for row in rows if row.variable == name}
        cells = [" / ".join(_errors(chosen[lead])) for lead in leads]
        last = chosen[leads[-1]]
        energy = "" if last.kinetic_energy_ratio != last.kinetic_energy_ratio else f"{last.kinetic_energy_ratio:.2f}"
        yield f"| {product} | `{name}` | {last.units} | {' | '.join(cells)} | {last.acc:.2f} | {energy} |"


def _errors(row: Row) -> tuple[str, ...]:
    yardsticks = [error for error in (row.persistence, row.bicubic) if error == error]
    forecast = f"**{row.rmse:.3g}**" if row.rmse < min(yardsticks) else f"{row.rmse:.3g}"
    bicubic = () if row.bicubic != row.bicubic else (f"{row.bicubic:.3g}",)
    return (forecast, f"{row.persistence:.3g}", *bicubic)


def main() -> None:
    """Run every start, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("days", nargs="+", help="starts, YYYY-MM-DD, in order")
    parser.add_argument("--system", default="twin")
    parser.add_argument("--forecaster", default="checkpoint")
    parser.add_argument("--leads", default="5,10,20,30")
    asked = parser.parse_args()
    leads = [int(lead) for lead in asked.leads.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        manifests = [
            published_and_scored(Path(folder), day, asked.system, asked.forecaster, asked.leads)
            for day in sorted(asked.days)
        ]
        headings = "".join(f" day {lead} |" for lead in leads)
        print(f"| product | variable | unit |{headings} ACC, day {leads[-1]} | energy ratio, day {leads[-1]} |")
        print("|---|---|---|" + "---|" * (len(leads) + 2))
        for entry in systems.system(asked.system).products:
            if all(entry.name in one.products for one in manifests):
                rows = summary(pooled(folder, manifests, entry.name), leads)
                print("\n".join(lines(entry.name, rows, leads)))


if __name__ == "__main__":
    main()
