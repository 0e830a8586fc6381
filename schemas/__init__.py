"""The wire contract: what stands on the topics. Free of Kafka, so producers and chat services can import it alone."""

from schemas.actions import ActionsPayload, SlimAction, SummaryPayload
from schemas.user_context import SessionContext, UserContext, VisitorContext

__all__ = ["ActionsPayload", "SessionContext", "SlimAction", "SummaryPayload", "UserContext", "VisitorContext"]

DISTRIBUTION = (
    "user-context-worker"  # `schemas` is a common name: this one says whose it is (`worker/__init__.py` looks)
)
