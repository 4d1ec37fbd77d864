"""Alerts on their way: webhooks, Slack, e-mail, and the notification blocks of a Prefect server."""

from __future__ import annotations

import hashlib
import logging
import smtplib
import ssl
import sys
import time
from collections.abc import Iterable
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError
from urllib3.util import Retry, Timeout

from flows import clock
from pipeline import systems
from pipeline.cycle import Cycle
from pipeline.errors import GomsError
from pipeline.mail import Mail
from pipeline.operations import alerts, freshness
from pipeline.operations.alerts import Alert
from pipeline.operations.verdict import CLOSED, Verdict
from pipeline.settings import Settings
from pipeline.store import Store

TRIES, BACKOFF_SECONDS, PATIENCE_SECONDS = 4, 1.0, 10.0
"""A receiver is asked this often, with waits that double and vary; how long each may take to answer."""
PASSING = (408, 429, 500, 502, 503, 504)
"""Answers of a webhook that say: ask again."""
LINE = 900
"""Characters of a line of e-mail: RFC 5322 allows 998, and a subject that is folded reads badly on a phone."""
SLACK_HOSTS = ("hooks.slack.com", "hooks.slack-gov.com")

logging.getLogger("urllib3").setLevel(logging.ERROR)  # its word on a retry would print a webhook's address, a secret


class Channel(Protocol):
    """One way to a person. ``name`` is the same for the same receiver and tells no secret."""

    @property
    def name(self) -> str:
        """Who is told."""

    def send(self, alert: Alert) -> str | None:
        """Send, trying again what may pass; why it could not be, or ``None``."""


class Webhook(NamedTuple):
    """An address that takes alerts as JSON, or as Slack wants them."""

    url: str
    slack: bool = False
    backoff_seconds: float = BACKOFF_SECONDS

    @property
    def name(self) -> str:
        """``webhook at HOST (digest)``: such an address is a secret."""
        kind = "Slack" if self.slack else "webhook"
        return f"{kind} at {urlsplit(self.url).hostname} ({hashlib.sha256(self.url.encode()).hexdigest()[:8]})"

    def send(self, alert: Alert) -> str | None:
        """Post it."""
        return self.post(alerts.slack(alert) if self.slack else alerts.document(alert))

    def post(self, content: dict[str, Any]) -> str | None:
        """Post any JSON; why it could not be, without the address, or ``None``."""
        patience = Retry(
            total=TRIES - 1, backoff_factor=self.backoff_seconds, backoff_jitter=self.backoff_seconds,
            status_forcelist=PASSING, allowed_methods=None, redirect=0, raise_on_status=False,
            retry_after_max=int(PATIENCE_SECONDS),
        )  # fmt: skip
        try:
            with urllib3.PoolManager(timeout=Timeout(PATIENCE_SECONDS)) as pool:
                answer = pool.request("POST", self.url, json=content, retries=patience)
        except HTTPError as error:
            reason = getattr(error, "reason", None) or error
            return f"{type(reason).__name__} after {TRIES} tries"
        return None if answer.status < 300 else f"HTTP {answer.status}"


class Letter(NamedTuple):
    """E-mail to the configured recipients."""

    mail: Mail
    backoff_seconds: float = BACKOFF_SECONDS

    @property
    def name(self) -> str:
        """``e-mail by HOST``."""
        return f"e-mail by {self.mail.host}:{self.mail.port} to {self.mail.recipients}"

    def send(self, alert: Alert) -> str | None:
        """Hand it to the mail server."""
        for tried in range(TRIES):
            try:
                self._hand_over(letter(alert, self.mail))
            except (smtplib.SMTPException, OSError) as error:
                if tried == TRIES - 1 or isinstance(error, smtplib.SMTPAuthenticationError):
                    return f"{type(error).__name__} after {tried + 1} tries: {error}"
                time.sleep(self.backoff_seconds * 2**tried)
            else:
                break
        return None

    def _hand_over(self, message: EmailMessage) -> None:
        mail, encrypted = self.mail, ssl.create_default_context()
        with (
            smtplib.SMTP_SSL(mail.host, mail.port, timeout=PATIENCE_SECONDS, context=encrypted)
            if mail.encryption == "tls"
            else smtplib.SMTP(mail.host, mail.port, timeout=PATIENCE_SECONDS)
        ) as server:
            if mail.encryption == "starttls":
                server.starttls(context=encrypted)
            if mail.user:
                server.login(mail.user, mail.password.get_secret_value())
            server.send_message(message)


