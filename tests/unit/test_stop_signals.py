"""A signal stops the loop; and the process, when the loop does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from tests.brokers import CHECKOUT
from worker.errors import ExitCode
from worker.stop_signals import SIGNALS, StopSignals


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_sets_the_flag(number: signal.Signals) -> None:
    seen = []
    with StopSignals(lambda: seen.append("stop"), 60.0):
        os.kill(os.getpid(), number)
        assert seen == ["stop"]


def test_afterwards_everything_is_as_it_was() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with StopSignals(lambda: None, 60.0):
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert signal.set_wakeup_fd(-1) == -1


def test_a_second_signal_has_its_default_effect() -> None:
    with StopSignals(lambda: None, 60.0), pytest.raises(KeyboardInterrupt):  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)


def test_a_process_that_does_not_look_at_its_flag_ends_at_the_deadline_with_a_name() -> None:
    program = """
        import logging, time
        from worker.stop_signals import StopSignals
        logging.basicConfig()
        with StopSignals(lambda: None, 0.3):
            print("ready", flush=True)
            time.sleep(1000)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    began = time.monotonic()
    os.kill(process.pid, signal.SIGTERM)
    _, log = process.communicate(timeout=20)
    assert process.returncode == ExitCode.UNCLEAN_STOP
    assert "did not stop within" in log
    assert time.monotonic() - began < 10
