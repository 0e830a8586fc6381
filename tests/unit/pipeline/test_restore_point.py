"""What a commit stores beside the offset."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.context.session_memory import NEVER
from worker.pipeline.restore_point import UNKNOWN, RestorePoint, decode, encode

offsets = st.integers(0, 2**63 - 1)
points = st.builds(
    RestorePoint,
    offsets,
    st.just(NEVER) | st.floats(allow_nan=False, allow_infinity=False),
    st.just(UNKNOWN) | offsets,
)


@given(points)
def test_a_point_comes_back_exactly_and_is_short(point: RestorePoint) -> None:
    text = encode(point)
    assert decode(text) == point
    assert len(text) < 150


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        "",
        "node-1",
        "{",
        "[]",
        "3",
        "null",
        "{}",
        '{"v": 1}',
        '{"v": 1, "restore": 5}',
        '{"v": 1, "restore": null, "stream_time": null}',
        '{"v": 1, "restore": "x", "stream_time": null}',
        '{"v": 1, "restore": 5, "stream_time": "x"}',
        '{"v": 1, "restore": 5, "stream_time": []}',
        '{"v": 1, "restore": 5, "stream_time": null, "sound_from": "x"}',
        '{"v": 2, "restore": 5, "stream_time": null}',
    ],
)
def test_metadata_of_another_tool_or_version_is_none_of_ours(metadata: str | None) -> None:
    assert decode(metadata) is None


def test_a_point_of_an_older_version_says_nothing_of_what_was_refused() -> None:
    assert decode('{"v": 1, "restore": 5, "stream_time": 2.5}') == RestorePoint(5, 2.5, UNKNOWN)


@given(st.text(max_size=30))
def test_any_text_can_be_asked(metadata: str) -> None:
    assert decode(metadata) is None
