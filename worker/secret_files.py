"""Secrets from files of their own, as container platforms mount them: a variable that ends in `_FILE` has the path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

FILE = "_FILE"


class NoSecret(ValueError):
    """The file cannot be taken. Its text names the variable and the path, and nothing of what is in the file."""


def read_secret(variable: str, environ: Mapping[str, str]) -> str:
    """What the file holds that `variable` (with `_FILE`) names, without the line break at its end.

    Raises:
        NoSecret: it cannot be read, or is empty; or the variable without `_FILE` is there as well.
    """
    path, plain = environ[variable], variable.removesuffix(FILE)
    shown = _shown(path)
    if environ.get(plain):
        raise NoSecret(f"both {plain} and {variable} are set (to {shown}): set one of them")
    try:
        secret = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise NoSecret(f"{variable}: {shown} is no text in UTF-8") from None
    except (OSError, ValueError) as exc:  # a path with a NUL in it is a ValueError
        why = (isinstance(exc, OSError) and exc.strerror) or "no path"
        raise NoSecret(f"{variable}: {shown} cannot be read: {why}") from exc
    if not secret:
        raise NoSecret(f"{variable}: {shown} is empty: put the secret into it")
    return secret


def _shown(path: str) -> str:
    """What does not look like a path may be the secret itself, which somebody took for what belongs there."""
    return repr(path) if not path or path[0] in "/." else "the path (not shown: it begins with neither / nor .)"
