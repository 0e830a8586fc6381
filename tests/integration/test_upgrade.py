"""A rolling upgrade: members of two versions in one group, there and back, under load."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests.acceptance.topic_log import read_topic
from tests.brokers import CHECKOUT
from tests.integration.running import Bench, Load, MakeBench
from worker.errors import ExitCode

PREVIOUS = "f8da6fb"  # what a group runs before the upgrade: its settings, its forms, its commits
IN_FORM_1 = "3f06998"  # the last that knows no other form of the repartition topic
STOP_S = 15.0
PAYLOADS = 300


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of the version before, run by the same Python with the same packages."""
    return code_of(PREVIOUS, tmp_path_factory.mktemp("previous"))


@pytest.fixture(scope="module")
def in_form_1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of the one that knows form 1 only."""
    return code_of(IN_FORM_1, tmp_path_factory.mktemp("in_form_1"))


def code_of(commit: str, folder: Path) -> Path:
    """Put the code as it was at a commit into a folder."""
    if shutil.which("git") is None:
        pytest.skip("THE UPGRADE WAS NOT TRIED: no git here to get the version before with")
    archive_command = ["git", "archive", commit, "worker", "schemas"]
    packed = subprocess.run(archive_command, cwd=CHECKOUT, capture_output=True, check=False)
    if packed.returncode != 0:
        pytest.skip(f"THE UPGRADE WAS NOT TRIED: this checkout's history has no {commit} ({packed.stderr.decode()})")
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
    upgrade = Upgrade(make_bench(partitions=4, processing_guarantee=guarantee), previous)
    upgrade.replace_one("new-1")
    upgrade.replace_one("new-2")
    upgrade.replace_one("back-1", previous)
    upgrade.check()


def test_a_group_that_knows_form_1_only_is_upgraded_in_two_steps(make_bench: MakeBench, in_form_1: Path) -> None:
    bench = make_bench(partitions=4)
    upgrade = Upgrade(bench, in_form_1)
    upgrade.replace_one("careful-1", upgrade_from="1")
    upgrade.replace_one("careful-2", upgrade_from="1")
    assert forms(bench) == {1}
    upgrade.replace_one("new-1")
    upgrade.replace_one("new-2")
    upgrade.check()
    assert forms(bench) == {1, 2}


class Upgrade:
    """Two old members under load; one after the other is replaced, the new one first, as the Deployment does it."""

    def __init__(self, bench: Bench, code: Path) -> None:
        self._bench = bench
        self._load = Load(bench)
        self._running = [bench.start(name, code=code) for name in ("old-1", "old-2")]
        bench.group.wait_for_owners(2)
        self._load.send(PAYLOADS)

    def replace_one(self, name: str, code: Path = CHECKOUT, **settings: object) -> None:
        """Start a member, then stop the oldest."""
        group = self._bench.group
        self._running.append(self._bench.start(name, code=code, **settings))
        group.wait_for_owners(3)
        self._load.send(PAYLOADS)
        leaving = self._running.pop(0)
        group.dismiss(leaving)
        self._load.send(PAYLOADS)
        leaving.wait_exit(ExitCode.OK, timeout_s=STOP_S)
        group.wait_for_owners(2)

    def check(self) -> None:
        """Every user has all that they did, and nothing was refused."""
        self._bench.wait_for_texts(self._load.texts)
        assert self._bench.dead_letters() == []


def forms(bench: Bench) -> set[int]:
    """Of the payloads on the repartition topic."""
    topic = read_topic(bench.bootstrap, bench.group.repartition_topic)
    values = [record.value for records in topic.values() for record in records if record.value]
    return {1 if value.startswith(b"\x9a\x01") else value[0] for value in values}