def letter(alert: Alert, mail: Mail) -> EmailMessage:
    """An alert as an e-mail."""
    message = EmailMessage(SMTP.clone(max_line_length=LINE))
    message["Subject"] = f"GOMS {alert.headline}"
    message["From"], message["To"] = mail.sender, mail.recipients
    message["X-GOMS-Key"] = alert.key
    message.set_content(alerts.text(alert))
    return message


def channels(settings: Settings, webhooks: Iterable[str] = ()) -> tuple[Channel, ...]:
    """Every way that the settings and the command name."""
    plain = [url.get_secret_value() for url in settings.alert_webhooks] + list(webhooks)
    found: list[Channel] = [Webhook(url, slack=urlsplit(url).hostname in SLACK_HOSTS) for url in plain]
    found += [Webhook(url.get_secret_value(), slack=True) for url in settings.alert_slack_webhooks]
    mail = settings.alert_mail
    return (*found, *((Letter(mail),) if mail.host and mail.recipients else ()))


def deliver(alert: Alert, channel: Channel) -> bool:
    """Send by one channel: whether it arrived. What did not is said on stderr, never dropped in silence."""
    fault = channel.send(alert)
    if fault is not None:
        print(f"goms: the alert '{alert.headline}' did not reach the {channel.name}: {fault}", file=sys.stderr)
    return fault is None


def failed(flow: Any, flow_run: Any, state: Any) -> None:
    """For a Prefect flow's ``on_failure`` and ``on_crashed``: tell by the blocks that ``GOMS_ALERT_BLOCKS`` names.

    An input that is late as usual is no alarm as long as there is time, nor is a cycle that another run holds.
    """
    settings = Settings()
    try:
        asked = dict(flow_run.parameters or {})
        fired = flow_run.expected_start_time or clock.now()
        cycle = clock.cycle_at(systems.system(str(asked.get("system", "twin"))), asked.get("day"), fired)
        alert = of_flow_run(cycle, asked.get("store"), state.message or "", state.is_crashed(), settings)
    except GomsError as error:
        alert = alerts.store_lost(f"{flow.name} failed: {state.message}; and then: {error}", clock.now(),
                                  settings.runbook)  # fmt: skip
    if alert is not None:
        for name in settings.alert_blocks:
            _through_block(name, alert)


def of_flow_run(cycle: Cycle, store: str | None, message: str, crashed: bool, settings: Settings) -> Alert | None:
    """The alert of a run of a cycle that failed; ``None`` where nobody needs to be told."""
    moment, system = clock.now(), systems.system(cycle.system)
    found = freshness.of(Store(store or settings.store), system, moment, (cycle,))
    standing = next((item for item in found.cycles if item.cycle == cycle.key), None)
    if standing is None or standing.verdict in (*CLOSED, Verdict.WAITING, Verdict.EXPECTED):
        return None
    if crashed and standing.verdict is Verdict.ON_TIME:  # its lease is still running out
        standing = standing.model_copy(update={
            "verdict": Verdict.FAILED, "words": f"the run died at {standing.stage}", "sentence": message,
            "holder": None,
        })  # fmt: skip
    return None if standing.verdict is Verdict.ON_TIME else alerts.alarm(
        system.name, standing, moment, settings.runbook
    )  # fmt: skip


def _through_block(name: str, alert: Alert) -> None:
    from httpx import HTTPError as HttpxError
    from prefect.blocks.abstract import NotificationError
    from prefect.blocks.core import Block
    from prefect.exceptions import PrefectException

    try:
        block: Any = Block.load(name)
        with block.raise_on_failure():
            block.notify(alerts.text(alert), subject=f"GOMS {alert.headline}")
    except (ValueError, OSError, NotificationError, HttpxError, PrefectException) as error:
        print(f"goms: the alert '{alert.headline}' did not reach the block {name}: {error}", file=sys.stderr)
