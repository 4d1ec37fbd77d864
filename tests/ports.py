"""Ports for servers that cannot be given port 0: nobody else takes them before the server does.

They lie below those that the kernel hands out by itself, each worker of a test run has a range of its own, and none is
given twice.
"""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path

FIRST = 12_000
"""Above it are no ports that browsers refuse."""
WORKERS = 8


def _range() -> list[int]:
    """The ports of this worker, in an order of its own."""
    handed_out = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS
    numbers = list(range(FIRST, handed_out))[worker::WORKERS]
    random.SystemRandom().shuffle(numbers)
    return numbers


_LEFT = _range()


def free_ports(count: int) -> list[int]:
    """So many ports of 127.0.0.1 that nobody listens on."""
    found = list[int]()
    while len(found) < count:
        number = _LEFT.pop()
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", number))
            except OSError:
                continue
        found.append(number)
    return found


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]
