"""A call that nothing else can interrupt ends at its deadline, with all it started."""

from __future__ import annotations

import math
import multiprocessing
import time
from pathlib import Path

import psutil
import pytest

from pipeline.errors import InputRefused, InputUnavailable
from pipeline.sources import killable
from tests.archive_servers import uninterruptible


def test_what_a_function_returns_is_returned_whatever_it_prints() -> None:
    assert killable.run(uninterruptible.chatter, 2.0, deadline_seconds=60) == math.sqrt(2.0)


def test_what_a_function_raises_is_raised() -> None:
    with pytest.raises(InputRefused, match="found 7 in it"):
        killable.run(uninterruptible.refuse, "7 in it", deadline_seconds=60)


def test_a_process_that_dies_says_how_it_ended_and_its_last_words() -> None:
    with pytest.raises(InputUnavailable, match=r"ended by SIGSEGV: the library's last words"):
        killable.run(uninterruptible.crash, deadline_seconds=60)


def test_a_hang_in_c_ends_at_its_deadline_and_leaves_no_process(tmp_path: Path) -> None:
    with pytest.raises(InputUnavailable, match="no answer within 5 s: it was ended"):
        killable.run(uninterruptible.hang, str(tmp_path), deadline_seconds=5)
    assert not psutil.pid_exists(int((tmp_path / "pid").read_text()))


def test_no_process_stays_behind_when_the_caller_is_killed(tmp_path: Path) -> None:
    caller = multiprocessing.get_context("fork").Process(
        target=killable.run, args=(uninterruptible.hang, str(tmp_path)), kwargs={"deadline_seconds": 600.0}
    )
    caller.start()
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.05)
    child = psutil.Process(int((tmp_path / "pid").read_text()))
    sleeper = psutil.wait_procs(child.children(), timeout=0)[1]
    caller.kill()
    caller.join()
    gone, _ = psutil.wait_procs([child], timeout=60)
    for process in sleeper:
        process.kill()
    assert gone == [child]
