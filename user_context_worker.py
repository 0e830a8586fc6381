"""The command's way in, under a name of its own: it can tell when another `worker` or `schemas` comes first."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

HOME = Path(__file__).parent


def refuse_shadows() -> None:
    """Raise an ImportError that names the other package, if Python finds another `worker` or `schemas` before ours."""
    for name in ("worker", "schemas"):
        spec = find_spec(name)
        found = Path(spec.origin) if spec is not None and spec.origin else None
        expected = HOME / name / "__init__.py"
        if found is None or found.resolve() != expected.resolve():
            raise ImportError(
                f"user-context-worker needs its own package `{name}`, but Python finds another one first.\n"
                f"  found:    {found or (spec and list(spec.submodule_search_locations or []))}\n"
                f"  expected: {expected}\n"
                "  -> rename or uninstall the one that was found, or take its folder off sys.path (PYTHONPATH)"
            )


def main() -> None:
    """`context-worker`."""
    refuse_shadows()
    from worker.cli import main as run_command  # noqa: PLC0415 - only now is it known to be ours

    run_command()
