"""Hypothesis for all property tests: bounded and the same every time. HYPOTHESIS_PROFILE=thorough searches for long.

No deadline, because a busy machine is no finding.
"""

import os

from hypothesis import settings

settings.register_profile("quick", deadline=None, derandomize=True, database=None, max_examples=50)
settings.register_profile("thorough", deadline=None, max_examples=3000, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
