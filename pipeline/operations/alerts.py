"""What the person on call is told: which cycle, what is wrong, by when, where to look and what to type."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from pipeline.errors import ForecastRefused, StoreError
from pipeline.operations.durations import Estimate
from pipeline.operations.verdict import CLOSED, Standing, Verdict, in_words
from pipeline.scoring import skill

ANCHORS: Mapping[int, str] = {
    3: "input-absent", 4: "input-refused", 5: "forecast-refused", 6: "store", 7: "held",
}  # fmt: skip
"""The runbook's entry for a failure, by its exit code."""
SYMPTOMS: Mapping[Verdict, str] = {
    Verdict.NOT_BEGUN: "not-begun", Verdict.WILL_MISS: "will-miss", Verdict.LATE: "late", Verdict.HELD: "held",
    Verdict.COMPLETE: "held", Verdict.WAITING: "input-absent",
}  # fmt: skip
"""The runbook's entry for a verdict that is no failure."""
DIED, FAULT, FULL, DRIFT = "zombie", "fault", "disk-full", "skill-drift"
"""The runbook's entries for a run that ended without a word, a fault in the service itself, a full store, and forecasts
that are worse than usual."""


class Kind(StrEnum):
    """An ``ALARM`` needs a person; a ``RECOVERY`` says that one is over."""

    ALARM = "alarm"
    RECOVERY = "recovery"


class Alert(BaseModel):
    """One message. As JSON it is what a webhook gets."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    service: str = "goms"
    kind: Kind
    key: str = Field(description="the same for the same trouble: a receiver may drop what it knows")
    headline: str = Field(description="one line")
    system: str | None = None
    cycle: str | None = None
    verdict: str
    stage: str | None = None
    sentence: str = Field(description="the error: what was needed, found, where, what to do next")
    deadline: datetime | None = None
    estimate: Estimate | None = None
    moment: datetime = Field(description="when this was found, UTC")
    command: str = Field(description="what to type")
    look: str = Field(description="what shows more and changes nothing")
    runbook: str = Field(description="the page and entry that say what to do")


def alarm(system: str, standing: Standing, moment: datetime, runbook: str) -> Alert:
    """The alert of a cycle that needs a person; ``runbook``: where that page is."""
    asked, idle, entry = f"{standing.day} --system {system}", standing.holder is None, anchor(standing)
    return Alert(
        kind=Kind.ALARM, key=key_of(system, standing), verdict=standing.verdict, moment=moment, system=system,
        headline=f"{system} {standing.day}: {standing.verdict.upper()}, {standing.words}", cycle=standing.cycle,
        stage=standing.stage, sentence=standing.sentence or standing.words, deadline=standing.deadline,
        estimate=standing.estimate, command=_command(entry, asked) if idle else f"goms stages {asked}",
        look=f"goms stages {asked}" if idle else f"goms status --system {system}",
        runbook=f"{runbook}#{entry}",
    )  # fmt: skip


def recovery(system: str, standing: Standing, moment: datetime, runbook: str) -> Alert:
    """The alert that a cycle needs nobody any more."""
    return alarm(system, standing, moment, runbook).model_copy(
        update={
            "kind": Kind.RECOVERY,
            "key": over_key(system, standing.cycle),
            "headline": f"{system} {standing.day}: over, {standing.words}",
            "command": "nothing to do",
        }
    )


def drifted(found: skill.Standing, moment: datetime, runbook: str) -> Alert:
    """The alert that a system's forecasts are worse than they usually are, beside what they must beat."""
    subjects = sorted({f"{item.product} {item.variable}" for item in found.drifts})
    return Alert(
        kind=Kind.ALARM, key=f"{found.system} skill {', '.join(subjects)}", verdict="skill drift", moment=moment,
        system=found.system, headline=f"{found.system}: SKILL DRIFTS, {', '.join(subjects)} worse than usual",
        sentence="; ".join(item.words for item in found.drifts), look=f"goms sources yesterday --system {found.system}",
        command=f"goms status --system {found.system}", runbook=f"{runbook}#{DRIFT}",
    )  # fmt: skip


def drifted_back(system: str, moment: datetime, runbook: str) -> Alert:
    """The alert that skill is within its usual range again."""
    return Alert(
        kind=Kind.RECOVERY, key=f"{system} skill over", verdict="skill drift", moment=moment, system=system,
        headline=f"{system}: over, skill is within its usual range again", sentence="nothing drifts any more",
        command="nothing to do", look=f"goms status --system {system}", runbook=f"{runbook}#{DRIFT}",
    )  # fmt: skip


def unreadable(system: str, sentence: str, moment: datetime, runbook: str) -> Alert:
    """The alert that what is kept of a system cannot be read: nobody can tell how it stands."""
    return Alert(
        kind=Kind.ALARM, key=f"{system} unreadable", verdict="unreadable", moment=moment, system=system,
        headline=f"{system}: WHAT IS KEPT OF IT CANNOT BE READ, nobody can tell how it stands", sentence=sentence,
        command=f"goms status --system {system}", look=f"goms status --system {system}", runbook=f"{runbook}#store",
    )  # fmt: skip


