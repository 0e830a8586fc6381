"""What counts as flat."""

from __future__ import annotations

import os
import random

import pytest

from tests.soak.__main__ import descriptors, resident_mb
from tests.soak.flatness import Criterion, Sample, growth, slope_per_hour

MEMORY = Criterion("memory", "MB", share=0.02, least=2.0)


def series(per_hour: float, *, noise: float = 0.0, begin: float = 100.0, minutes: int = 30) -> list[Sample]:
    rng = random.Random(1)
    return [
        Sample(second, begin + per_hour * second / 3600 + rng.uniform(-noise, noise))
        for second in range(0, minutes * 60, 5)
    ]


def test_a_leak_is_not_flat_and_its_slope_is_told() -> None:
    leak = series(30.0, noise=1.0)
    assert not MEMORY.is_flat(leak)
    assert slope_per_hour(leak) == pytest.approx(30.0, abs=2.0)
    assert growth(leak) == pytest.approx(10.0, abs=1.0)
    assert MEMORY.verdict(leak).startswith("memory: NOT FLAT; from 10")


def test_noise_and_a_spike_are_flat() -> None:
    noisy = series(0.0, noise=3.0)
    noisy[200] = Sample(noisy[200].at, 900.0)
    assert MEMORY.is_flat(noisy)
    assert abs(slope_per_hour(noisy)) < 2.0
    assert "memory: flat" in MEMORY.verdict(noisy)


def test_what_shrinks_is_flat() -> None:
    assert MEMORY.is_flat(series(-50.0))


def test_the_larger_of_the_two_allowances_counts() -> None:
    assert MEMORY.allowed(series(0.0, begin=50.0)) == 2.0
    assert MEMORY.allowed(series(0.0, begin=500.0)) == 10.0


def test_too_few_samples_are_no_verdict() -> None:
    assert not MEMORY.is_flat(series(0.0)[:5])
    assert MEMORY.verdict(series(0.0)[:5]) == "memory: 5 samples are too few"


def test_a_process_can_be_sampled() -> None:
    before = descriptors(os.getpid())
    with open(__file__, encoding="utf-8"):
        assert descriptors(os.getpid()) == before + 1
    assert 5 < resident_mb(os.getpid()) < 5000
