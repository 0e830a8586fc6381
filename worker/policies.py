"""What the stages go by, from the settings: the same for the service and for the tests' driver."""

from __future__ import annotations

import re

from worker.pipeline.by_session import LinkPolicy
from worker.pipeline.by_user import UserPolicy
from worker.pipeline.rendering import RenderPolicy
from worker.pipeline.visitors import VisitorPolicy
from worker.settings import Settings


def link_policy(settings: Settings) -> LinkPolicy:
    """The by_session stage's policy."""
    pattern = settings.anonymous_user_id_pattern
    return LinkPolicy(
        retention_s=settings.retention_s,
        link_retention_s=settings.link_retention_s,
        max_actions_per_session=settings.max_actions_per_session,
        max_held_sessions=settings.max_held_sessions,
        anonymous_user_id=re.compile(pattern) if pattern else None,
        include_email=settings.include_email,
    )


def user_policy(settings: Settings, largest_value_bytes: int | None = None) -> UserPolicy:
    """The by_user stage's policy. `largest_value_bytes` is what the output topic takes; None = anything."""
    return UserPolicy(
        _render_policy(settings, largest_value_bytes),
        idle_after_s=settings.idle_after_s,
        expire_idle_users=settings.expire_idle_users,
    )


def visitor_policy(settings: Settings, largest_value_bytes: int | None = None) -> VisitorPolicy | None:
    """What the by_session stage publishes by; None = it publishes nothing. `largest_value_bytes` as for users."""
    if not settings.session_output_topic:
        return None
    return VisitorPolicy(
        _render_policy(settings, largest_value_bytes),
        retention_s=settings.retention_s,
        link_retention_s=settings.link_retention_s,
        idle_after_s=settings.idle_after_s if settings.expire_idle_users else None,
    )


def _render_policy(settings: Settings, largest_value_bytes: int | None) -> RenderPolicy:
    max_record_bytes = settings.max_record_bytes
    if largest_value_bytes is not None:
        max_record_bytes = min(max_record_bytes, largest_value_bytes)
    return RenderPolicy(
        lookback_s=settings.lookback_seconds,
        max_sessions=settings.max_sessions_per_user,
        max_actions_per_session=settings.max_actions_per_session,
        max_record_bytes=max_record_bytes,
        include_email=settings.include_email,
    )
