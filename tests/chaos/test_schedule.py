"""A schedule is the same for the same seed, and holds every nemesis of its deck."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from tests.chaos.nemeses import NEMESES
from tests.chaos.scenario import SCENARIOS
from tests.chaos.schedule import Deck, Span, draw, length_s

DECK = Deck({"kill": Span(1, 2), "pause": Span(8, 9)}, {"kill": 3})


def test_the_same_seed_gives_the_same_schedule_and_another_one_another() -> None:
    assert draw("1", DECK) == draw("1", DECK)
    assert len({tuple(draw(str(seed), DECK)) for seed in range(20)}) == 20


def test_every_nemesis_comes_as_often_and_lasts_as_long_as_the_deck_says() -> None:
    for seed in range(50):
        steps = draw(str(seed), DECK)
        assert Counter(step.name for step in steps) == {"kill": 3, "pause": 1}
        for step in steps:
            assert DECK.lasts[step.name].least <= step.for_s <= DECK.lasts[step.name].most
            assert step.until_s <= length_s(steps)
        begins = [step.at_s for step in steps]
        assert begins == sorted(begins)


def test_some_overlap_and_most_do_not() -> None:
    pairs = [pair for seed in range(50) for pair in _neighbours(str(seed))]
    overlapping = sum(later < earlier for earlier, later in pairs)
    assert 0.1 < overlapping / len(pairs) < 0.4


def _neighbours(seed: str) -> list[tuple[float, float]]:
    steps = draw(seed, DECK)
    return [(first.until_s, second.at_s) for first, second in itertools.pairwise(steps)]


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_can_be_played_and_ends_in_time(name: str) -> None:
    deck = SCENARIOS[name].deck
    assert deck.lasts.keys() <= NEMESES.keys()
    assert deck.times.keys() <= deck.lasts.keys()
    assert max(length_s(draw(str(seed), deck)) for seed in range(200)) < 70


def test_every_nemesis_is_played_somewhere() -> None:
    played = {name for scenario in SCENARIOS.values() for name in scenario.deck.lasts}
    assert played == NEMESES.keys()
