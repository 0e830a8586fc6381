"""The tests that need no broker, with the oldest versions that pyproject.toml admits: `python -m tests.floors FOLDER`.

FOLDER gets a virtual environment in which what the service needs to run is exactly at its floor. What only the tests
need is as new as it comes: nobody else installs it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
TESTS = ("tests/unit", "tests/properties", "tests/test_architecture.py", "tests/test_readme.py")
_FLOOR = re.compile(r"([A-Za-z0-9._-]+)(?:\[[^\]]*\])?>=([0-9][0-9A-Za-z.]*)")


def floors(requirements: Iterable[str]) -> Iterator[str]:
    """Each requirement pinned to its floor.

    Raises:
        ValueError: one has no floor, or more than that.
    """
    for requirement in requirements:
        found = _FLOOR.fullmatch(requirement.replace(" ", ""))
        if found is None:
            raise ValueError(f"expected NAME>=VERSION, got {requirement!r}")
        yield f"{found[1]}=={found[2]}"


def of_the_service(pyproject: Path) -> list[str]:
    """The floors of what somebody installs who runs the service."""
    project = tomllib.loads(pyproject.read_text())["project"]
    return list(floors([*project["dependencies"], *project["optional-dependencies"]["serve"]]))


def main() -> int:
    folder = Path(sys.argv[1])
    python = str(folder / "bin" / "python")
    pinned = of_the_service(CHECKOUT / "pyproject.toml")
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    constraints = folder / "floors.txt"
    constraints.write_text("\n".join(pinned) + "\n")
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", str(constraints)]
    subprocess.run([*pip, "--editable", f"{CHECKOUT}[test]"], check=True)
    sys.stdout.write("\n".join(["tested with:", *(f"  {each}" for each in pinned)]) + "\n")
    sys.stdout.flush()
    tests = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *TESTS]
    return subprocess.run(tests, cwd=CHECKOUT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
