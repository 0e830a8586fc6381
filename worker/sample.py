"""An hour at a small company's product, as payload lines: what `context-worker produce sample` publishes.

`python -m worker.sample` writes `sample.jsonl.gz`; the same code makes the same bytes. The people are invented. Several
of them are in the middle of something when the hour ends, so that after `--rebase` there is somebody to ask about.
"""

from __future__ import annotations

import gzip
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

FILE = Path(__file__).with_name("sample.jsonl.gz")
HOUR_STARTS_AT = 1_772_442_000.0  # 2026-03-02 09:00 UTC, a Monday
SEED = 20260302

APP, HELP, WWW = "tidemark", "tidemark-help", "tidemark-www"
ADDRESS = {
    APP: "https://app.tidemark.example",
    HELP: "https://help.tidemark.example",
    WWW: "https://www.tidemark.example",
}

Step = tuple[str, str, str, str]  # type, title, description, path


@dataclass(frozen=True, slots=True)
class Person:
    """`user_id` as it stands on the wire; None for somebody who never signs in."""

    user_id: str | int | None
    email: str | None = None


@dataclass(frozen=True, slots=True)
class Visit:
    """One session. `signs_in_at` is the step from which on its payloads name the person."""

    person: Person
    session_id: str
    product: str
    minute: float
    steps: tuple[Step, ...]
    signs_in_at: int = 0
    conversation_id: str | None = None


AMELIE = Person("amelie", "amelie.laurent@harbour.example")
BRUNO = Person("bruno", "bruno.costa@harbour.example")
CHIDI = Person("chidi", "chidi.eze@birchworks.example")
DANA = Person("dana", "dana.levi@birchworks.example")
EMRE = Person("emre", "emre.aydin@olivestudio.example")
FREYA = Person("freya", "freya.holm@olivestudio.example")
GRACE = Person("grace", "grace.mbeki@tern.example")
HIRO = Person("hiro", "hiro.tanaka@tern.example")
INES = Person("ines", "ines.duarte@fern.example")
JONAS = Person(4217, "jonas.weber@fern.example")
KAMALA = Person("kamala", "kamala.rao@heron.example")
LUCIA = Person("lucia")
SOMEBODY = Person(None)

