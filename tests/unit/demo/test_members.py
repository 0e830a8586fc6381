"""What the members' logs tell about partitions."""

from __future__ import annotations

from worker.demo.members import Group
from worker.demo.scene import PartitionState, PartitionView

IN, OUT = "demo.in", "demo.by-user"


def group() -> Group:
    return Group({IN: "clicks", OUT: "users"}, 3)


def test_assigned_partitions_run_at_once_when_nothing_has_to_be_restored() -> None:
    members = group()
    members.take("A", f"assigned {IN}[0,2] {OUT}[1] in 5 ms")

    assert members.owned("A") == [(IN, 0), (IN, 2), (OUT, 1)]
    assert members.views["clicks"][1] == PartitionView("", PartitionState.FREE)
    assert members.views["clicks"][2] == PartitionView("A", PartitionState.RUNNING)
    assert members.listed(members.owned("A")) == "clicks 0 2 and users 1"


def test_a_dead_member_s_partitions_are_orphans_until_another_has_restored_them() -> None:
    members = group()
    members.take("A", f"assigned {IN}[0,1,2] in 5 ms")
    members.take("B", f"assigned {OUT}[0,1,2] in 5 ms")
    members.bury("A", [(IN, 0)])
    assert not members.are(PartitionState.RUNNING, PartitionState.RESTORING)

    members.take("B", f"assigned {IN}[0,1,2] in 12 ms")
    assert members.are(PartitionState.RUNNING, PartitionState.RESTORING)
    assert not members.are(PartitionState.RUNNING)

    members.take("B", f"restored {IN}[0] from 17 records")
    assert members.are(PartitionState.RUNNING)


def test_revoked_and_lost_partitions_are_free() -> None:
    members = group()
    members.take("A", f"assigned {IN}[0,1] in 5 ms")
    members.take("A", f"revoked {IN}[1] in 3 ms")
    members.take("A", f"lost {IN}[0]: their next owner restores them")

    assert members.owned("A") == []


def test_a_revocation_that_is_read_late_takes_nothing_from_the_next_owner() -> None:
    members = group()
    members.take("A", f"assigned {IN}[0] in 5 ms")
    members.take("B", f"assigned {IN}[0] in 5 ms")
    members.take("A", f"revoked {IN}[0] in 3 ms")

    assert members.owner(IN, 0) == "B"


def test_other_messages_and_other_topics_are_passed_over() -> None:
    members = group()
    members.take("A", "started")
    members.take("A", "assigned elsewhere[0] in 5 ms")

    assert members.owned("A") == []
