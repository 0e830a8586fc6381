"""From session-keyed actions to user-keyed context. Importing this costs no Kafka client."""

import schemas

if getattr(schemas, "DISTRIBUTION", None) != "user-context-worker":
    raise ImportError(
        "`worker` needs the package `schemas` of user-context-worker, but Python finds another `schemas` first.\n"
        f"  found:    {getattr(schemas, '__file__', None) or list(schemas.__path__)}\n"
        f"  expected: {__path__[0].removesuffix('worker')}schemas/__init__.py\n"
        "  -> rename the one that was found, or take its folder off sys.path (PYTHONPATH, or the folder you start in)"
    )

# Only now, when `schemas` is known to be ours.
from worker.context.context_store import AsyncContextStore, ContextStore
from worker.context.user_session_index import SessionRef, UserSessionIndex

__all__ = ["AsyncContextStore", "ContextStore", "SessionRef", "UserSessionIndex"]
