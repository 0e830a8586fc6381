"""Bearer tokens: one to read, another to erase. Compared in constant time, and never shown."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from worker.errors import ExitCode, Fatal

READ_VARIABLE = "WORKER_READ_TOKEN"
ADMIN_VARIABLE = "WORKER_ADMIN_TOKEN"
SHORTEST = 16


@dataclass(frozen=True, slots=True)
class Tokens:
    """ "" = there is none: reads are open then, and erasing is off."""

    read: str = field(default="", repr=False)
    admin: str = field(default="", repr=False)


def matches(token: str, given: str | None) -> bool:
    """Whether this is the token, in a time that does not tell how much of it was right."""
    return bool(token) and given is not None and hmac.compare_digest(token.encode(), given.encode())


def tokens_of(environ: Mapping[str, str]) -> Tokens:
    """The tokens that the environment gives: in a variable, or in a file that the variable with `_FILE` names.

    Raises:
        Fatal: USAGE: a file cannot be read, a token is no token, or both are the same.
    """
    tokens = Tokens(_token(environ, READ_VARIABLE), _token(environ, ADMIN_VARIABLE))
    if tokens.read and tokens.read == tokens.admin:
        text = f"{READ_VARIABLE} and {ADMIN_VARIABLE} are the same"
        raise Fatal(ExitCode.USAGE, text, hint="whoever may read must not be able to erase: give two tokens")
    return tokens


def _token(environ: Mapping[str, str], name: str) -> str:
    given, path = environ.get(name, ""), environ.get(f"{name}_FILE", "")
    if given and path:
        raise Fatal(ExitCode.USAGE, f"both {name} and {name}_FILE are set", hint="set one of them")
    if path:
        try:
            given = Path(path).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as exc:
            hint = "give the path of a text file that holds the token alone"
            raise Fatal(ExitCode.USAGE, f"{name}_FILE: {path!r} cannot be read", hint=hint) from exc
        name = f"{name}_FILE"
        if not given:
            raise Fatal(ExitCode.USAGE, f"{name}: the file is empty", hint="put the token into it")
    if given and (len(given) < SHORTEST or not given.isascii() or not given.isprintable() or " " in given):
        text = f"{name}: expected at least {SHORTEST} printable ASCII characters without blanks"
        raise Fatal(
            ExitCode.USAGE, text, hint="make one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return given
