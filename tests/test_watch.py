"""The watch: each trouble told once, and once that it is over; without Prefect; with the store lost."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Literal

import kept_cycles as kept
import pytest
import trustme
from pydantic import SecretStr
from receivers import PASSWORD, USER, Receiver, receiving, taking_letters
from test_freshness import OPEN, at, publish_days

from flows import clock
from flows.service import notify, watch
from flows.service.notify import Letter, Webhook
from pipeline import systems
from pipeline.cycle import cycle
from pipeline.errors import CycleAlarm, StoreError
from pipeline.mail import Mail
from pipeline.operations import alerts, said
from pipeline.operations.alerts import Alert
from pipeline.record import judgement
from pipeline.record.judgement import Judgement
from pipeline.settings import Settings
from pipeline.store import Store

RUNBOOK = Path(__file__).parents[1] / "deploy" / "runbook.md"
HEADLINE = "GOMS twin 2026-11-22: FAILED, an input is not what it says it is at ocean"
SENTENCE = "needed temperatures within -3..40 degC; found 71.2 degC; in /archive/hycom.nc; look at the file"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Settings of this machine: a scratch folder of its own, nobody to be told."""
    for name in [name for name in os.environ if name.startswith("GOMS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GOMS_SCRATCH", str(tmp_path / "scratch"))
    return tmp_path


@pytest.fixture
def served(desk: Path, folder_store: Store) -> Store:
    publish_days(folder_store)
    return folder_store


def look(store: Store, moment: datetime, monkeypatch: pytest.MonkeyPatch, *channels: notify.Channel) -> watch.Look:
    monkeypatch.setattr(clock, "now", lambda: moment)
    return watch.look(store.uri, channels, Settings())


def refuse(store: Store, when: datetime, sentence: str = SENTENCE) -> None:
    kept.begin(store, OPEN, at("06:17"))
    kept.fail(store, OPEN, when, "ocean", sentence, 4)


def test_each_trouble_is_told_once_and_once_that_it_is_over(
    served: Store, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = Webhook(receiver.url)
    assert look(served, at("06:10"), monkeypatch, hook).alarms == ()
    refuse(served, at("06:18"))
    for moment in ("06:20", "06:25"):
        (alarm,) = look(served, at(moment), monkeypatch, hook).alarms
        assert alarm.verdict == "failed"
    refuse(served, at("06:40"), "another sentence")  # run again by hand, and refused for another reason
    look(served, at("06:45"), monkeypatch, hook)
    kept.begin(served, OPEN, at("07:00"))
    assert look(served, at("07:01"), monkeypatch, hook).alarms == ()
    kept.publish(served, OPEN, at("07:30"))
    for moment in ("07:35", "07:40"):
        assert look(served, at(moment), monkeypatch, hook).alarms == ()
    assert [(item["kind"], item["sentence"]) for item in receiver.taken] == [
        ("alarm", SENTENCE), ("alarm", "another sentence"), ("recovery", "published"),
    ]  # fmt: skip
    assert said.recall(served, "twin").looked == at("07:40")


def test_the_same_trouble_is_told_again_after_it_was_over(
    served: Store, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused, held, released, run and refused for the same reason; and over, and back. One receiver misses a word."""

    class Deaf:
        name, taken, hears = "deaf", list[str](), True

        def send(self, alert: Alert) -> str | None:
            if self.hears:
                self.taken.append(alert.kind)
            return None if self.hears else "no answer"

    channels, deaf = [Webhook(receiver.url)], Deaf()
    held = Judgement(kind=judgement.Kind.HELD, who="ann", when=at("06:30"), why="asked the archive")
    refuse(served, at("06:18"))
    look(served, at("06:20"), monkeypatch, *channels, deaf)
    judgement.judge(served, OPEN, held)
    deaf.hears = False
    for moment in ("06:31", "06:32"):
        look(served, at(moment), monkeypatch, *channels, deaf)
    judgement.release(served, OPEN, who="ann", when=at("06:40"), why="it came")
    refuse(served, at("06:42"))
    deaf.hears = True
    for moment in ("06:43", "06:44"):
        assert len(look(served, at(moment), monkeypatch, *channels, deaf).alarms) == 1
    kept.publish(served, OPEN, at("07:30"))
    for moment in ("07:31", "07:32"):
        look(served, at(moment), monkeypatch, *channels, deaf)
    assert [item["kind"] for item in receiver.taken] == ["alarm", "recovery"] * 2
    assert deaf.taken == ["alarm", "recovery"], "of what it was never told to be over it knows"
    assert said.recall(served, "twin").sent == {}


@pytest.mark.parametrize("path", ["latest.json", "scores/skill.json"])
def test_what_is_damaged_of_a_system_is_its_own_alarm_and_hides_no_other(
    path: str, served: Store, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = Webhook(receiver.url)
    refuse(served, at("06:18"))
    served.write_bytes(f"coral-sea/{path}", b"{")
    served.write_bytes(said.path("coral-sea"), b"{")
    for moment in ("06:20", "06:25"):
        found = look(served, at(moment), monkeypatch, hook)
        assert found.lost is None
        assert {item.system for item in found.alarms} == {"coral-sea", "twin"}
    assert {item["headline"] for item in receiver.taken} == {
        HEADLINE.removeprefix("GOMS "), "coral-sea: WHAT IS KEPT OF IT CANNOT BE READ, nobody can tell how it stands",
    }  # fmt: skip
    served.delete(f"coral-sea/{path}")
    for moment in ("06:30", "06:35"):
        look(served, at(moment), monkeypatch, hook)
    assert [item["headline"] for item in receiver.taken[2:]] == [
        "coral-sea: over, what is kept of it can be read again"
    ]


def test_a_warning_and_then_the_miss_are_two_alerts_and_waiting_is_none(
    served: Store, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """25 minutes are left to be made: not begun by 07:17, about to miss from 11:35 on, late from 12:00 on."""
    for moment in ("06:17", "07:17", "07:18", "09:00", "11:35", "11:36", "11:59", "12:01", "15:00"):
        look(served, at(moment), monkeypatch, Webhook(receiver.url))
    assert [item["verdict"] for item in receiver.taken] == ["not begun", "will miss", "late"]
    held = Judgement(kind=judgement.Kind.HELD, who="ann", when=at("15:01"), why="no archive today")
    judgement.judge(served, OPEN, held)
    look(served, at("15:05"), monkeypatch, Webhook(receiver.url))
    assert receiver.taken[-1]["kind"] == "recovery"


def test_an_alert_has_all_that_the_person_on_call_needs(served: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(served, at("06:18"))
    (alarm,) = look(served, at("06:20"), monkeypatch).alarms
    assert (alarm.system, alarm.cycle, alarm.stage, alarm.sentence) == ("twin", OPEN.key, "ocean", SENTENCE)
    assert alarm.command == "goms run 2026-11-22 --system twin"
    assert alarm.runbook == "deploy/runbook.md#input-refused"
    lines = alerts.text(alarm).splitlines()
    assert lines[0] == HEADLINE
    assert lines[1] == SENTENCE
    assert lines[2] == "due Mon 2026-11-23 12:00 UTC, in 5 h 40 min"
    assert lines[3].startswith("if it is run again now, likely published Mon 2026-11-23 06:45 UTC, at the latest 06:45")


def test_slacks_own_signs_are_escaped(served: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(served, at("06:18"), "found 3 < 4 & <!channel>")
    (alarm,) = look(served, at("06:20"), monkeypatch).alarms
    content = alerts.slack(alarm)
    assert set(content) == {"text"}
    assert "> found 3 &lt; 4 &amp; &lt;!channel&gt;" in content["text"]
    assert "`goms run 2026-11-22 --system twin`" in content["text"]


def test_every_runbook_entry_that_an_alert_can_name_is_there() -> None:
    named = {*alerts.ANCHORS.values(), *alerts.SYMPTOMS.values(), alerts.DIED, alerts.FAULT, alerts.FULL, "store"}
    entries = {line.removeprefix("## ") for line in RUNBOOK.read_text().splitlines() if line.startswith("## ")}
    assert named - entries == set()


def test_a_receiver_that_is_away_is_asked_again_and_then_said_aloud(
    served: Store, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse(served, at("06:18"))
    hook = Webhook(receiver.url, backoff_seconds=0.01)
    receiver.refusals = 2 * notify.TRIES + 1  # two looks in vain; at the third, its second try arrives
    for moment in ("06:20", "06:25"):
        look(served, at(moment), monkeypatch, hook)
        said_aloud = capsys.readouterr()
        assert "did not reach the webhook at 127.0.0.1" in said_aloud.err
        assert said_aloud.err.rstrip().endswith("HTTP 503")
        assert "SECRETPATH" not in said_aloud.err + said_aloud.out
    for moment in ("06:30", "06:35"):
        look(served, at(moment), monkeypatch, hook)
    assert capsys.readouterr().err == ""
    assert len(receiver.taken) == 1


def test_one_receiver_that_is_dead_keeps_no_other_from_being_told_once(
    served: Store, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse(served, at("06:18"))
    with receiving() as other:
        nobody = Webhook(other.url.replace("SECRETPATH", "DEAD"), backoff_seconds=0.01)
    for moment in ("06:20", "06:25"):
        look(served, at(moment), monkeypatch, nobody, Webhook(receiver.url))
        assert "DEAD" not in (err := capsys.readouterr().err)
        assert "did not reach" in err
    assert len(receiver.taken) == 1


def test_a_letter_reaches_a_mail_server(served: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse(served, at("06:18"))
    with taking_letters() as (letters, port):
        mail = Mail(host="127.0.0.1", port=port, encryption="none", sender="goms@a.org", recipients="x@b.org, y@c.org")
        look(served, at("06:20"), monkeypatch, Letter(mail))
        look(served, at("06:25"), monkeypatch, Letter(mail))
    (message,) = letters.taken
    assert message["Subject"] == HEADLINE
    assert message["To"] == "x@b.org, y@c.org"
    assert SENTENCE in message.get_content()
    assert "type    goms run 2026-11-22 --system twin" in message.get_content()


@pytest.fixture
def authority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> trustme.CA:
    """One that this machine trusts, for the length of a test."""
    made = trustme.CA()
    made.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    return made


def cipher(authority: trustme.CA, name: str) -> ssl.SSLContext:
    """What a server encrypts by, under a name that the authority has signed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


@pytest.mark.parametrize("encryption", ["tls", "starttls"])
def test_a_letter_goes_encrypted_and_by_password(
    served: Store, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, encryption: Literal["tls", "starttls"]
) -> None:
    refuse(served, at("06:18"))
    with taking_letters(encryption, cipher(authority, "127.0.0.1")) as (letters, port):
        mail = Mail(host="127.0.0.1", port=port, encryption=encryption, recipients="x@b.org", user=USER,
                    password=SecretStr(PASSWORD))  # fmt: skip
        look(served, at("06:20"), monkeypatch, Letter(mail))
    (message,) = letters.taken
    assert message["Subject"] == HEADLINE


@pytest.mark.parametrize("encryption", ["tls", "starttls"])
@pytest.mark.parametrize("fault", ["another name", "an unknown authority", "a wrong password"])
def test_nothing_goes_to_a_mail_server_that_is_not_the_one(
    served: Store, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    encryption: Literal["tls", "starttls"], fault: str,
) -> None:  # fmt: skip
    refuse(served, at("06:18"))
    signed = trustme.CA() if fault == "an unknown authority" else authority
    key = "another" if fault == "a wrong password" else PASSWORD
    with taking_letters(encryption, cipher(signed, "elsewhere.org" if fault == "another name" else "127.0.0.1")) as (
        letters, port,
    ):  # fmt: skip
        mail = Mail(host="127.0.0.1", port=port, encryption=encryption, recipients="x@b.org", user=USER,
                    password=SecretStr(key))  # fmt: skip
        look(served, at("06:20"), monkeypatch, Letter(mail, backoff_seconds=0.01))
    assert letters.taken == []
    said = "SMTPAuthenticationError after 1 tries" if fault == "a wrong password" else "certificate verify failed"
    assert said in (err := capsys.readouterr().err)
    assert PASSWORD not in err


def test_a_mail_server_that_is_not_there_is_said(
    served: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refuse(served, at("06:18"))
    with taking_letters() as (_, port):
        pass
    mail = Mail(host="127.0.0.1", port=port, encryption="none", recipients="x@b.org", password=SecretStr("hush-hush"))
    look(served, at("06:20"), monkeypatch, Letter(mail, backoff_seconds=0.01))
    err = capsys.readouterr().err
    assert f"did not reach the e-mail by 127.0.0.1:{port} to x@b.org: ConnectionRefusedError" in err
    assert "hush-hush" not in err


def test_the_settings_name_who_is_told(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOMS_ALERT_WEBHOOKS", "https://a.org/x https://hooks.slack.com/services/T/B/x")
    monkeypatch.setenv("GOMS_ALERT_SLACK_WEBHOOKS", "https://mattermost.org/hooks/x")
    monkeypatch.setenv("GOMS_ALERT_MAIL__HOST", "mail.org")
    assert len(notify.channels(Settings())) == 3  # a mail server without a recipient is none
    monkeypatch.setenv("GOMS_ALERT_MAIL__RECIPIENTS", "x@b.org")
    found = notify.channels(Settings(), ["https://b.org/y"])
    assert [getattr(item, "slack", None) for item in found] == [False, True, False, True, None]
    assert [item.name.partition(" (")[0] for item in found[:4]] == [
        "webhook at a.org", "Slack at hooks.slack.com", "webhook at b.org", "Slack at mattermost.org",
    ]  # fmt: skip


def test_a_store_that_is_lost_is_an_alarm_once_and_so_is_its_return(
    served: Store, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hook = Webhook(receiver.url)
    look(served, at("06:00"), monkeypatch, hook)
    Path(served.uri).rename(tmp_path / "away")
    for moment in ("06:05", "06:10"):
        found = look(served, at(moment), monkeypatch, hook)
        assert isinstance(found.lost, StoreError)
    (tmp_path / "away").rename(served.uri)
    for moment in ("06:15", "06:20"):
        assert look(served, at(moment), monkeypatch, hook).lost is None
    assert [(item["kind"], item["runbook"]) for item in receiver.taken] == [
        ("alarm", "deploy/runbook.md#store"), ("recovery", "deploy/runbook.md#store"),
    ]  # fmt: skip
    assert "see whether the disk is mounted" in receiver.taken[0]["sentence"]


def test_a_full_disk_ends_no_watch(
    served: Store, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What was told of a lost store was cut short when the disk filled: it is told again, and so is the return."""
    hook = Webhook(receiver.url)
    look(served, at("06:00"), monkeypatch, hook)
    Path(served.uri).rename(tmp_path / "away")
    look(served, at("06:05"), monkeypatch, hook)
    (kept,) = (Settings().scratch / "watch").glob("*.json")
    kept.write_bytes(b"")
    assert look(served, at("06:10"), monkeypatch, hook).lost is not None
    kept.unlink()
    kept.with_suffix(".new").mkdir()  # from now on nothing can be kept there
    assert look(served, at("06:15"), monkeypatch, hook).lost is not None
    kept.with_suffix(".new").rmdir()
    look(served, at("06:20"), monkeypatch, hook)
    (tmp_path / "away").rename(served.uri)
    assert look(served, at("06:25"), monkeypatch, hook).lost is None
    assert [item["kind"] for item in receiver.taken] == ["alarm"] * 4 + ["recovery"]


@pytest.mark.server
def test_an_s3_server_that_does_not_answer_is_a_lost_store(
    s3_store: Store, desk: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "STORE_SECONDS", 0.2)
    publish_days(s3_store, count=1)
    assert look(s3_store, at("06:00"), monkeypatch, Webhook(receiver.url)).lost is None
    assert s3_store.exists("twin/status.json")
    with receiving() as dead:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{dead.server_address[1]}")
    assert look(s3_store, at("06:05"), monkeypatch, Webhook(receiver.url)).lost is not None
    (alert,) = receiver.taken
    assert alert["headline"].startswith("THE STORE DOES NOT ANSWER")


def test_a_heartbeat_tells_those_who_watch_the_watch(
    served: Store, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "now", lambda: at("06:00"))
    monkeypatch.setenv("GOMS_ALERT_HEARTBEAT", receiver.url)
    watch.watch(served.uri, 1.0, once=True, webhooks=())
    assert receiver.taken == [{"service": "goms", "looked": at("06:00").isoformat()}]
    refuse(served, at("06:18"))
    monkeypatch.setattr(clock, "now", lambda: at("06:20"))
    with pytest.raises(CycleAlarm, match="begin with: goms run 2026-11-22 --system twin"):
        watch.watch(served.uri, 1.0, once=True, webhooks=())


def goms_without_prefect(scratch: Path, *arguments: str) -> subprocess.Popen[str]:
    """``goms`` in a process in which importing Prefect fails."""
    code = "import sys; sys.modules['prefect'] = None; from flows.cli import main; sys.argv[0] = 'goms'; main()"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GOMS_")}
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env=inherited | {"GOMS_SCRATCH": str(scratch), "COLUMNS": "200"},
    )  # fmt: skip


def test_the_command_watches_where_prefect_cannot_even_be_imported(tmp_path: Path, receiver: Receiver) -> None:
    """Whatever the time: the cycle of the day before yesterday was due by yesterday's noon, and is not skipped yet."""
    store, today = Store(tmp_path / "store"), datetime.now(UTC).date()

    def noon(back: int) -> datetime:
        return datetime.combine(today - timedelta(days=back), datetime.min.time(), UTC) + timedelta(hours=12)

    for back in (4, 3):
        kept.publish(store, cycle("twin", date.fromordinal(noon(back).toordinal()), 12), noon(back - 1))
    arguments = ("watch", "--store", store.uri, "--webhook", receiver.url)
    process = goms_without_prefect(tmp_path / "scratch", *arguments, "--once")
    out, err = process.communicate(timeout=120)
    assert process.returncode == 8, err
    assert f"goms run {noon(2):%Y-%m-%d} --system twin" in err
    assert "LATE, was to begin at 06:17 and was not" in out
    assert {item["verdict"] for item in receiver.taken} >= {"late"}
    for back in (2, 1):
        kept.publish(store, cycle("twin", date.fromordinal(noon(back).toordinal()), 12), noon(back - 1))
    process = goms_without_prefect(tmp_path / "scratch", *arguments, "--every", "1")
    assert process.stdout is not None
    while "all well" not in process.stdout.readline():
        assert process.poll() is None
    process.terminate()
    assert process.wait(timeout=60) == 0
    assert {item["kind"] for item in receiver.taken if item["cycle"] == f"{noon(2):%Y%m%dT%H}"} == {"alarm", "recovery"}
    process.communicate()


def test_a_failed_flow_run_is_told_through_the_servers_own_block(
    served: Store, prefect_server: str, receiver: Receiver, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Of three blocks one's receiver is dead and one was never made: the third is told."""
    from prefect import flow
    from prefect.blocks.notifications import CustomWebhookNotificationBlock
    from prefect.settings import PREFECT_API_URL, temporary_settings

    monkeypatch.setenv("GOMS_ALERT_BLOCKS", "custom-webhook/dead custom-webhook/absent custom-webhook/on-call")
    refuse(served, at("06:18"))
    monkeypatch.setattr(clock, "now", lambda: at("06:20"))

    @flow(on_failure=[notify.failed])
    def failing(day: str, system: str, store: str) -> None:
        raise ValueError("a fault")

    with temporary_settings({PREFECT_API_URL: prefect_server}):
        CustomWebhookNotificationBlock(
            name="goms", url=receiver.url, json_data={"subject": "{{subject}}", "body": "{{body}}"}
        ).save("on-call", overwrite=True)
        with receiving() as dead:
            CustomWebhookNotificationBlock(name="dead", url=dead.url, json_data={}).save("dead", overwrite=True)
        with pytest.raises(ValueError, match="a fault"):
            failing("2026-11-22", "twin", served.uri)
        err = capsys.readouterr().err
        assert all(f"did not reach the block custom-webhook/{name}: " in err for name in ("dead", "absent"))
        kept.begin(served, OPEN, at("06:19"))  # by then another run is at it: nobody needs to be told
        with pytest.raises(ValueError, match="a fault"):
            failing("2026-11-22", "twin", served.uri)
    (content,) = receiver.taken
    assert content["subject"] == HEADLINE
    assert SENTENCE in content["body"]


def test_a_crash_is_told_before_its_lease_has_run_out(served: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: at("06:20"))
    kept.begin(served, OPEN, at("06:17"), "ocean")
    assert notify.of_flow_run(OPEN, served.uri, "failed", False, Settings()) is None
    alert = notify.of_flow_run(OPEN, served.uri, "the process was killed with -9", True, Settings())
    assert alert is not None
    assert (alert.sentence, alert.runbook) == ("the process was killed with -9", "deploy/runbook.md#zombie")
    kept.fail(served, OPEN, at("06:19:30"), "surface", "needed ERA5; found none", 3)
    absent = notify.of_flow_run(OPEN, served.uri, "absent", False, Settings())  # nothing waits for it any more
    assert absent is not None
    assert absent.runbook == "deploy/runbook.md#input-absent"


def test_a_scheduled_run_is_of_the_cycle_that_the_schedule_means() -> None:
    for day in (None, "yesterday", "2026-11-22"):
        assert clock.cycle_at(systems.TWIN, day, at("06:17")) == OPEN


def test_a_hook_of_a_run_whose_store_is_lost_says_so(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = list[str]()
    monkeypatch.setenv("GOMS_ALERT_BLOCKS", "any/block")
    monkeypatch.setattr(notify, "_through_block", lambda name, alert: told.append(f"{name}: {alert.sentence}"))
    (desk / "store").write_text("a file")
    run = SimpleNamespace(parameters={"day": "2026-11-22", "store": str(desk / "store")}, expected_start_time=None)
    state = SimpleNamespace(message="it failed", is_crashed=lambda: False)
    notify.failed(SimpleNamespace(name="daily"), run, state)
    (sentence,) = told
    assert sentence.startswith("any/block: daily failed: it failed; and then: needed a folder")


def test_an_alert_names_no_system_that_is_not_served(desk: Path, folder_store: Store) -> None:
    assert watch.look(folder_store.uri, (), Settings()) == watch.Look(())
    assert folder_store.objects("") == []
    assert systems.SYSTEMS
