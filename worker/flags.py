"""Settings as command-line flags: one flag for each field of `Settings`, so that no list of them is kept twice."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec, get_args

import typer
from pydantic.fields import FieldInfo
from rich.markup import escape
from typer.core import TyperOption

from worker.errors import ExitCode
from worker.printing import telling
from worker.settings import Settings, load_settings
from worker.settings_sources import flag

P = ParamSpec("P")

_PANELS = {
    "Kafka": (
        *(
            "bootstrap_servers",
            "group_id",
            "group_protocol",
            "upgrade_from",
            "session_timeout_ms",
            "heartbeat_interval_ms",
        ),
        *("processing_guarantee", "instance_id", "kafka", "config"),
    ),
    "Topics": (
        *("input_topic", "output_topic", "dlq_topic", "repartition_topic", "session_output_topic", "create_topics"),
    ),
    "What is remembered": (
        *("lookback_seconds", "max_sessions_per_user", "max_actions_per_session", "max_held_sessions"),
        *("max_record_bytes", "max_clock_skew_s", "link_retention_s", "anonymous_user_id_pattern", "include_email"),
        *("expire_idle_users", "idle_after_s"),
    ),
    "How it runs": (
        *("commit_interval_s", "publish_interval_ms", "stall_timeout_s", "dlq_max_ratio", "http_address"),
        *("log_level", "log_format"),
    ),
}
_PANEL_OF = {name: panel for panel, names in _PANELS.items() for name in names}
_NO = "no_"
CONNECTION = ("bootstrap_servers", "kafka")  # what every command that talks to a broker takes


_type_of = TyperOption.display_type_rich


def _type_of_what_takes_one(option: TyperOption, ctx: Any) -> str | None:
    return None if option.is_flag else _type_of(option, ctx)


# A switch takes no value: `--json`, not `--json <bool>`. There is no other way to say so for --help.
TyperOption.display_type_rich = _type_of_what_takes_one  # type: ignore[assignment, method-assign]


def takes_settings(
    *names: str,
) -> Callable[[Callable[Concatenate[Settings, P], ExitCode]], Callable[..., None]]:
    """Make a command of a function that takes the built `Settings` first and returns the process's `ExitCode`.

    The named settings (all, if none is named) are flags; the others still come from the environment and the file.
    """
    fields = {name: Settings.model_fields[name] for name in names or Settings.model_fields}

    def decorate(function: Callable[Concatenate[Settings, P], ExitCode]) -> Callable[..., None]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]

        @functools.wraps(function)
        def command(*args: P.args, **kwargs: P.kwargs) -> None:
            flags = {name: _given(name, kwargs) for name in fields}
            config = kwargs.pop("config")
            assert config is None or isinstance(config, Path)
            settings = load_settings(flags, os.environ, config)
            with telling():
                code = function(settings, *args, **kwargs)
            raise typer.Exit(code)

        _declare(command, [*own, *(one for name, field in fields.items() for one in _options(name, field)), _CONFIG])
        return command

    return decorate


def _declare(command: Callable[..., None], parameters: list[inspect.Parameter]) -> None:
    """Tell typer what the command takes; it reads the signature and the annotations."""
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined] # a function object takes it
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del command.__dict__["__wrapped__"]


def _given(name: str, values: dict[str, Any]) -> object:
    """What the flags said of a field, taken out of `values`; None when they said nothing."""
    yes, no = values.pop(name), values.pop(_NO + name, None)
    if yes and no:
        raise typer.BadParameter(f"{flag(name)} and {flag(_NO + name)} contradict each other")
    return False if no else yes


def _options(name: str, field: FieldInfo) -> list[inspect.Parameter]:
    """Texts, all but the switches: one place checks values, and tells all mistakes together.

    A switch is two flags of their own: as one, the page of help gives its second name a column, and cuts the names.
    """
    help_text = escape(f"{field.description}{_default(field)}")
    more: dict[str, Any] = {"help": help_text, "rich_help_panel": _PANEL_OF[name], "show_default": False}
    annotation: Any = Annotated[str | None, typer.Option(flag(name), metavar=_metavar(field), **more)]
    if name == "kafka":
        more["help"] = escape(f"{field.description} Repeatable. [or WORKER_KAFKA_…]")
        annotation = Annotated[list[str] | None, typer.Option(flag(name), metavar="NAME=VALUE", **more)]
    elif field.annotation is bool:
        against = Annotated[
            bool | None, typer.Option(flag(_NO + name), **more | {"help": f"Not so: {flag(name)} off."})
        ]
        annotation = Annotated[bool | None, typer.Option(flag(name), **more)]
        return [_parameter(name, annotation), _parameter(_NO + name, against)]
    return [_parameter(name, annotation)]


def _parameter(name: str, annotation: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


_CONFIG = inspect.Parameter(
    "config",
    inspect.Parameter.KEYWORD_ONLY,
    default=None,
    annotation=Annotated[
        Path | None,
        typer.Option(
            "--config",
            metavar="FILE",
            help=escape('Settings file, TOML: `group_id = "x"`, `[kafka]`. [or WORKER_CONFIG]'),
            rich_help_panel=_PANEL_OF["config"],
            show_default=False,
        ),
    ],
)


def _choices(field: FieldInfo) -> list[str]:
    """The words that a field may be, if it is one of a few."""
    choices = get_args(field.annotation)
    return list(choices) if all(isinstance(choice, str) for choice in choices) else []


def _metavar(field: FieldInfo) -> str:
    """Short: it has a column of the help, beside the names."""
    if _choices(field):
        return "WORD"
    return {"int": "INTEGER", "float": "NUMBER"}.get(getattr(field.annotation, "__name__", ""), "TEXT")


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None or field.default == "":
        return ""
    default = str(field.default).lower() if isinstance(field.default, bool) else field.default
    untold = [choice for choice in _choices(field) if choice not in (field.description or "")]
    among = f"{', '.join(_choices(field))}; " if untold else ""
    return f" [{among}default {int(default) if isinstance(default, float) and default.is_integer() else default}]"
