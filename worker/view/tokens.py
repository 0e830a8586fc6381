"""Bearer tokens: one to read, another to erase. Compared in constant time, and never shown."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import SecretStr

from worker.errors import ExitCode, Fatal
from worker.secret_files import FILE, NoSecret, read_secret

READ_VARIABLE = "WORKER_READ_TOKEN"
ADMIN_VARIABLE = "WORKER_ADMIN_TOKEN"
SHORTEST = 16


@dataclass(frozen=True, slots=True)
class Tokens:
    """None = there is none: reads are open then, and erasing is off."""

    read: SecretStr | None = None
    admin: SecretStr | None = None


def matches(token: SecretStr, given: str | None) -> bool:
    """Whether this is the token, in a time that does not tell how much of it was right."""
    return given is not None and hmac.compare_digest(token.get_secret_value().encode(), given.encode())


def tokens_of(environ: Mapping[str, str]) -> Tokens:
    """The tokens that the environment gives: in a variable, or in a file that the variable with `_FILE` names.

    Raises:
        Fatal: USAGE: a file cannot be read, a token is no token, or both are the same.
    """
    tokens = Tokens(_token(environ, READ_VARIABLE), _token(environ, ADMIN_VARIABLE))
    if tokens.read is not None and tokens.read == tokens.admin:
        text = f"{READ_VARIABLE} and {ADMIN_VARIABLE} are the same"
        raise Fatal(ExitCode.USAGE, text, hint="whoever may read must not be able to erase: give two tokens")
    return tokens


def _token(environ: Mapping[str, str], name: str) -> SecretStr | None:
    given, variable = environ.get(name, ""), f"{name}{FILE}"
    if variable in environ:
        try:
            given, name = read_secret(variable, environ).strip(), variable
        except NoSecret as exc:
            hint = "a token alone, in a text file, or in the variable"
            raise Fatal(ExitCode.USAGE, str(exc), hint=hint) from exc
    if not given:
        return None
    if len(given) < SHORTEST or not given.isascii() or not given.isprintable() or " " in given:
        text = f"{name}: expected at least {SHORTEST} printable ASCII characters without blanks"
        raise Fatal(
            ExitCode.USAGE, text, hint="make one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        )
    return SecretStr(given)
