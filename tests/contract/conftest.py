"""Both sides of the seam."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.contract.seam import FakeSeam, RealSeam, Seam


@pytest.fixture(params=[pytest.param("fake"), pytest.param("kafka", marks=pytest.mark.kafka)])
def seam(request: pytest.FixtureRequest, unique: Callable[[str], str]) -> Iterator[Seam]:
    """The fakes, then a real Kafka."""
    side: Seam = FakeSeam() if request.param == "fake" else RealSeam(request.getfixturevalue("kafka"), unique)
    yield side
    side.close()


@pytest.fixture
def gap_of_the_fake(request: pytest.FixtureRequest) -> None:
    """What the fakes do not do, and the runtime does not need of them."""
    if request.node.callspec.params["seam"] == "fake":
        request.applymarker(pytest.mark.xfail(strict=True, reason="a known gap of the fake"))
