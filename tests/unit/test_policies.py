"""What the stages go by, from the settings."""

from __future__ import annotations

import re

from worker.pipeline.by_session import LinkPolicy
from worker.pipeline.by_user import UserPolicy
from worker.pipeline.rendering import RenderPolicy
from worker.pipeline.visitors import VisitorPolicy
from worker.policies import link_policy, user_policy, visitor_policy
from worker.settings import Settings


def test_the_defaults_of_the_settings_are_those_of_the_policies() -> None:
    assert link_policy(Settings()) == LinkPolicy()
    assert user_policy(Settings()) == UserPolicy(RenderPolicy())


def test_every_setting_arrives() -> None:
    settings = Settings(
        lookback_seconds=60,
        link_retention_s=90,
        max_actions_per_session=5,
        max_held_sessions=6,
        max_sessions_per_user=7,
        max_record_bytes=2048,
        include_email=False,
        idle_after_s=3,
        expire_idle_users=False,
        anonymous_user_id_pattern="^anon-",
    )
    assert link_policy(settings) == LinkPolicy(120, 90, 5, 6, re.compile("^anon-"), include_email=False)
    assert user_policy(settings) == UserPolicy(
        RenderPolicy(60, 7, 5, 2048, include_email=False), 3, expire_idle_users=False
    )


def test_visitors_have_a_policy_where_they_have_a_topic() -> None:
    assert visitor_policy(Settings()) is None
    named = Settings(session_output_topic="sessions")
    assert visitor_policy(named) == VisitorPolicy(RenderPolicy())
    settings = named.model_copy(update={"lookback_seconds": 60, "link_retention_s": 90, "idle_after_s": 3})
    assert visitor_policy(settings, 2048) == VisitorPolicy(RenderPolicy(60, max_record_bytes=2048), 120, 90, 3)
    never = named.model_copy(update={"expire_idle_users": False})
    assert visitor_policy(never) == VisitorPolicy(RenderPolicy(), idle_after_s=None)


def test_a_record_is_never_larger_than_the_topic_takes() -> None:
    assert user_policy(Settings(), 1000).render.max_record_bytes == 1000
    assert user_policy(Settings(), 10_000_000).render.max_record_bytes == 524_288
