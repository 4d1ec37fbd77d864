"""A real browser for the tests: Debian's Chromium without a window, driven by its own protocol, with an eye on it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import debian
from playwright.sync_api import BrowserContext, Page, Request, expect, sync_playwright

from pipeline.store import Store

ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
TELL_REFUSALS = """addEventListener('securitypolicyviolation', event =>
    console.error(`refused by its policy: ${event.effectiveDirective} ${event.blockedURI} ${event.sample}`))"""
"""A page's own policy stops code that breaks it: that is said among its errors, once more than the browser does."""
PATIENCE_MS = 120_000
"""Longest wait for anything on the page: it is there in a second, much later on a busy machine."""


class Watched:
    """A page and everything that it said and asked for.

    To wait for something ``expect`` it or select it: Playwright's ``wait_for_function`` makes code from text in the
    page, which the page's policy refuses.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        self.requests: list[Request] = []
        page.add_init_script(TELL_REFUSALS)
        page.on("console", lambda said: self.errors.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("requestfailed", lambda request: self.errors.append(f"{request.url}: {request.failure}"))
        page.on("request", lambda request: self.requests.append(request))  # noqa: PLW0108 - a function of C takes no marks

    @property
    def origins(self) -> set[str]:
        """Where its requests went."""
        return {urlsplit(request.url).netloc for request in self.requests if not request.url.startswith("data:")}

    def drawn(self, what: str) -> None:
        """Wait until a variable and lead day are on the map: ``to/0``."""
        self.page.wait_for_selector(f"#map[data-drawn='{what}']", timeout=PATIENCE_MS)


@contextmanager
def chromium(width: int = 1400, height: int = 900, **options: object) -> Iterator[BrowserContext]:
    """A fresh browser with a profile of its own; ended, and its profile gone, at the end."""
    path = debian.program("chromium", "chromium")
    with tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True) as folder, sync_playwright() as by:
        context = by.chromium.launch_persistent_context(
            folder, executable_path=path, headless=True, args=ARGUMENTS, chromium_sandbox=False,
            viewport={"width": width, "height": height}, timeout=PATIENCE_MS, **options,  # type: ignore[arg-type]
        )  # fmt: skip
        context.set_default_timeout(PATIENCE_MS)
        expect.set_options(timeout=PATIENCE_MS)
        try:
            yield context
        finally:
            context.close()


def address(store: Store, endpoint: str, system: str) -> str:
    """Where the page of a system lies on an S3 server."""
    return f"{endpoint}/{store.uri.removeprefix('s3://')}/{system}/view/index.html"
