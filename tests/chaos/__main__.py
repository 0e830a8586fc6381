"""`python -m tests.chaos`: scenarios in turn, with all settings in turn, until the time is used up."""

from __future__ import annotations

import argparse
import itertools
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.brokers import NoBrokerError
from tests.chaos.cluster import CannotMountError
from tests.chaos.scenario import SCENARIOS, run
from tests.chaos.world import Mode

LONGEST_RUN_S = 130.0  # no run begins that might not end in time
GUARANTEES, PROTOCOLS = ("at_least_once", "exactly_once"), ("classic", "consumer")
SPOILT = "NOTHING TO JUDGE, a broker spoilt transactions,"
PROGRAMME: tuple[
    tuple[str, Mode], ...
] = (  # each scenario with each guarantee and each protocol, as far as time allows
    ("members", Mode("at_least_once", "classic")),
    ("members", Mode("exactly_once", "consumer")),
    ("broker", Mode("exactly_once", "classic")),
    ("network", Mode("at_least_once", "consumer")),
    ("cluster", Mode("exactly_once", "consumer")),
    ("disk", Mode("at_least_once", "classic")),
    ("network", Mode("exactly_once", "classic")),
    ("broker", Mode("at_least_once", "consumer")),
)


def main() -> int:
    """Exit code 0 when every run that was made is right, and each kind was made."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", default="", help="repeats a run; default: another one each time")
    parser.add_argument("--minutes", type=float, default=10.0, help="no longer than this")
    parser.add_argument("--only", default="", choices=["", *SCENARIOS], help="this scenario, with all settings")
    parser.add_argument("--guarantee", default="", choices=["", *GUARANTEES])
    parser.add_argument("--protocol", default="", choices=["", *PROTOCOLS])
    asked = parser.parse_args()
    seed = asked.seed or str(random.randrange(1_000_000))
    deadline = time.monotonic() + asked.minutes * 60
    print(f"seed {seed}: `make chaos SEED={seed}` repeats it", flush=True)
    failed = 0
    modes = [Mode(*each) for each in itertools.product(GUARANTEES, PROTOCOLS)]
    for name, mode in [(asked.only, mode) for mode in modes] if asked.only else PROGRAMME:
        if asked.guarantee not in ("", mode.guarantee) or asked.protocol not in ("", mode.protocol):
            continue
        if time.monotonic() + LONGEST_RUN_S > deadline:
            print(f"NOT RUN, the time is used up: {name} ({mode})", flush=True)
            continue
        failed += not passes(name, mode, seed)
    return int(failed > 0)


def passes(name: str, mode: Mode, seed: str) -> bool:
    """One run, told to people."""
    began = time.monotonic()
    log_dir = Path(tempfile.mkdtemp(prefix="chaos-"))
    try:
        outcome = run(SCENARIOS[name], mode, seed, log_dir)
    except CannotMountError as why:
        print(f"SKIPPED {name} ({mode}): a full log directory needs a file system of its own: {why}", flush=True)
        return True
    took = time.monotonic() - began
    if outcome.wrong:
        (log_dir / "outcome.txt").write_text(f"{outcome}\n")
        verdict = SPOILT if outcome.unmarked else "FAILED"
        print(f"{verdict} after {took:.0f} s; all logs and the brokers' data are in {log_dir}\n{outcome}", flush=True)
        return bool(outcome.unmarked)
    print(f"passed in {took:.0f} s: {outcome.title}\n  " + outcome.measured.replace("\n", "\n  "), flush=True)
    return True


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NoBrokerError as missing:
        sys.exit(f"chaos needs brokers of its own, by Java and Maven: {missing}")
