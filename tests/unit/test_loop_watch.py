"""A loop that does not come round any more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

from tests.brokers import CHECKOUT
from worker.errors import ExitCode
from worker.loop_watch import LoopWatch

STUCK = """
import time
from worker.log_setup import set_up_log
from worker.loop_watch import LoopWatch

def waits_for_ever():
    print("begun", flush=True)
    time.sleep(60)

set_up_log("INFO", "text")
with LoopWatch(lambda: 1.0, {seconds}):
    waits_for_ever()
"""


def stuck(seconds: float) -> subprocess.Popen[str]:
    """A process that is stuck from the start, and ends after so long."""
    return subprocess.Popen(
        [sys.executable, "-c", STUCK.format(seconds=seconds)],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_stuck_loop_ends_the_process_with_a_name_and_all_stacks_once() -> None:
    with stuck(0.3) as process:
        told = process.communicate(timeout=30)[1]
    assert process.returncode == ExitCode.STUCK
    assert "the loop has not come round for" in told
    assert told.count("in waits_for_ever") == 1
    assert "in _watch" in told


def test_a_process_that_was_suspended_is_not_stuck_for_that() -> None:
    with stuck(3.0) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(3.5)  # the length is what is tested
        os.kill(process.pid, signal.SIGCONT)
        woken = time.monotonic()
        process.communicate(timeout=30)
        assert time.monotonic() - woken > 1.0
    assert process.returncode == ExitCode.STUCK


def test_a_loop_that_comes_round_is_left_alone() -> None:
    ended, turns = threading.Event(), iter(range(10**9))
    looked = threading.Event()

    def last_turn() -> float:
        turn = next(turns)
        if turn == 30:
            looked.set()
        return float(turn)

    with LoopWatch(last_turn, 0.05, lambda _: ended.set()):
        assert looked.wait(10)
    assert not ended.is_set()
