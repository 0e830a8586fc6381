"""Which users the output topic knows: the keys whose newest record says something, and until when. Pure."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

import msgspec


class _Expiry(msgspec.Struct):
    expires_at: float


_decoder = msgspec.json.Decoder(_Expiry)


class Standing:
    """A fold over records of the output topic, on top of what stood `before`."""

    def __init__(self, before: AbstractSet[bytes] = frozenset()) -> None:
        self.untouched = set(before)  # have no newer record
        self.published: dict[bytes, float] = {}  # have one that says something; until when, Unix seconds

    def add(self, key: bytes | None, value: bytes | None) -> None:
        """The next record of its partition."""
        if key is None:
            return
        self.untouched.discard(key)
        if value is None:
            self.published.pop(key, None)
        else:
            self.published[key] = _expires_at(value)

    def has_expired(self, now: float) -> bool:
        """Whether a record stands that is over by the wall clock."""
        return any(expires_at < now for expires_at in self.published.values())


def _expires_at(value: bytes) -> float:
    try:
        return _decoder.decode(value).expires_at
    except (msgspec.DecodeError, UnicodeDecodeError):
        return float("inf")  # not one of ours
