"""CPU per call of small pure functions: by turns in every round, so that a disturbance hits all of them."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from benchmarks.figures import Figure

T = TypeVar("T")

WARM_UP = 200


def cpu_per_call(
    functions: Mapping[str, Callable[[T], object]], arguments: Sequence[T], rounds: int
) -> dict[str, Figure]:
    """Call each function with each argument, in every round; microseconds of CPU for a call, the loop included."""
    measured: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        for argument in arguments[:WARM_UP]:
            function(argument)
    for _ in range(rounds):
        for name, function in functions.items():
            gc.collect()
            began = time.process_time_ns()
            for argument in arguments:
                function(argument)
            measured[name].append((time.process_time_ns() - began) / len(arguments) / 1000)
    return {name: Figure(name, "µs CPU", tuple(values), digits=2) for name, values in measured.items()}
