"""``goms backfill``: every day of a span that is not published, several at a time, on the work pool or right here."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol, TypeVar

from rich.markup import escape

from flows import clock
from flows.journey import forecasters
from flows.progress import progress
from flows.service.server import Away
from pipeline import publish, systems
from pipeline.addresses import from_anywhere
from pipeline.cycle import Cycle
from pipeline.errors import CycleHeld, UsageError
from pipeline.record import journal, judgement
from pipeline.settings import Settings, child_environment
from pipeline.store import Store
from pipeline.systems import System

Answer = TypeVar("Answer")
POLL_SECONDS = 1.0
PUBLISHED, BEFORE, HELD, FAILED, LEFT = "published", "published before", "held", "failed", "left over"
AWAY_SECONDS = 900.0
"""How long Prefect's server may be away before nobody waits for it any more; the runs under way go on without it."""
UNKNOWN_FAULT = 1
"""Exit code of a failure that the service has no word for."""


class Asked(NamedTuple):
    """What every cycle of a backfill is made with."""

    system: System
    store: Store
    inputs: str | None
    forecaster: str
    seed: int

    def parameters(self) -> dict[str, Any]:
        """As the parameters of the daily flow."""
        return {"store": self.store.uri, "inputs": self.inputs, "forecaster": self.forecaster, "seed": self.seed}


class Ended(NamedTuple):
    """How a cycle came out. ``code``: as ``goms run`` would have ended; ``words``: why, where it did not publish."""

    cycle: Cycle
    how: str
    code: int = 0
    words: str = ""
    seconds: float = 0.0


class Place(Protocol):
    """Where cycles are run: ``begin`` one, and ``end`` says how it came out once it has."""

    def begin(self, cycle: Cycle) -> Any:
        """Begin a cycle's run."""

    def end(self, begun: Any) -> Ended | None:
        """How a run came out, ``None`` while it goes on."""

    def give_up(self, begun: Any) -> None:
        """Do not wait any more."""


def span(system: System, first: str, last: str, *, newest_first: bool) -> list[Cycle]:
    """Every cycle from the first day to the last, both included."""
    start, end = (clock.cycle_of(system, day) for day in (first, last))
    if end.start < start.start:
        raise UsageError(
            "a first day up to the last", found=f"{first} after {last}", where="FIRST and LAST",
            action="type the earlier one first",
        )  # fmt: skip
    clock.refuse_future(end, "FIRST and LAST")
    days = (end.start - start.start).days + 1
    found = [Cycle(system.name, start.start + timedelta(days=day)) for day in range(days)]
    return found[::-1] if newest_first else found


def sort_out(store: Store, cycles: Sequence[Cycle], cap: int | None) -> tuple[list[Cycle], list[Ended]]:
    """The cycles to be run, at most ``cap``, and those that are not, each with the reason."""
    wanted, ended = list[Cycle](), list[Ended]()
    for cycle in cycles:
        decision = judgement.held(store, cycle)
        if publish.published(store, cycle) is not None:
            ended.append(Ended(cycle, BEFORE))
        elif decision is not None:
            ended.append(Ended(cycle, HELD, words=f"{decision.kind.value} by {decision.who}: {decision.why}"))
        elif cap is not None and len(wanted) >= cap:
            ended.append(Ended(cycle, LEFT, words=f"more than --cap {cap}: run the same command again"))
        else:
            wanted.append(cycle)
    return wanted, ended


def run(place: Place, wanted: Sequence[Cycle], workers: int) -> Iterator[Ended]:
    """Run cycles in order, ``workers`` at a time; each as it comes out. Leaving early leaves nothing running here."""
    waiting, going = list(wanted), list[Any]()
    try:
        while waiting or going:
            while waiting and len(going) < workers:
                going.append(place.begin(waiting.pop(0)))
            for begun in list(going):
                ended = place.end(begun)
                if ended is not None:
                    going.remove(begun)
                    yield ended
            if going:
                time.sleep(POLL_SECONDS)
    finally:
        for begun in going:
            place.give_up(begun)