PROJECTS: tuple[Step, ...] = (
    ("pageview", "Projects", "Opened the list of projects", "/projects"),
    ("click", "Spring launch", "Opened the project Spring launch", "/projects/spring-launch"),
    ("click", "Board", "Switched the project to the board view", "/projects/spring-launch/board"),
    ("drag", "Board", "Moved the task Draft press kit to In review", "/projects/spring-launch/board"),
    ("input", "Comment", "Wrote a comment on the task Draft press kit", "/projects/spring-launch/tasks/118"),
    ("click", "Assign", "Assigned the task Draft press kit to Bruno", "/projects/spring-launch/tasks/118"),
    ("pageview", "Timeline", "Looked at the timeline of Spring launch", "/projects/spring-launch/timeline"),
    ("click", "Due date", "Moved the due date of Website copy by two days", "/projects/spring-launch/tasks/121"),
)
NEW_PROJECT: tuple[Step, ...] = (
    ("pageview", "Projects", "Opened the list of projects", "/projects"),
    ("click", "New project", "Started a new project from the template Client onboarding", "/projects/new"),
    ("input", "Name", "Named the project Onboarding Heron Ltd", "/projects/new"),
    ("click", "Invite", "Invited two people to the project", "/projects/onboarding-heron/people"),
    ("submit", "Create", "Created the project Onboarding Heron Ltd", "/projects/onboarding-heron"),
    ("click", "Checklist", "Ticked off Welcome call in the checklist", "/projects/onboarding-heron/checklist"),
)
BILLING: tuple[Step, ...] = (
    ("pageview", "Billing", "Landed on the billing page", "/settings/billing"),
    ("click", "Invoices", "Opened the list of invoices", "/settings/billing/invoices"),
    (
        "click",
        "Invoice 2026-0214",
        "Opened invoice 2026-0214, which is marked as overdue",
        "/settings/billing/invoices/0214",
    ),
    (
        "click",
        "Pay now",
        "Tried to pay invoice 2026-0214 and saw: card declined",
        "/settings/billing/invoices/0214/pay",
    ),
    ("click", "Payment method", "Opened the payment method, a card that expired in February", "/settings/billing/card"),
    ("input", "Card", "Began to enter a new card", "/settings/billing/card"),
)
SEATS: tuple[Step, ...] = (
    ("pageview", "Plan", "Compared the plans Team and Business", "/settings/plan"),
    ("click", "Seats", "Changed the number of seats from 8 to 12", "/settings/plan/seats"),
    ("pageview", "Preview", "Looked at the price for 12 seats", "/settings/plan/preview"),
    ("click", "Back", "Went back without changing the plan", "/settings/plan"),
)
EXPORTS: tuple[Step, ...] = (
    ("pageview", "Reports", "Opened the report Time by client", "/reports/time-by-client"),
    ("click", "Filter", "Filtered the report to last month", "/reports/time-by-client?month=2026-02"),
    ("click", "Export", "Asked for an export of the report as CSV", "/reports/time-by-client/export"),
    ("pageview", "Exports", "Waited on the page of running exports", "/exports"),
    ("error", "Export failed", "Saw the message Export failed: too many rows", "/exports/883"),
    ("click", "Try again", "Started the export again, for two weeks only", "/exports"),
    ("download", "CSV", "Downloaded time-by-client.csv", "/exports/884"),
)
IMPORT: tuple[Step, ...] = (
    ("pageview", "Import", "Opened the import of tasks", "/import"),
    ("upload", "File", "Uploaded tasks-q1.xlsx", "/import/new"),
    ("click", "Columns", "Mapped the column Owner to Assignee", "/import/new/columns"),
    ("error", "Row 41", "Saw that row 41 has a date that cannot be read", "/import/new/check"),
    ("click", "Skip", "Chose to skip row 41", "/import/new/check"),
    ("submit", "Import", "Imported 212 tasks", "/import/done"),
)
PEOPLE_SETTINGS: tuple[Step, ...] = (
    ("pageview", "People", "Opened the list of members", "/settings/people"),
    ("click", "Roles", "Made Dana an administrator", "/settings/people/dana"),
    ("pageview", "Single sign-on", "Read what single sign-on needs", "/settings/security/sso"),
    ("click", "Metadata", "Uploaded the metadata of the identity provider", "/settings/security/sso"),
    ("error", "Test", "Tested single sign-on and saw: audience does not match", "/settings/security/sso/test"),
)
HELP_EXPORT: tuple[Step, ...] = (
    ("search", "Search", "Searched the help for export failed", "/search?q=export+failed"),
    ("pageview", "Limits of exports", "Read the article Limits of exports", "/articles/limits-of-exports"),
    ("click", "Was this helpful", "Said that the article did not help", "/articles/limits-of-exports"),
    ("click", "Contact us", "Opened the contact form", "/contact"),
)
HELP_CARD: tuple[Step, ...] = (
    ("search", "Search", "Searched the help for change credit card", "/search?q=change+credit+card"),
    ("pageview", "Change how you pay", "Read the article Change how you pay", "/articles/change-how-you-pay"),
    ("pageview", "Why a card is declined", "Read the article Why a card is declined", "/articles/card-declined"),
    ("click", "Chat", "Opened the chat", "/articles/card-declined#chat"),
)
HELP_SSO: tuple[Step, ...] = (
    ("search", "Search", "Searched the help for sso audience", "/search?q=sso+audience"),
    ("pageview", "Set up single sign-on", "Read the article Set up single sign-on", "/articles/sso"),
    ("scroll", "Audience", "Scrolled to Which audience to enter", "/articles/sso#audience"),
    ("click", "Copy", "Copied the audience address", "/articles/sso#audience"),
)
PRICING: tuple[Step, ...] = (
    ("pageview", "Tidemark", "Landed on the home page", "/"),
    ("pageview", "Pricing", "Looked at the prices", "/pricing"),
    ("click", "Per year", "Switched the prices to per year", "/pricing?per=year"),
    ("pageview", "Security", "Read the page about security", "/security"),
    ("pageview", "Pricing", "Came back to the prices", "/pricing"),
)
SIGN_UP: tuple[Step, ...] = (
    *PRICING[:3],
    ("click", "Try it", "Clicked Try it for 14 days", "/signup"),
    ("submit", "Sign up", "Signed up and confirmed the e-mail address", "/signup/done"),
    ("pageview", "Welcome", "Looked at the welcome tour", "/welcome"),
    ("click", "First project", "Created a first project called Shop move", "/projects/shop-move"),
)
MOBILE: tuple[Step, ...] = (
    ("pageview", "Today", "Opened Today on the phone", "/m/today"),
    ("click", "Done", "Ticked off Call the printer", "/m/tasks/97"),
    ("click", "Notification", "Opened a notification: you were mentioned", "/m/tasks/118"),
)

