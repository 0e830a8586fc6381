"""The main job on a topic of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.acceptance.job import Job
from tests.acceptance.traffic import Plan


@pytest.fixture
def make_job(kafka: str, unique: Callable[[str], str], tmp_path: Path) -> Iterator[Callable[..., Job]]:
    """`make_job(plan, **settings)`: topics, traffic and a group without members. One per test."""
    jobs: list[Job] = []

    def make(plan: Plan | None = None, **settings: object) -> Job:
        assert not jobs
        jobs.append(Job(kafka, unique, tmp_path, plan or Plan()))
        jobs[0].group.settings.update(settings)
        return jobs[0]

    yield make
    for job in jobs:
        job.group.close()
        job.close()
