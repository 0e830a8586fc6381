"""What a small HTTP service of ours answers."""

from __future__ import annotations

import urllib.request
from urllib.error import HTTPError


def http_get(port: int, path: str) -> tuple[int, str]:
    """Status and body; (0, "") while nobody listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
            return response.status, response.read().decode()
    except HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except OSError:
        return 0, ""
