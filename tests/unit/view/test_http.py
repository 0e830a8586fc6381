"""The chat side over HTTP: answers, refusals, guards, and what every answer carries."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
import schemathesis
import schemathesis.openapi
from hypothesis import given, settings
from hypothesis.errors import Unsatisfiable
from pydantic import SecretStr
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import negative_data_rejection

from schemas import UserContext
from tests.fakes.chat import SESSIONS, Chat
from tests.payloads import NOW, activity
from tests.user_records import LOOKBACK_S, record, session, visitor
from worker.errors import ExitCode, Fatal
from worker.kafka import KafkaError
from worker.view import AsyncUserContextView
from worker.view.answers import ContextAnswer, ResetWritten
from worker.view.http import HttpPolicy, create_app
from worker.view.http_shell import Shell
from worker.view.streams import Question, StreamPolicy, Streams
from worker.view.tokens import Tokens, tokens_of

READ, ADMIN = "read-" + "r" * 20, "admin-" + "a" * 20
READERS, BOTH = Tokens(SecretStr(READ)), Tokens(SecretStr(READ), SecretStr(ADMIN))
ODD_IDS = ["a/b", "../etc/passwd", "ü 🦊", "a?b#c&d=e%2F", "quote\"'<script>", "new\nline", "x" * 1024]


@pytest.fixture
def chat() -> Iterator[Chat]:
    chat = Chat()
    sessions = session("s1", "a", conversation="c"), session("s1", "b", product="beta", at=NOW - 10)
    chat.write("u", record("u", 7, *sessions, email="u@example.com"))
    yield chat
    for view in chat.views:
        view.close()


def app_of(chat: Chat, policy: HttpPolicy | None = None, *, ready: bool = True, **view_options: Any) -> Shell:
    view = chat.ready(**view_options) if ready else chat.view(**view_options).start()
    return create_app(AsyncUserContextView.over(view), policy or HttpPolicy())


Ask = Callable[[httpx.AsyncClient], Awaitable[Any]]


def asked(app: Shell, ask: Ask) -> Any:
    async def scenario() -> Any:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost:8080") as client:
            return await ask(client)

    return asyncio.run(scenario())


def get(app: Shell, path: str, token: str = "", **parameters: str) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    response: httpx.Response = asked(app, lambda client: client.get(path, params=parameters or None, headers=headers))
    return response


# --- answers ---


def test_the_answer_is_the_record_and_the_query_behind_it(chat: Chat) -> None:
    app = app_of(chat)
    response = get(app, "/context", user_id="u", query="How?")
    text = f"Session s1 (acme):\n{activity('a')}\n\nSession s1 (beta):\n{activity('b')}"
    answer = response.json()
    assert response.headers["content-type"] == "application/json"
    assert (answer["version"], answer["email"], answer["status"]) == (7, "u@example.com", "caught_up")
    assert (answer["activity"], answer["enriched_query"]) == (text, f"[Session context]\n{text}\n\n[Query]\nHow?")
    assert UserContext.model_validate(answer) == chat.views[0].get("u")
    assert get(app, "/context/u", query="How?").json() == answer
    assert get(app, "/context/u").json()["enriched_query"] is None


def test_a_product_is_told_of_itself_alone(chat: Chat) -> None:
    answer = get(app_of(chat), "/context/u", product_id="beta").json()
    assert [one["product_id"] for one in answer["sessions"]] == ["beta"]
    assert activity("a") not in answer["activity"]


@pytest.mark.parametrize("user_id", ODD_IDS)
def test_ids_may_hold_any_characters(chat: Chat, user_id: str) -> None:
    chat.write(user_id, record(user_id, 1))
    assert get(app_of(chat), "/context", user_id=user_id).json()["user_id"] == user_id


def test_a_session_is_told_before_and_after_its_user_is_known(chat: Chat) -> None:
    chat.write_session("s9", visitor("s9", session("s9", "look")))
    chat.write_session("s1", visitor("s1", linked="u"))
    app = app_of(chat, session_topic=SESSIONS)
    answer = get(app, "/sessions/s9", query="How?").json()
    assert (answer["user_id"], answer["context"], answer["status"]) == (None, activity("look"), "caught_up")
    assert answer["enriched_query"] == f"[Session context]\n{activity('look')}\n\n[Query]\nHow?"
    assert get(app, "/sessions", session_id="s9", query="How?").json() == answer
    answer = get(app, "/sessions/s1", product_id="beta").json()
    assert (answer["user_id"], answer["context"], answer["enriched_query"]) == ("u", activity("b"), None)
    assert "u@example.com" not in str(answer)
    for unknown in (get(app, "/sessions/s1"), get(app, "/sessions/nobody"), get(app, "/sessions", session_id=" ")):
        assert (unknown.status_code, unknown.json()) == (404, {"detail": "nothing is known of this session"})


def test_a_conversation_leads_to_its_session(chat: Chat) -> None:
    chat.write_session("s9", visitor("s9", session("s9", "look", conversation="a/b")))
    chat.write_session("s1", visitor("s1", linked="u"))
    app = app_of(chat, session_topic=SESSIONS)
    assert get(app, "/conversations", conversation_id="a/b").json() == get(app, "/sessions/s9").json()
    answer = get(app, "/conversations", conversation_id="c", product_id="acme").json()
    assert (answer["session_id"], answer["user_id"], answer["context"]) == ("s1", "u", activity("a"))
    assert get(app, "/conversations", conversation_id="d").status_code == 404
    assert get(app_of(chat), "/conversations", conversation_id="c").json() == {"detail": "Not Found"}


@pytest.mark.parametrize("session_id", ODD_IDS)
def test_session_ids_may_hold_any_characters(chat: Chat, session_id: str) -> None:
    chat.write_session(session_id, visitor(session_id, session(session_id, "look")))
    app = app_of(chat, session_topic=SESSIONS)
    assert get(app, "/sessions", session_id=session_id).json()["session_id"] == session_id


def test_sessions_are_read_by_readers_once_all_is_read_and_where_there_is_a_topic(chat: Chat) -> None:
    guarded = app_of(chat, HttpPolicy(READERS), session_topic=SESSIONS)
    assert get(guarded, "/sessions/s1").status_code == 401
    assert get(guarded, "/sessions/s1", READ).status_code == 404
    loading = app_of(chat, ready=False, session_topic="not-there-yet")
    assert get(loading, "/sessions/s1").status_code == 503
    without = app_of(chat)
    assert get(without, "/sessions", session_id="s1").json() == {"detail": "Not Found"}
    assert "/sessions" not in get(without, "/openapi.json").json()["paths"]


def test_of_nobody_nothing_is_known(chat: Chat) -> None:
    app = app_of(chat)
    chat.clock.advance(LOOKBACK_S + 1)
    for response in (get(app, "/context/nobody"), get(app, "/context", user_id="u")):
        assert (response.status_code, response.json()) == (404, {"detail": "nothing is known of this user"})


@pytest.mark.parametrize(
    "parameters",
    [{}, {"user_id": ""}, {"user_id": "x" * 1025}, {"user_id": "u", "query": "x" * 16_385}],
    ids=["none", "empty", "long", "long query"],
)
def test_what_is_asked_has_bounds(chat: Chat, parameters: dict[str, str]) -> None:
    assert get(app_of(chat), "/context", **parameters).status_code == 422


def test_nobody_is_asked_for_twice(chat: Chat) -> None:
    assert get(app_of(chat), "/context?user_id=nobody&user_id=u").status_code == 400


def test_while_loading_it_says_so(chat: Chat) -> None:
    chat.broker.is_down = True
    app = app_of(chat, ready=False)
    for path in ("/context", "/stream"):
        response = get(app, path, user_id="u")
        assert (response.status_code, response.json()) == (503, {"detail": "the view is loading"})
        assert response.headers["retry-after"] == "1"
    assert (get(app, "/healthz").status_code, get(app, "/readyz").status_code) == (200, 503)
    assert get(app, "/readyz").text == "loading\n"


def test_when_it_has_failed_it_says_so(chat: Chat) -> None:
    chat.broker.is_down = True
    app = app_of(chat, ready=False)
    while not chat.readers:
        pass
    chat.readers[0].fail(KafkaError._AUTHENTICATION)
    with pytest.raises(Fatal):
        chat.views[0].wait_ready(10)
    assert get(app, "/context/u").status_code == 503
    assert (get(app, "/healthz").status_code, get(app, "/readyz").status_code) == (503, 503)


def test_when_all_is_well_it_is_healthy_and_ready(chat: Chat) -> None:
    app = app_of(chat)
    assert (get(app, "/healthz").text, get(app, "/readyz").text) == ("ok\n", "caught_up\n")


# --- guards ---


def erasing(erased: list[str]) -> Callable[[str], Awaitable[ResetWritten]]:
    async def erase(user_id: str) -> ResetWritten:
        if user_id == "unlucky":
            raise Fatal(ExitCode.BROKER_UNREACHABLE, "gone")
        erased.append(user_id)
        return ResetWritten(topic="t", partition=1, offset=2)

    return erase


def reset(app: Shell, token: str = "", user_id: str = "u") -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    response: httpx.Response = asked(
        app, lambda client: client.post("/admin/reset", params={"user_id": user_id}, headers=headers)
    )
    return response


def test_reading_needs_the_token_of_readers(chat: Chat) -> None:
    app = app_of(chat, HttpPolicy(BOTH, erasing([])))
    for path in ("/context/u", "/context?user_id=u", "/stream?user_id=u"):
        for token in ("", "wrong", ADMIN, READ[:-1], READ + "x", "ü"):
            headers = {"Authorization": f"Bearer {token}".encode()} if token else {}
            response = asked(app, lambda client, path=path, headers=headers: client.get(path, headers=headers))  # type: ignore[misc]
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
    assert get(app, "/context/u", READ).status_code == 200
    for path in ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"):
        assert get(app, path).status_code == 200


def test_erasing_needs_the_token_of_admins(chat: Chat) -> None:
    erased: list[str] = []
    app = app_of(chat, HttpPolicy(BOTH, erasing(erased)))
    assert [reset(app, token).status_code for token in ("", READ, "wrong")] == [401] * 3
    assert erased == []
    response = reset(app, ADMIN, "a/b")
    assert (response.status_code, response.json()) == (202, {"topic": "t", "partition": 1, "offset": 2})
    assert erased == ["a/b"]
    assert reset(app, ADMIN, " ").status_code == 404
    assert reset(app, ADMIN, "unlucky").status_code == 503


def test_without_an_admin_token_nobody_erases(chat: Chat) -> None:
    app = app_of(chat, HttpPolicy(READERS, erasing([])))
    assert reset(app, READ).status_code == 404
    assert "/admin/reset" not in get(app, "/openapi.json").json()["paths"]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost:8080", 200),
        ("127.0.0.1", 200),
        ("[::1]:8080", 200),
        ("LOCALHOST", 200),
        ("evil.example", 421),
        ("localhost.evil.example:8080", 421),
        ("[::1].evil.example", 421),
        ("", 421),
    ],
)
def test_without_a_token_only_this_machine_is_meant(chat: Chat, host: str, expected: int) -> None:
    app = app_of(chat, HttpPolicy(hosts=frozenset({"localhost", "127.0.0.1", "[::1]"})))
    response = asked(app, lambda client: client.get("/context/u", headers={"Host": host}))
    assert response.status_code == expected


def test_tokens_come_from_variables_or_files(tmp_path: Any) -> None:
    path = tmp_path / "token"
    path.write_text(f"{ADMIN}\n")
    assert tokens_of({}) == Tokens()
    assert tokens_of({"WORKER_READ_TOKEN": READ, "WORKER_ADMIN_TOKEN_FILE": str(path)}) == BOTH
    assert READ not in repr(READERS) + str(READERS)


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"WORKER_READ_TOKEN": "short"}, "at least 16"),
        ({"WORKER_READ_TOKEN": "with a blank in between"}, "without blanks"),
        ({"WORKER_READ_TOKEN": "ü" * 20}, "ASCII"),
        ({"WORKER_READ_TOKEN": READ, "WORKER_ADMIN_TOKEN": READ}, "are the same"),
        ({"WORKER_READ_TOKEN": READ, "WORKER_READ_TOKEN_FILE": "x"}, "both"),
        ({"WORKER_READ_TOKEN_FILE": "/nowhere/at/all"}, "WORKER_READ_TOKEN_FILE: '/nowhere/at/all' cannot be read"),
        ({"WORKER_READ_TOKEN_FILE": "/dev/null"}, "empty"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_token_that_is_none_is_refused_and_not_shown(environ: dict[str, str], expected: str) -> None:
    with pytest.raises(Fatal, match=expected) as raised:
        tokens_of(environ)
    assert raised.value.exit_code is ExitCode.USAGE
    secrets = [value for value in environ.values() if len(value) > 1 and value[0] != "/"]
    assert not [value for value in secrets if value in str(raised.value)]


# --- what every answer carries ---


def test_no_answer_is_kept_or_framed_and_nothing_is_loaded_from_elsewhere(chat: Chat) -> None:
    app = app_of(chat)
    for path in ("/context/u", "/context/nobody", "/docs", "/healthz"):
        headers = get(app, path).headers
        assert headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
    page = get(app, "/docs").text
    assert "GET /context/{user_id}" in page
    assert "://" not in page
    assert "<script" not in page


def test_the_page_needs_no_token_and_loads_its_own_files_alone(chat: Chat) -> None:
    app = app_of(chat, HttpPolicy(READERS))
    page = get(app, "/")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for name, kind in re.findall(r'(?:src|href)="([^"]+)"(?: type="([^"]+)")?', page.text):
        assert get(app, f"/{name}").status_code == 200
        assert kind in {"", "module", get(app, f"/{name}").headers["content-type"]}
    assert get(app, "/page.js").headers["content-type"] == "text/javascript; charset=utf-8"
    for path in ("/", "/page.js", "/page.css", "/docs", "/docs.css"):
        answer = get(app, path)
        assert "://" not in answer.text
        assert "unsafe" not in answer.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; " in page.headers["content-security-policy"]


def test_metrics_count_by_route_and_name_nobody(chat: Chat) -> None:
    app = app_of(chat)
    get(app, "/context/u")
    get(app, "/context/secret-person")
    get(app, "/secret-path")
    text = get(app, "/metrics").text
    assert 'http_requests_total{route="/context/{user_id}",status="200"} 1.0' in text
    assert 'http_requests_total{route="/context/{user_id}",status="404"} 1.0' in text
    assert 'http_requests_total{route="none",status="404"} 1.0' in text
    assert "user_context_view_users 1.0" in text
    assert 'user_context_view_status{status="caught_up"} 1.0' in text
    assert "user_context_view_records_total 1.0" in text
    assert "secret" not in text


def test_no_log_names_anybody(chat: Chat, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        app = app_of(chat, HttpPolicy(BOTH, erasing([])))
        get(app, "/context/secret-person", READ, query="secret-question")
        get(app, "/context/secret-person", "secret-token")
        reset(app, ADMIN, "secret-person")
    ours = [one.getMessage() for one in caplog.records if not one.name.startswith(("httpx", "httpcore", "asyncio"))]
    assert not [message for message in ours if "secret" in message]


# --- streams ---


def stream_of(chat: Chat, policy: StreamPolicy | None = None) -> Streams:
    return Streams(AsyncUserContextView.over(chat.ready()), policy or StreamPolicy())


def fields(event: bytes) -> dict[str, str]:
    assert event.endswith(b"\n\n")
    return dict(line.split(": ", 1) for line in event.decode().splitlines() if line and not line.startswith(":"))


def versions(events: list[bytes]) -> list[int | None]:
    found = [fields(event) for event in events]
    assert {one["event"] for one in found} <= {"context"}
    data = [one["data"] for one in found]
    return [None if text == "null" else ContextAnswer.model_validate_json(text).version for text in data]


async def take(events: Any, count: int) -> list[bytes]:
    return [await asyncio.wait_for(anext(events), 10) for _ in range(count)]


def test_a_stream_tells_what_is_known_and_every_change(chat: Chat) -> None:
    async def scenario() -> None:
        streams = stream_of(chat)
        events = streams.events(Question("u", query="How?"), None)
        begin, first = await take(events, 2)
        assert begin == b"retry: 2000\n\n"
        assert versions([first]) == [7]
        assert "[Query]" in fields(first)["data"]
        assert streams.open == 1
        chat.write("other", record("other", 1))
        chat.write("u", record("u", 8))
        assert versions(await take(events, 1)) == [8]
        chat.write("u", None)
        assert versions(await take(events, 1)) == [None]
        await events.aclose()
        assert streams.open == 0

    asyncio.run(scenario())


def test_who_comes_back_is_not_told_twice(chat: Chat) -> None:
    async def scenario() -> None:
        streams = stream_of(chat)
        events = streams.events(Question("u"), None)
        _, first = await take(events, 2)
        last_id = fields(first)["id"]
        await events.aclose()
        again = streams.events(Question("u"), last_id)
        _, silence = await take(again, 2)
        assert silence == b": still here\n\n"
        other_product = streams.events(Question("u", "beta"), last_id)
        _, told = await take(other_product, 2)
        assert versions([told]) == [7]  # the same version, but not the same answer
        await other_product.aclose()
        chat.write("u", record("u", 8))
        assert versions(await take(again, 1)) == [8]
        await again.aclose()

    asyncio.run(scenario())


def test_silence_is_broken_by_heartbeats_and_what_expires_is_told(chat: Chat) -> None:
    async def scenario() -> None:
        events = stream_of(chat, StreamPolicy(heartbeat_s=0.01)).events(Question("u"), None)
        await take(events, 2)
        assert await take(events, 2) == [b": still here\n\n"] * 2
        chat.clock.advance(LOOKBACK_S + 1)
        while (event := (await take(events, 1))[0]) == b": still here\n\n":
            pass
        assert versions([event]) == [None]
        await events.aclose()

    asyncio.run(scenario())


def test_streams_end_in_time_and_with_the_service(chat: Chat) -> None:
    async def scenario() -> None:
        short = stream_of(chat, StreamPolicy(heartbeat_s=0.001, longest_s=0.0)).events(Question("u"), None)
        assert len([event async for event in short]) == 2
        streams = stream_of(chat)
        events = streams.events(Question("u"), None)
        await take(events, 2)
        ending = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        streams.close()
        with pytest.raises(StopAsyncIteration):
            await asyncio.wait_for(ending, 10)
        assert streams.open == 0

    asyncio.run(scenario())


def test_there_is_a_limit_of_streams(chat: Chat) -> None:
    app = app_of(chat, HttpPolicy(streams=StreamPolicy(limit=0)))
    response = get(app, "/stream", user_id="u")
    assert (response.status_code, response.json()) == (503, {"detail": "too many streams are open"})


# --- its own document ---


def test_every_answer_is_what_the_document_says(chat: Chat) -> None:
    """Whatever is asked, wrong things too."""
    streams = StreamPolicy(heartbeat_s=0.001, longest_s=0.0)
    policy = HttpPolicy(BOTH, erasing([]), streams=streams)
    chat.write_session("s1", visitor("s1", session("s1", "look")))
    document = schemathesis.openapi.from_asgi("/openapi.json", app_of(chat, policy, session_topic=SESSIONS))
    operations = [found.ok() for found in document.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) == 10
    for operation in operations:
        check_operation(operation, ADMIN if operation.path.startswith("/admin") else READ)


def check_operation(operation: Any, token: str) -> None:
    for mode in schemathesis.GenerationMode:

        @given(operation.as_strategy(generation_mode=mode))
        @settings(max_examples=30, deadline=None, database=None, derandomize=True)
        def check(case: Any) -> None:
            # The token is ours to give, so a request that lacks it is none of those to be refused.
            refusals = [negative_data_rejection]
            case.call_and_validate(headers={"Authorization": f"Bearer {token}"}, excluded_checks=refusals)

        with suppress(Unsatisfiable):  # there is nothing wrong to ask of what takes no parameters
            check()
