"""A real disk that fills up: memory mounted with a size, in a name space of its own that goes with its process."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from debian import program

SIZE_KILOBYTES = 4096


class SmallDisk:
    """A folder on a disk of ``SIZE_KILOBYTES``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def leave(self, kilobytes: int) -> None:
        """Fill the disk but for so much."""
        room = os.statvfs(self.folder)
        self._ballast.write_bytes(b"\1" * (room.f_bavail * room.f_bsize - 1000 * kilobytes))

    def free(self) -> None:
        """Make room again."""
        self._ballast.unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk for whoever may mount in a name space of one's own, which Linux lets everybody unless it was forbidden."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = f'mount -t tmpfs -o size={SIZE_KILOBYTES}k tmpfs "$0" && echo mounted && exec cat'
    command = [program("unshare", "util-linux"), "--user", "--map-root-user", "--mount", "sh", "-c", mount, str(place)]
    with subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        if process.stdout.readline().strip() != "mounted":
            reason = f"no disk of one's own may be mounted here: {process.stderr.read()}"
            pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
        yield SmallDisk(Path(f"/proc/{process.pid}/root{place}"))