# Minute 55 and later is within the default lookback of the hour's end: these are the people to ask about.
VISITS: tuple[Visit, ...] = (
    Visit(AMELIE, "s-amelie-desk", APP, 2, PROJECTS),
    Visit(GRACE, "s-grace-phone", APP, 2.8, MOBILE),
    Visit(BRUNO, "s-bruno-desk", APP, 3.5, EXPORTS),
    Visit(CHIDI, "s-chidi-laptop", APP, 4, NEW_PROJECT),
    Visit(INES, "s-ines-desk", APP, 4.5, (*NEW_PROJECT, *PROJECTS[3:])),
    Visit(SOMEBODY, "v-7f31", WWW, 5, PRICING),
    Visit(DANA, "s-dana-desk", APP, 6, PEOPLE_SETTINGS[:3]),
    Visit(SOMEBODY, "v-22e9", HELP, 7, HELP_CARD),
    Visit(JONAS, "s-4217-a", APP, 7.5, (*IMPORT, *PROJECTS[:3])),
    Visit(EMRE, "s-emre-desk", WWW, 8, (*PRICING[:2], *SEATS), signs_in_at=2),
    Visit(FREYA, "s-freya-phone", APP, 9, MOBILE),
    Visit(KAMALA, "s-kamala-desk", APP, 10, (*PEOPLE_SETTINGS[:2], *SEATS)),
    Visit(GRACE, "s-grace-desk", APP, 11, IMPORT),
    Visit(HIRO, "s-hiro-desk", APP, 12, (*PROJECTS[:3], *EXPORTS[:4])),
    Visit(BRUNO, "h-bruno", HELP, 13, HELP_EXPORT, conversation_id="conv-3301"),
    Visit(INES, "s-ines-desk", APP, 14, SEATS),
    Visit(SOMEBODY, "v-90ab", WWW, 15, PRICING[:2]),
    Visit(LUCIA, "v-41aa", WWW, 16, PRICING, signs_in_at=5),
    Visit(JONAS, "s-4217-a", APP, 17, (*PROJECTS[:4], *MOBILE)),
    Visit(KAMALA, "s-kamala-tablet", APP, 18, NEW_PROJECT),
    Visit(FREYA, "s-freya-desk", APP, 19, (*EXPORTS, *PROJECTS[5:])),
    Visit(CHIDI, "h-chidi", HELP, 20, HELP_SSO[:2]),
    Visit(HIRO, "h-hiro", HELP, 20.5, HELP_EXPORT[:3]),
    Visit(AMELIE, "s-amelie-phone", APP, 21, MOBILE),
    Visit(SOMEBODY, "v-c2d4", HELP, 22, HELP_EXPORT[:2]),
    Visit(BRUNO, "s-bruno-desk", APP, 23, (*PROJECTS, *NEW_PROJECT[:3])),
    Visit(DANA, "s-dana-desk", APP, 24, BILLING),
    Visit(EMRE, "s-emre-desk", APP, 25, IMPORT[:4]),
    Visit(CHIDI, "s-chidi-laptop", APP, 26, (*BILLING[:3], *SEATS)),
    Visit(GRACE, "s-grace-desk", APP, 27, PROJECTS[1:6]),
    Visit(HIRO, "s-shared-kiosk", APP, 28, MOBILE),
    Visit(SOMEBODY, "v-6ac1", WWW, 29, (*PRICING[:3], *PRICING[3:])),
    Visit(AMELIE, "s-amelie-desk", APP, 30, (*EXPORTS, *PROJECTS[3:6])),
    Visit(FREYA, "s-shared-kiosk", APP, 31, PROJECTS[:3]),
    Visit(INES, "h-ines", HELP, 32, HELP_CARD[:2]),
    Visit(SOMEBODY, "v-e57c", WWW, 33, (*PRICING, *PRICING[1:3])),
    Visit(EMRE, "s-emre-phone", APP, 34, MOBILE),
    Visit(DANA, "s-dana-desk", APP, 34.5, (*IMPORT, *PROJECTS[:2])),
    Visit(JONAS, "s-4217-b", APP, 35, EXPORTS),
    Visit(KAMALA, "s-kamala-tablet", APP, 36, PROJECTS),
    Visit(GRACE, "s-grace-desk", APP, 37, (*PROJECTS[1:], *EXPORTS[:3])),
    Visit(BRUNO, "s-bruno-desk", APP, 38, (*PROJECTS[3:6], *SEATS[:2])),
    Visit(CHIDI, "s-chidi-laptop", APP, 39, PROJECTS[:5]),
    Visit(INES, "s-ines-desk", APP, 40, (*BILLING, *SEATS[:2])),
    Visit(DANA, "s-dana-phone", APP, 41, MOBILE),
    Visit(HIRO, "s-hiro-desk", APP, 42, (*NEW_PROJECT, *PROJECTS[3:6])),
    Visit(LUCIA, "v-41aa", WWW, 43, SIGN_UP[:4], signs_in_at=4),
    Visit(FREYA, "s-freya-desk", APP, 44, IMPORT),
    Visit(KAMALA, "h-kamala", HELP, 45, HELP_EXPORT, conversation_id="conv-3309"),
    Visit(GRACE, "h-grace", HELP, 46, HELP_SSO),
    Visit(SOMEBODY, "v-0d18", WWW, 47, PRICING),
    Visit(HIRO, "s-hiro-desk", APP, 48, BILLING[:3]),
    Visit(FREYA, "s-freya-phone", APP, 49, MOBILE),
    Visit(CHIDI, "s-chidi-laptop", APP, 49.5, (*IMPORT[:4], *PROJECTS[5:])),
    Visit(AMELIE, "s-amelie-desk", APP, 50, (*PROJECTS[:2], *PEOPLE_SETTINGS)),
    Visit(KAMALA, "s-kamala-tablet", APP, 51, EXPORTS[:5]),
    Visit(SOMEBODY, "v-f004", WWW, 51.5, PRICING[:3]),
    Visit(JONAS, "s-4217-b", APP, 52.5, PROJECTS[2:6]),
    Visit(EMRE, "s-emre-desk", APP, 53, EXPORTS[:3]),
    Visit(GRACE, "s-grace-desk", APP, 54, (*PROJECTS, *NEW_PROJECT[:2])),
    Visit(BRUNO, "s-bruno-desk", APP, 55.5, EXPORTS[:5]),
    Visit(AMELIE, "h-amelie", HELP, 56, HELP_SSO),
    Visit(DANA, "s-dana-desk", APP, 56, BILLING),
    Visit(LUCIA, "v-8c0e", WWW, 56.3, SIGN_UP, signs_in_at=4),
    Visit(JONAS, "s-4217-b", APP, 57, NEW_PROJECT[:4]),
    Visit(SOMEBODY, "v-b7f2", WWW, 57.2, PRICING[:4]),
    Visit(BRUNO, "h-bruno-2", HELP, 57.8, HELP_EXPORT, conversation_id="conv-3318"),
    Visit(AMELIE, "s-amelie-desk", APP, 58, PEOPLE_SETTINGS[3:]),
    Visit(DANA, "h-dana", HELP, 58.2, HELP_CARD, conversation_id="conv-3320"),
    Visit(CHIDI, "s-chidi-phone", APP, 58.9, MOBILE),
)


