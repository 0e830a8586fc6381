"""The steps of a replay, one after the other, with the operator's word between the first and the second."""

from __future__ import annotations

import sys
import time

from worker.app import Service, run_member
from worker.confirmation import confirmed
from worker.errors import ExitCode, Fatal
from worker.group import Group, Owner
from worker.kafka import Admin
from worker.kafka_clients import KafkaClients
from worker.printing import out, waiting
from worker.replay.catch_up import CatchUp
from worker.replay.plan import Plan
from worker.replay.rewind import rewind
from worker.replay.screen import print_outcome, print_plan, progress_shown
from worker.replay.start_time import start_time
from worker.replay.survey import Sources, survey
from worker.runtime.clock import SystemClock
from worker.runtime.offsets import Offsets
from worker.settings import Settings
from worker.topic_reader import TopicReader
from worker.topics import TopicReport, ensure_topics

END_TIMEOUT_S = 5.0


def replay(settings: Settings, start: str, *, dry_run: bool, yes: bool) -> ExitCode:
    """Rebuild state and output from the input topic; see the package.

    Raises:
        Fatal: GROUP_IS_LIVE, the group has members; or what `run` may raise.
    """
    settings = settings.model_copy(update={"instance_id": ""})  # a member in passing: one with a name would not leave
    now = time.time()
    asked = start_time(start, now)
    admin = Admin(settings)
    report = ensure_topics(admin, settings.model_copy(update={"create_topics": False}) if dry_run else settings)
    group = Group(admin, settings.group_id)
    members = group.members()[1]
    if members and not dry_run:
        raise _live(group, members)
    clients = KafkaClients(settings, admin, report)
    offsets = Offsets(admin, clients.reader, SystemClock())
    sources = Sources(group, offsets, lambda topic: TopicReader(settings, topic), report.partitions)
    with waiting(f"reading {settings.output_topic} and {settings.repartition_topic}"):
        plan = survey(sources, settings, asked, now)
    print_plan(plan, settings, report.warnings, now, out())
    if members:
        raise _live(group, members)
    if dry_run:
        return ExitCode.OK
    if not _agreed(plan, yes=yes):
        sys.stderr.write("nothing was changed\n")
        return ExitCode.INTERRUPTED
    rewind(group, settings, plan)
    return _work(settings, report, clients, plan)


def _live(group: Group, members: tuple[Owner, ...]) -> Fatal:
    names = ", ".join(f"{member.name} on {member.host}" for member in members)
    return Fatal(
        ExitCode.GROUP_IS_LIVE,
        f"group {group.group_id} has members: {names}",
        hint="stop them first; one that was killed is a member until its session times out",
    )


def _agreed(plan: Plan, *, yes: bool) -> bool:
    if plan.resets_are_deleted and not yes and not (sys.stdin.isatty() and sys.stderr.isatty()):
        text = "users who were erased may come back, and nobody is here to agree to that"
        raise Fatal(ExitCode.USAGE, text, hint="begin later, or say --yes")
    doubtful = plan.resets_are_deleted or plan.topic_is_younger
    return confirmed(f"Rebuild now{', though users who were erased may come back' if doubtful else ''}?", yes=yes)


def _work(settings: Settings, report: TopicReport, clients: KafkaClients, plan: Plan) -> ExitCode:
    """One member, here, until the group has caught up."""
    service = Service(settings, report, clients, SystemClock())
    with progress_shown() as show:
        patient = Group(clients.admin, settings.group_id, patient=True)
        catch_up = CatchUp(patient, settings, plan, show, service.loop.stop)
        catch_up.start()
        try:
            run_member(service)
        finally:
            catch_up.stop(END_TIMEOUT_S)
    if catch_up.failure is not None:
        raise catch_up.failure
    if catch_up.outcome is None:
        sys.stderr.write(
            "interrupted: a member would go on from here, but users who are not rebuilt would keep their old record; "
            "run the replay again\n"
        )
        return ExitCode.INTERRUPTED
    print_outcome(catch_up.outcome, plan, out())
    return ExitCode.OK
