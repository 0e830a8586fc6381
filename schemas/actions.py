"""The payloads on the input topic."""

from __future__ import annotations

import re

# Texts come from strangers and end up in a prompt: nothing in them may begin a new line.
_CONTROL_RUN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def action_line(index: int, kind: str, description: str, canonical_url: str) -> str:
    """One action as one line: `[index] type: description — canonical_url`, each run of control characters one space."""
    line = f"[{index}] {kind}: {description} — {canonical_url}"
    return line if line.isprintable() else _CONTROL_RUN.sub(" ", line)