def readable_again(system: str, moment: datetime, runbook: str) -> Alert:
    """The alert that what is kept of a system can be read again."""
    return unreadable(system, "it can be read again", moment, runbook).model_copy(
        update={
            "kind": Kind.RECOVERY,
            "key": f"{system} unreadable over",
            "headline": f"{system}: over, what is kept of it can be read again",
            "command": "nothing to do",
        }
    )


def store_lost(sentence: str, moment: datetime, runbook: str) -> Alert:
    """The alert that the store cannot be read or written: nobody can tell how any system stands."""
    return Alert(
        kind=Kind.ALARM, key="store", verdict="store", moment=moment, sentence=sentence, look="goms status",
        headline="THE STORE DOES NOT ANSWER: nobody can tell how any forecast stands", runbook=f"{runbook}#store",
        command="goms watch --once",
    )  # fmt: skip


def store_found(moment: datetime, runbook: str) -> Alert:
    """The alert that the store answers again."""
    return store_lost("the store answers again", moment, runbook).model_copy(
        update={
            "kind": Kind.RECOVERY,
            "key": "store over",
            "headline": "the store answers again",
            "command": "goms status",
        }
    )


def key_of(system: str, standing: Standing) -> str:
    """The same for the same trouble: a cycle's verdict, and of a failure its sentence as well."""
    trouble = standing.sentence if standing.verdict is Verdict.FAILED else ""
    mark = f" {hashlib.sha256(trouble.encode()).hexdigest()[:8]}" if trouble else ""
    return f"{system} {standing.cycle} {standing.verdict}{mark}"


def over_key(system: str, cycle: str) -> str:
    """The key of the alert that a cycle needs nobody any more."""
    return f"{system} {cycle} over"


def anchor(standing: Standing) -> str:
    """The runbook's entry for a standing: that of its failure, where it has one."""
    if standing.exit_code is not None:
        full = standing.exit_code == StoreError.exit_code and "needed free space" in standing.sentence
        return FULL if full else ANCHORS.get(standing.exit_code, FAULT)
    if standing.verdict is Verdict.FAILED:
        return DIED
    return SYMPTOMS.get(standing.verdict, "all-well" if standing.verdict in CLOSED else FAULT)


def text(alert: Alert) -> str:
    """The alert as plain lines, for e-mail, a terminal and whatever shows text."""
    return "\n".join((f"GOMS {alert.headline}", *_lines(alert))) + "\n"


def slack(alert: Alert) -> dict[str, Any]:
    """The alert as Slack's incoming webhooks take it: ``&``, ``<`` and ``>`` are Slack's own and escaped."""
    sign = ":red_circle:" if alert.kind is Kind.ALARM else ":large_green_circle:"
    lines = [f"{sign} *GOMS {_escaped(alert.headline)}*", f"> {_escaped(alert.sentence)}"]
    lines += [_escaped(line) for line in _lines(alert)[1:] if not line.startswith(_TYPED)]
    if alert.kind is Kind.ALARM:
        lines += [f"Type `{_escaped(alert.command)}`   Look `{_escaped(alert.look)}`", f"Runbook {alert.runbook}"]
    return {"text": "\n".join(lines)}


def document(alert: Alert) -> dict[str, Any]:
    """The alert as JSON, with the same lines as ``text`` for receivers that show one field."""
    return {**alert.model_dump(mode="json"), "text": text(alert)}


def _command(entry: str, asked: str) -> str:
    if entry == FULL:
        return f"goms housekeeping --apply && goms run {asked}"
    again = " --from ocean" if entry == ANCHORS[ForecastRefused.exit_code] else ""
    return f"goms run {asked}{again}"


_TYPED = ("type ", "look ", "runbook ")


def _lines(alert: Alert) -> list[str]:
    lines = [alert.sentence]
    if alert.deadline is not None and alert.kind is Kind.ALARM:
        lines.append(f"due {_when(alert.deadline)}, {_until(alert.deadline, alert.moment)}")
    if alert.estimate is not None:
        found = alert.estimate
        again = "if it is run again now, " if alert.command.startswith("goms run") else ""
        lines.append(f"{again}likely published {_when(found.likely)}, at the latest {found.latest:%H:%M} "
                     f"(as the last {found.cycles} cycles went)")  # fmt: skip
    if alert.kind is Kind.ALARM:
        lines += [f"type    {alert.command}", f"look    {alert.look}", f"runbook {alert.runbook}"]
    return lines


def _when(moment: datetime) -> str:
    return f"{moment:%a %Y-%m-%d %H:%M} UTC"


def _until(deadline: datetime, moment: datetime) -> str:
    left = deadline - moment
    return f"in {in_words(left)}" if left >= timedelta(0) else f"{in_words(-left)} ago"


def _escaped(words: str) -> str:
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
