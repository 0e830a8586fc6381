"""Which users the output topic knows: the keys whose newest record says something. Pure."""

from __future__ import annotations

from collections.abc import Set as AbstractSet


class Standing:
    """A fold over records of the output topic, on top of what stood `before`."""

    def __init__(self, before: AbstractSet[bytes] = frozenset()) -> None:
        self.untouched = set(before)  # have no newer record
        self.published: set[bytes] = set()  # have one that says something

    def add(self, key: bytes | None, value: bytes | None) -> None:
        """The next record of its partition."""
        if key is None:
            return
        self.untouched.discard(key)
        if value is None:
            self.published.discard(key)
        else:
            self.published.add(key)