def payloads() -> list[dict[str, Any]]:
    """All payloads of the hour, in the order in which they were forwarded."""
    randomness = random.Random(SEED)  # noqa: S311 - the same hour every time
    index: dict[str, int] = {}
    found: list[dict[str, Any]] = []
    for visit in VISITS:
        found += _payloads_of(visit, randomness, index)
    return sorted(found, key=lambda payload: float(payload["forwarded_at"]))


def _payloads_of(visit: Visit, randomness: random.Random, index: dict[str, int]) -> Iterator[dict[str, Any]]:
    """One payload for each one or two steps, a second after the last of them. `index` counts actions by session."""
    at = HOUR_STARTS_AT + visit.minute * 60
    done = 0
    while done < len(visit.steps):
        size = randomness.choice((1, 1, 1, 1, 2))
        actions = []
        for kind, title, description, path in visit.steps[done : done + size]:
            at += randomness.uniform(4.0, 14.0)
            number = index.get(visit.session_id, 0)
            index[visit.session_id] = number + 1
            actions.append(
                {
                    "title": title,
                    "description": description,
                    "canonical_url": ADDRESS[visit.product] + path,
                    "index": number,
                    "type": kind,
                    "timestamp_start": round(at, 3),
                    "timestamp_end": round(at + randomness.uniform(0.2, 3.0), 3),
                    "raw_url": ADDRESS[visit.product] + path,
                }
            )
        known = done >= visit.signs_in_at and visit.person.user_id is not None
        done += size
        yield {
            "type": "actions",
            "product_id": visit.product,
            "session_id": visit.session_id,
            "user_id": visit.person.user_id if known else None,
            "email": visit.person.email if known else None,
            "actions": actions,
            "count": len(actions),
            "forwarded_at": round(at + 1 + randomness.uniform(2.0, 2.5), 3),
            "conversation_id": visit.conversation_id,
        }


def lines(of: Iterable[dict[str, Any]]) -> bytes:
    """JSON lines."""
    return b"".join(orjson.dumps(payload) + b"\n" for payload in of)


def main() -> None:
    """Write the file that ships with the worker."""
    # No time and no name inside, so that the same hour is the same bytes.
    FILE.write_bytes(gzip.compress(lines(payloads()), compresslevel=9, mtime=0))


if __name__ == "__main__":
    main()
