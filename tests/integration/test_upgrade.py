"""A rolling upgrade: members of two versions in one group, there and back, under load."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.brokers import CHECKOUT
from tests.integration.running import Load, MakeBench
from worker.errors import ExitCode

PREVIOUS = "f8da6fb"  # what a group runs before the upgrade: its settings, its forms, its commits
STOP_S = 15.0
PAYLOADS = 300


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of the version before, run by the same Python with the same packages."""
    if shutil.which("git") is None:
        pytest.skip("THE UPGRADE WAS NOT TRIED: no git here to get the version before with")
    archive_command = ["git", "archive", PREVIOUS, "worker", "schemas"]
    packed = subprocess.run(archive_command, cwd=CHECKOUT, capture_output=True, check=False)
    if packed.returncode != 0:
        pytest.skip(f"THE UPGRADE WAS NOT TRIED: this checkout's history has no {PREVIOUS} ({packed.stderr.decode()})")
    folder = tmp_path_factory.mktemp("previous")
    with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as archive:
        archive.extractall(folder, filter="data")
    code = "import worker; print(worker.__file__)"
    found = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()).is_relative_to(folder)
    return folder


@pytest.mark.parametrize("guarantee", ["at_least_once", "exactly_once"])
def test_members_of_two_versions_work_together_there_and_back(
    make_bench: MakeBench, previous: Path, guarantee: str
) -> None:
    bench = make_bench(partitions=4, processing_guarantee=guarantee)
    load = Load(bench)
    group = bench.group
    running = [bench.start(name, code=previous) for name in ("old-1", "old-2")]
    group.wait_for_owners(2)
    load.send(PAYLOADS)
    steps = [(CHECKOUT, "new-1"), (CHECKOUT, "new-2"), (previous, "back-1")]
    for code, name in steps:  # one at a time, the new one first: as the Deployment does
        running.append(bench.start(name, code=code))
        group.wait_for_owners(3)
        load.send(PAYLOADS)
        leaving = running.pop(0)
        group.dismiss(leaving)
        load.send(PAYLOADS)
        leaving.wait_exit(ExitCode.OK, timeout_s=STOP_S)
        group.wait_for_owners(2)
    bench.wait_for_texts(load.texts)
    assert bench.dead_letters() == []
