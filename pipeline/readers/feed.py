"""New forecasts as an Atom feed (RFC 4287), newest first; links are relative to where the feed lies."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from urllib.parse import urlsplit
from xml.etree import ElementTree

from pipeline.credits import Publisher
from pipeline.systems import System

NAMESPACE = "http://www.w3.org/2005/Atom"
SINCE = "2026"
"""The year from which the publisher's domain stands in the identifiers (tag: URIs, RFC 4151)."""


class News(NamedTuple):
    """One entry: what was published, when, and where."""

    title: str
    updated: datetime
    key: str
    link: str
    words: str
    publisher: Publisher


def atom(system: System, news: list[News]) -> bytes:
    """The feed; the same news give the same bytes."""
    root = ElementTree.Element("feed", xmlns=NAMESPACE)
    newest = max(item.updated for item in news)
    _text(root, "title", f"{system.title}: forecasts")
    _text(root, "id", _tag(news[0].publisher, system.name))
    _text(root, "updated", _stamp(newest))
    author = ElementTree.SubElement(root, "author")
    _text(author, "name", news[0].publisher.name)
    ElementTree.SubElement(root, "link", rel="self", href="feed.xml")
    for item in news:
        entry = ElementTree.SubElement(root, "entry")
        _text(entry, "title", item.title)
        _text(entry, "id", _tag(item.publisher, item.key))
        _text(entry, "updated", _stamp(item.updated))
        _text(entry, "summary", item.words)
        ElementTree.SubElement(entry, "link", rel="alternate", type="application/json", href=item.link)
    ElementTree.indent(root, " ")
    made: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return made + b"\n"


def _text(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, name).text = text


def _tag(publisher: Publisher, key: str) -> str:
    return f"tag:{urlsplit(publisher.url).hostname or 'goms.invalid'},{SINCE}:{key}"


def _stamp(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"
