"""From session-keyed actions to user-keyed context. Importing this costs no Kafka client."""

from importlib import import_module
from typing import TYPE_CHECKING

import schemas

if getattr(schemas, "DISTRIBUTION", None) != "user-context-worker":
    raise ImportError(
        "`worker` needs the package `schemas` of user-context-worker, but Python finds another `schemas` first.\n"
        f"  found:    {getattr(schemas, '__file__', None) or list(schemas.__path__)}\n"
        f"  expected: {__path__[0].removesuffix('worker')}schemas/__init__.py\n"
        "  -> rename the one that was found, or take its folder off sys.path (PYTHONPATH, or the folder you start in)"
    )

# Only now, when `schemas` is known to be ours.
from schemas.user_context import SessionRef
from worker.context.context_store import AsyncContextStore, ContextStore
from worker.context.user_session_index import UserSessionIndex

if TYPE_CHECKING:
    from worker.publisher import ActionsPublisher, AsyncActionsPublisher
    from worker.view import AsyncUserContextView, UserContextView

__all__ = [
    "ActionsPublisher",
    "AsyncActionsPublisher",
    "AsyncContextStore",
    "AsyncUserContextView",
    "ContextStore",
    "SessionRef",
    "UserContextView",
    "UserSessionIndex",
]

_AT_FIRST_USE = {  # these import the Kafka client
    "ActionsPublisher": "worker.publisher",
    "AsyncActionsPublisher": "worker.publisher",
    "AsyncUserContextView": "worker.view",
    "UserContextView": "worker.view",
}


if not TYPE_CHECKING:  # where it stood, a type checker would take any name

    def __getattr__(name: str) -> object:
        if name not in _AT_FIRST_USE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_AT_FIRST_USE[name]), name)
