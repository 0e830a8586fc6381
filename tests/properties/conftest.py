"""Hypothesis for all property tests: no deadline, because a busy machine is no finding."""

from hypothesis import settings

settings.register_profile("project", deadline=None)
settings.load_profile("project")
