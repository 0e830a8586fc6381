"""Who said what: flags, the environment and a settings file, merged in that order of precedence.

Nothing is checked here but names: an unknown one is a problem that tells the nearest known one. Each value keeps the
name under which the user wrote it, so that an error can point at it. No value of an unknown name is ever repeated.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from worker import kafka_properties
from worker.secret_files import NoSecret, read_secret

PREFIX = "WORKER_"
KAFKA_PREFIX = "WORKER_KAFKA_"
FILE_VARIABLE = "WORKER_CONFIG"

# Kubernetes sets these for a service that is called "worker"; they are nobody's settings.
_SERVICE_LINK = re.compile(r"WORKER_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")

# Tokens of `serve`, which reads them itself: no flag may hold one, and no other command needs them.
_TOKENS = frozenset(f"WORKER_{whose}_TOKEN{file}" for whose in ("READ", "ADMIN") for file in ("", "_FILE"))


@dataclass(slots=True)
class Gathered:
    """The values of all sources. `labels` maps a field, or `kafka:` and a property, to the name the user wrote."""

    values: dict[str, object] = field(default_factory=dict)
    kafka: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def setting(self, name: str, value: object, label: str) -> None:
        self.values[name] = value
        self.labels[name] = label

    def property(self, name: str, value: str, label: str) -> None:
        canonical = kafka_properties.ALIASES.get(name, name)
        self.kafka[canonical] = value
        self.labels[f"kafka:{canonical}"] = label

    def unknown(self, label: str, candidates: Mapping[str, str], as_property: str) -> None:
        """`candidates` maps what the name is compared with to how the user would write it; `as_property` is how they
        would write it if it is a property of librdkafka, "" if it is none."""
        if as_property:
            self.problems.append(f"{label}: no such setting, but a librdkafka property: write {as_property}")
            return
        key = re.sub(r"[-_.]", "", label.rsplit(" in ", 1)[0].lower())
        found = difflib.get_close_matches(key, candidates, n=1, cutoff=0.6)
        cure = f"; did you mean {candidates[found[0]]}?" if found else ""
        self.problems.append(f"{label}: no such setting{cure}")


def gather(
    flags: Mapping[str, object], environ: Mapping[str, str], file: Path | None, known: Collection[str]
) -> Gathered:
    """All values, the strongest source last. A flag that is None was not given; `kafka` holds NAME=VALUE texts."""
    gathered = Gathered()
    known = frozenset(known) - {"kafka"}
    path = file or (Path(environ[FILE_VARIABLE]) if environ.get(FILE_VARIABLE) else None)
    if path is not None:
        _read_file(gathered, path, known)
    _read_environment(gathered, environ, known)
    _read_flags(gathered, flags, known)
    return gathered


def flag(name: str) -> str:
    """How a field is written on the command line."""
    return "--" + name.replace("_", "-")


def variable(name: str) -> str:
    """How a field is written in the environment."""
    return PREFIX + name.upper()


def _read_file(gathered: Gathered, path: Path, known: Collection[str]) -> None:
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        gathered.problems.append(f"settings file {path}: cannot be read: {exc.strerror}")
        return
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        gathered.problems.append(f"settings file {path}: expected TOML in UTF-8: {exc}")
        return
    candidates = {name.replace("_", ""): name for name in known} | {"kafka": "the table [kafka]"}
    for name, value in document.items():
        label = f"{name} in {path}"
        if name == "kafka" and isinstance(value, dict):
            for prop, content in _flat(value):
                gathered.property(prop, _text(content), f"[kafka] {prop} in {path}")
        elif name in known:
            gathered.setting(name, value, label)
        else:
            inner = [prop for prop, _ in _flat({name: value})]
            prop = _property(inner[0] if inner else name)
            gathered.unknown(label, candidates, f"{prop} in the table [kafka]" if prop else "")


def _property(text: str) -> str:
    """The property that passes through and that somebody meant who took it for a setting; "" when there is none."""
    name = kafka_properties.from_variable(text.replace("-", "_"))
    return name if name in kafka_properties.KNOWN and name not in kafka_properties.REFUSED else ""


def _flat(table: Mapping[str, object], before: str = "") -> Iterator[tuple[str, object]]:
    """TOML reads `ssl.ca.location = …` as nested tables; librdkafka means one name with dots."""
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield before + name, value


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _read_environment(gathered: Gathered, environ: Mapping[str, str], known: Collection[str]) -> None:
    candidates = {variable(name).replace("_", "").lower(): variable(name) for name in (*known, "config")}
    candidates["workerkafka"] = "a property behind it, e.g. WORKER_KAFKA_SECURITY_PROTOCOL"
    for name, value in sorted(environ.items()):
        field_name = name.removeprefix(PREFIX).lower()
        if not name.startswith(PREFIX) or name in {FILE_VARIABLE, *_TOKENS} or _SERVICE_LINK.fullmatch(name):
            continue
        if name.startswith(KAFKA_PREFIX) and name != KAFKA_PREFIX:
            _read_kafka_variable(gathered, name, environ)
        elif field_name in known:
            gathered.setting(field_name, value, name)
        else:
            prop = _property(field_name) or _property(field_name.removesuffix("_file"))
            gathered.unknown(name, candidates, KAFKA_PREFIX + field_name.upper() if prop else "")


def _read_kafka_variable(gathered: Gathered, name: str, environ: Mapping[str, str]) -> None:
    prop = kafka_properties.from_variable(name.removeprefix(KAFKA_PREFIX))
    in_file = kafka_properties.held_in_file(prop)
    if not in_file:
        gathered.property(prop, environ[name], name)
        return
    try:
        gathered.property(in_file, read_secret(name, environ), name)
    except NoSecret as exc:
        gathered.problems.append(str(exc))


def _read_flags(gathered: Gathered, flags: Mapping[str, object], known: Collection[str]) -> None:
    candidates = {name.replace("_", ""): flag(name) for name in known}
    for name, value in flags.items():
        if value is None:
            continue
        if name == "kafka" and isinstance(value, (list, tuple)):
            _read_kafka_flags(gathered, value)
        elif name in known:
            gathered.setting(name, value, flag(name))
        else:
            gathered.unknown(flag(name), candidates, property_flag(name))


def property_flag(name: str) -> str:
    """How the command line takes the property of librdkafka that this flag is named after; "" when it is none."""
    prop = _property(name.removeprefix("--").partition("=")[0])
    return f"--kafka {prop}=…" if prop else ""


def _read_kafka_flags(gathered: Gathered, texts: Collection[object]) -> None:
    for text in texts:
        name, equals, value = str(text).partition("=")
        if not equals or not name.strip():
            gathered.problems.append("--kafka: expected NAME=VALUE, for example --kafka security.protocol=SSL")
        else:
            gathered.property(name.strip(), value.strip(), f"--kafka {name.strip()}")
