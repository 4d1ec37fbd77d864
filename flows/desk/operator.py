"""What an operator asks and decides about one cycle: its stages, hold, release, set complete."""

from __future__ import annotations

from rich.markup import escape
from rich.table import Table

from flows import clock
from flows.journey import holding
from flows.progress import readable
from flows.screen import say, wide
from pipeline import publish, systems
from pipeline.cycle import Cycle
from pipeline.errors import UsageError
from pipeline.record import journal, judgement, lock, marks
from pipeline.record.journal import Event, Note
from pipeline.record.judgement import Judgement, Kind
from pipeline.settings import Settings
from pipeline.store import Store


def stages(day: str, system: str, store: str | None) -> None:
    """Print how far a cycle is, stage by stage, and everything that happened to it."""
    opened, cycle = _cycle(day, system, store)
    notes = journal.read(opened, cycle)
    screen = wide()
    screen.print(stage_table(opened, cycle, notes))
    screen.print(journal_table(notes))
    for line in _standing(opened, cycle, notes):
        screen.print(escape(line), soft_wrap=True)


def stage_table(store: Store, cycle: Cycle, notes: tuple[Note, ...]) -> Table:
    """Each stage's mark, and what its last run took."""
    revision = publish.published(store, cycle)
    said = f"published r{revision}" if revision else "not published"
    table = Table(title=escape(f"{cycle.system} {cycle.key} in {store.uri}: {said}"), title_justify="left")
    for heading in ("stage", "mark", "done (UTC)", "seconds", "made"):
        table.add_column(heading, justify="right" if heading in ("seconds", "made") else "left")
    for stage in marks.STAGES:
        mark = marks.recorded(store, cycle, stage)
        done = next((n for n in reversed(notes) if n.event is Event.STAGE and n.stage == stage), None)
        size = "" if mark is None else readable(sum(item.size_bytes for item in mark.outputs))
        when, took = ("", "") if done is None else (f"{done.when:%Y-%m-%d %H:%M:%S}", f"{done.seconds or 0:.1f}")
        table.add_row(stage, "" if mark is None else "done", when, took, size)
    return table


def journal_table(notes: tuple[Note, ...]) -> Table:
    """What happened, oldest first."""
    table = Table(title="what happened (UTC)", title_justify="left")
    for heading in ("when", "what", "stage", "who", "words"):
        table.add_column(heading, overflow="fold")
    for entry in notes:
        cells = (
            f"{entry.when:%Y-%m-%d %H:%M:%S}",
            entry.event.value,
            entry.stage or "",
            _short(entry.who),
            entry.words,
        )
        table.add_row(*(escape(cell) for cell in cells))
    return table


def judge(day: str, system: str, store: str | None, kind: Kind, why: str, stage: str | None = None) -> None:
    """Record a decision on a cycle or on one of its stages."""
    opened, cycle = _cycle(day, system, store)
    made = Judgement(kind=kind, who=holding.this_person(), when=clock.now(), why=_reason(why))
    judgement.judge(opened, cycle, made, stage)
    what = cycle.key if stage is None else f"stage {stage} of {cycle.key}"
    say(f"{system} {what}: {made.kind.value} by {made.who}: {made.why}")


def release(day: str, system: str, store: str | None, why: str) -> None:
    """Lift the decisions on a cycle."""
    opened, cycle = _cycle(day, system, store)
    judgement.release(opened, cycle, who=holding.this_person(), when=clock.now(), why=_reason(why))
    say(f"{system} {cycle.key}: released")


def _cycle(day: str, system: str, store: str | None) -> tuple[Store, Cycle]:
    return Store(store or Settings().store), clock.cycle_of(systems.system(system), day)


def _reason(why: str) -> str:
    if not why.strip():
        raise UsageError("a reason", found="an empty text", where="--reason", action="say why, for whoever comes next")
    return why.strip()


def _standing(store: Store, cycle: Cycle, notes: tuple[Note, ...]) -> list[str]:
    """What keeps the cycle from being made, in sentences."""
    found = judgement.judgements(store, cycle)
    entries = [("the cycle", found.cycle)] if found.cycle else []
    lines = [f"{what}: {item.kind.value} by {item.who}, {item.when:%Y-%m-%d %H:%M} UTC: {item.why}"
             for what, item in (*entries, *found.stages.items())]  # fmt: skip
    lease, failure = lock.holder(store, cycle), journal.failure(notes)
    if lease is not None and not lease.released and lease.expires > clock.now():
        lines.append(f"being made by {lease.owner}, whose lease ends at {lease.expires:%H:%M:%S} UTC")
    elif failure is not None:
        lines.append(f"failed at {failure.stage} (exit {failure.exit_code}): {failure.words}")
    return lines


def _short(who: str) -> str:
    """Who, without what only programs compare."""
    return who.partition(" (pid:")[0].partition(", started")[0]
