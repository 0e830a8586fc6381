"""The chat side: what every user has just done, read from the output topic."""

from worker.view.async_view import AsyncUserContextView
from worker.view.reads import NotInShare
from worker.view.status import ViewStatus
from worker.view.user_context_view import NotReady, UserContextView, ViewStats

__all__ = ["AsyncUserContextView", "NotInShare", "NotReady", "UserContextView", "ViewStats", "ViewStatus"]