class Tally:
    """How far a backfill is, and when it will end at this pace."""

    def __init__(self, cycles: int, workers: int) -> None:
        self.cycles, self.workers = cycles, workers
        self.ended = list[Ended]()

    def count(self, ended: Ended) -> str:
        """Take one in and say it, with an estimate of the end."""
        self.ended.append(ended)
        left = self.cycles - len(self.ended)
        said = f"{len(self.ended)} of {self.cycles}  {ended.cycle.key} {ended.how}, {ended.seconds:.0f} s"
        if ended.words:
            said += f": {ended.words}"
        return said if left == 0 else f"{said}; ends about {clock.now() + self.remaining(left):%Y-%m-%d %H:%M} UTC"

    def remaining(self, left: int) -> timedelta:
        """How long the cycles that are left will take: the mean so far, so many at a time."""
        mean = sum(item.seconds for item in self.ended) / len(self.ended)
        rounds = -(-left // self.workers)
        return timedelta(seconds=mean * rounds)


def exit_code(ended: Sequence[Ended]) -> int:
    """That of the first cycle that failed, in the order they ended; 0 where none did."""
    return next((item.code for item in ended if item.code), 0)


class Begun(NamedTuple):
    """A cycle's process and where it says what it does."""

    cycle: Cycle
    process: subprocess.Popen[bytes]
    log: Path
    since: float
    output: IO[bytes]


class Here:
    """Cycles as processes of this machine, each with a log in the scratch folder."""

    def __init__(self, asked: Asked) -> None:
        self.asked, self.folder = asked, Settings().scratch / "backfill" / asked.system.name

    def begin(self, cycle: Cycle) -> Begun:
        """Start ``goms run``."""
        self.folder.mkdir(parents=True, exist_ok=True)
        log, asked = self.folder / f"{cycle.key}.log", self.asked
        command = [sys.executable, "-c", "from flows.cli import main; main()", "run", f"{cycle.start:%Y-%m-%d}",
                   "--system", cycle.system, "--store", asked.store.uri, "--forecaster", asked.forecaster,
                   "--seed", str(asked.seed)]  # fmt: skip
        command += [] if asked.inputs is None else ["--inputs", asked.inputs]
        output = log.open("wb")
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=child_environment({}, {})
        )
        return Begun(cycle, process, log, time.monotonic(), output)

    def end(self, begun: Begun) -> Ended | None:
        """By the exit code of the process; its sentence is the last that its log has."""
        code = begun.process.poll()
        if code is None:
            return None
        begun.output.close()
        seconds = time.monotonic() - begun.since
        if code == 0:
            return Ended(begun.cycle, PUBLISHED, seconds=seconds)
        said = [line for line in begun.log.read_text(errors="replace").splitlines() if line.startswith("goms: ")]
        words = said[-1].removeprefix("goms: ") if said else f"ended with {code}; see {begun.log}"
        return Ended(begun.cycle, HELD if code == CycleHeld.exit_code else FAILED,
                     code if code > 0 else UNKNOWN_FAULT, words, seconds)  # fmt: skip

    def give_up(self, begun: Begun) -> None:
        """End the process; what it has done stays done."""
        begun.process.terminate()
        begun.process.wait()
        begun.output.close()


def patiently(ask: Callable[[], Answer]) -> Answer:
    """What Prefect's server answers; one that is away is asked again for ``AWAY_SECONDS``: what it runs goes on."""
    since, told = time.monotonic(), False
    while True:
        try:
            return ask()
        except Away as away:
            if time.monotonic() - since >= AWAY_SECONDS:
                raise
            if not told:
                progress().say(f"[yellow]waiting, {AWAY_SECONDS:g} s at most[/]: {escape(str(away))}")
                told = True
            time.sleep(POLL_SECONDS)


class Submitted(NamedTuple):
    """A cycle's flow run on the server."""

    cycle: Cycle
    run: Any
    since: float


class WorkPool:
    """Cycles as runs of the daily deployment, wherever its workers are."""

    def __init__(self, asked: Asked) -> None:
        self.asked = asked

    def begin(self, cycle: Cycle) -> Submitted:
        """Submit, or join the run that is there already."""
        from flows.service import submission

        day, parameters = f"{cycle.start:%Y-%m-%d}", self.asked.parameters()
        run = patiently(lambda: submission.submit(cycle.system, day, parameters, ("backfill",)))
        return Submitted(cycle, run, time.monotonic())

    def end(self, begun: Submitted) -> Ended | None:
        """By the store, and by the run's state where it published nothing."""
        from flows.service import submission

        state = patiently(lambda: submission.look(begun.run)).state
        if state is None or not state.is_final():
            return None
        seconds, store = time.monotonic() - begun.since, self.asked.store
        if publish.published(store, begun.cycle) is not None:
            return Ended(begun.cycle, PUBLISHED, seconds=seconds)
        words = state.message or state.name or ""
        if state.name == "Held":
            return Ended(begun.cycle, HELD, CycleHeld.exit_code, words, seconds)
        failure = journal.failure(journal.read(store, begun.cycle))
        code = (failure.exit_code if failure else None) or UNKNOWN_FAULT
        return Ended(begun.cycle, FAILED, code, words, seconds)

    def give_up(self, begun: Submitted) -> None:
        """The run goes on without being watched."""


def fill(
    asked: Asked, first: str, last: str, *, workers: int, newest_first: bool, cap: int | None, served: bool,
    say: Callable[[str], None] | None = None,
) -> list[Ended]:  # fmt: skip
    """Fill a span of days and return how each came out, by cycle."""
    tell = say or (lambda words: progress().say(escape(words)))
    wanted, ended = sort_out(asked.store, span(asked.system, first, last, newest_first=newest_first), cap)
    where = "the work pool" if served else f"{workers} processes of this machine"
    tell(f"{len(wanted)} cycles to run on {where}, {len(ended)} not")
    tally = Tally(len(wanted), workers)
    place: Place = WorkPool(asked) if served else Here(asked)
    for item in run(place, wanted, workers):
        tell(tally.count(item))
    return [*ended, *tally.ended]


def asked_for(system: str, store: str | None, inputs: str | None, forecaster: str, seed: int) -> Asked:
    """What was asked, with what the settings say where it was not."""
    settings = Settings()
    wanted = inputs or settings.inputs
    return Asked(
        systems.system(system), Store(store or settings.store), from_anywhere(wanted) if wanted else None,
        forecasters.from_elsewhere(forecaster), seed,
    )  # fmt: skip
