"""What a stage needed of memory at the most: this process's own, and the accelerator's."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import NamedTuple

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
_FORGET_PEAK = "5"
"""Written to clear_refs it sets the peak resident size back to the present one: proc(5)."""


class Peaks(NamedTuple):
    """The most in bytes; ``None`` where the system does not say, or no accelerator is used."""

    memory_bytes: int | None
    device_memory_bytes: int | None


class Watch:
    """Counts from where it was made; stages that run at the same time in one process share their peaks."""

    def __init__(self) -> None:
        self._counting = _forgotten()
        if "torch" in sys.modules:  # else no accelerator is in use, and a run by persistence does without
            from models import peaks

            peaks.forget()

    def peaks(self) -> Peaks:
        """The peaks since then."""
        device = None
        if "torch" in sys.modules:
            from models import peaks

            device = peaks.device_bytes()
        found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text()) if self._counting else None
        return Peaks(int(found[1]) * 1024 if found else None, device)


def _forgotten() -> bool:
    """Set the peak back; False where the system does not let us: then it would be that of the process's whole life."""
    try:
        _CLEAR.write_text(_FORGET_PEAK)
    except OSError:
        return False
    return True
