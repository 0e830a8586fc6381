"""Which transactions were spoilt, by a broker's own log."""

from __future__ import annotations

from tests.chaos.unmarked import unmarked

LOG = """\
2026-11-26 00:03:18,102 INFO [Transaction Marker Channel Manager 1]: Creating new marker queue map to destination 1
2026-11-26 00:03:18,161 INFO [Transaction Marker Channel Manager 1]: Couldn't find leader endpoint for partitions \
HashSet(hop-2, __consumer_offsets-0) while trying to send transaction markers for chaos-8a5e, these partitions are \
likely deleted already and hence can be skipped (kafka.coordinator.transaction.TransactionMarkerChannelManager)
2026-11-26 00:03:18,181 INFO [Transaction Marker Channel Manager 1]: Couldn't find leader endpoint for partitions \
Set(out-1) while trying to send transaction markers for one, these partitions are likely deleted already and hence \
can be skipped (kafka.coordinator.transaction.TransactionMarkerChannelManager)
"""


def test_who_got_no_marker_and_where() -> None:
    assert unmarked([LOG, "2026-11-26 00:03:19,003 WARN something else (y)\n"]) == [
        "chaos-8a5e: no marker on hop-2, __consumer_offsets-0",
        "one: no marker on out-1",
    ]
