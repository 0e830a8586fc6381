"""The chat side over HTTP, for services that do not speak Kafka: an ASGI application around a view.

No answer is cached anywhere, no log holds a user id, and what is counted is counted by route.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, HTTPException, Query, Request, Response
from fastapi import Path as InPath
from fastapi.responses import HTMLResponse, StreamingResponse
from fastapi.security import HTTPBearer
from pydantic import SecretStr
from starlette.requests import HTTPConnection

from schemas.user_context import KnownSession
from worker.errors import WorkerError
from worker.view.answers import ContextAnswer, Problem, ResetWritten, SessionAnswer
from worker.view.async_view import AsyncUserContextView
from worker.view.docs_page import docs_page
from worker.view.http_metrics import CONTENT_TYPE, HttpMetrics
from worker.view.http_shell import Shell
from worker.view.page import add_page
from worker.view.status import ViewStatus
from worker.view.streams import Question, StreamPolicy, Streams
from worker.view.tokens import Tokens, matches

LONGEST_ID = 1024
LONGEST_QUERY = 16_384
LONGEST_EVENT_ID = 64

Erase = Callable[[str], Awaitable[ResetWritten]]


@dataclass(frozen=True, slots=True)
class HttpPolicy:
    """How the service is guarded. `hosts`: the names that it answers to, None = any."""

    tokens: Tokens = field(default_factory=Tokens)
    erase: Erase | None = None  # writes a reset; with an admin token only
    hosts: frozenset[str] | None = None
    streams: StreamPolicy = field(default_factory=StreamPolicy)


UserId = Annotated[
    str, Query(min_length=1, max_length=LONGEST_ID, description="The id on the wire, of any characters.")
]
SessionId = Annotated[
    str, Query(min_length=1, max_length=LONGEST_ID, description="The session's id, of any characters.")
]
ConversationId = Annotated[
    str, Query(min_length=1, max_length=LONGEST_ID, description="The chat conversation's id, of any characters.")
]
ProductId = Annotated[
    str | None, Query(max_length=LONGEST_ID, description="Only sessions of this product.", examples=["acme"])
]
Text = Annotated[
    str | None, Query(max_length=LONGEST_QUERY, description="What the user asks, to be enriched with what they did.")
]

Responses = dict[int | str, dict[str, Any]]

_PROBLEMS: Responses = {
    400: {"model": Problem, "description": "It is not clear who is meant: a parameter stands twice."},
    401: {"model": Problem, "description": "There is no token, or a wrong one."},
    404: {"model": Problem, "description": "Nothing is known of this user, or this session."},
    503: {"model": Problem, "description": "The topic is still being read, or cannot be read; or too many streams."},
}


class ContextService:
    """The routes. One instance for each application."""

    def __init__(self, view: AsyncUserContextView, policy: HttpPolicy) -> None:
        self.streams = Streams(view, policy.streams)
        self.metrics = HttpMetrics(lambda: view.stats, lambda: view.status, lambda: self.streams.open)
        self._view = view
        self._erase = policy.erase

    async def context(self, user_id: UserId, product_id: ProductId = None, query: Text = None) -> Response:
        """What is known of a user now, and the query behind it as a prompt. For ids of any characters."""
        return self._answer(Question(user_id, product_id, query))

    async def context_of(
        self,
        user_id: Annotated[str, InPath(min_length=1, max_length=LONGEST_ID, description="An id without a slash.")],
        product_id: ProductId = None,
        query: Text = None,
    ) -> Response:
        """The same, for ids that fit into a path."""
        return self._answer(Question(user_id, product_id, query))

    async def session(self, session_id: SessionId, product_id: ProductId = None, query: Text = None) -> Response:
        """What is known of a session now, also before its user is known, and the query behind it as a prompt. Nothing
        where several products have one of this id and none is named. For ids of any characters."""
        self._require_view()
        return self._answer_of(self._view.get_session(session_id, product_id), query)

    async def session_of(
        self,
        session_id: Annotated[str, InPath(min_length=1, max_length=LONGEST_ID, description="An id without a slash.")],
        product_id: ProductId = None,
        query: Text = None,
    ) -> Response:
        """The same, for ids that fit into a path."""
        return await self.session(session_id, product_id, query)

    async def conversation(
        self, conversation_id: ConversationId, product_id: ProductId = None, query: Text = None
    ) -> Response:
        """What is known of the session that is in a conversation, as `/sessions`. Nothing where several are."""
        self._require_view()
        return self._answer_of(self._view.get_session_by_conversation(conversation_id, product_id), query)

    def _answer_of(self, session: KnownSession | None, query: str | None) -> Response:
        if session is None:
            raise HTTPException(404, "nothing is known of this session")
        answer = SessionAnswer.about(session, query, self._view.status)
        return Response(answer.to_json(), media_type="application/json")

    async def stream(
        self,
        user_id: UserId,
        product_id: ProductId = None,
        query: Text = None,
        last_event_id: Annotated[
            str | None, Header(max_length=LONGEST_EVENT_ID, description="The id of the last event that was seen.")
        ] = None,
    ) -> Response:
        """Server-sent events: what is known of a user, now and after every change; `null` when that is nothing.

        Each event is named `context` and its data is what `/context` answers. A comment comes after each silence.
        """
        self._require_view()
        if self.streams.is_full:
            raise HTTPException(503, "too many streams are open", headers=_LATER)
        events = self.streams.events(Question(user_id, product_id, query), last_event_id)
        return StreamingResponse(events, media_type="text/event-stream", headers={"X-Accel-Buffering": "no"})

    async def reset(self, user_id: UserId) -> ResetWritten:
        """Erase a user: what is known of them, and what still comes of the time before."""
        assert self._erase is not None
        if not user_id.strip():
            raise HTTPException(404, "nobody has an empty id")
        try:
            return await self._erase(user_id)
        except WorkerError as exc:
            raise HTTPException(503, "the reset could not be written", headers=_LATER) from exc

    async def healthz(self) -> Response:
        """Whether the process is worth keeping."""
        failed = self._view.status is ViewStatus.FAILED
        return _plain(503 if failed else 200, "failed" if failed else "ok")

    async def readyz(self) -> Response:
        """Whether everything was read once; the answer names the status."""
        status = self._view.status
        return _plain(200 if status in {ViewStatus.CAUGHT_UP, ViewStatus.DEGRADED} else 503, status.value)

    async def metrics_text(self) -> Response:
        """Counts in Prometheus' text form."""
        return Response(self.metrics.text(), media_type=CONTENT_TYPE)

    def _answer(self, question: Question) -> Response:
        self._require_view()
        record = self._view.get(question.user_id, question.product_id)
        if record is None:
            raise HTTPException(404, "nothing is known of this user")
        answer = ContextAnswer.of(record, question.query, self._view.status)
        return Response(answer.to_json(), media_type="application/json")

    def _require_view(self) -> None:
        status = self._view.status
        if status in {ViewStatus.LOADING, ViewStatus.FAILED}:
            raise HTTPException(503, f"the view is {status}", headers=_LATER)


_LATER = {"Retry-After": "1"}


def _plain(code: int, text: str) -> Response:
    return Response(text + "\n", code, media_type="text/plain")


def create_app(view: AsyncUserContextView, policy: HttpPolicy) -> Shell:
    """The application: routes behind the shell that counts, and sets what every answer carries."""
    service = ContextService(view, policy)
    app = FastAPI(
        title="User context",
        description="What every user has just done. The texts of actions come from strangers: untrusted input.",
        version="1",
        docs_url=None,
        redoc_url=None,
        dependencies=[Depends(each_once)],
        responses={400: _PROBLEMS[400]},
    )
    reading = [Depends(Bearer(policy.tokens.read, "read"))] if policy.tokens.read else []
    guarded: Responses = {code: _PROBLEMS[code] for code in ((401, 503) if reading else (503,))}
    unknown: Responses = {404: _PROBLEMS[404], **guarded}
    found: Responses = {200: {"model": ContextAnswer, "description": "What is known."}, **unknown}
    session: Responses = {200: {"model": SessionAnswer, "description": "What is known."}, **unknown}
    events: Responses = {
        200: {"content": {"text/event-stream": {}}, "description": "Events until you go."},
        **guarded,
    }
    more: dict[str, Any] = {"response_class": Response, "dependencies": reading}
    app.get("/context", responses=found, **more)(service.context)
    app.get("/context/{user_id}", responses=found, **more)(service.context_of)
    if view.has_sessions:
        app.get("/sessions", responses=session, **more)(service.session)
        app.get("/sessions/{session_id}", responses=session, **more)(service.session_of)
        app.get("/conversations", responses=session, **more)(service.conversation)
    app.get("/stream", responses=events, **more)(service.stream)
    if policy.tokens.admin and policy.erase is not None:
        erasing = [Depends(Bearer(policy.tokens.admin, "admin"))]
        refused: Responses = {code: _PROBLEMS[code] for code in (401, 404, 503)}
        app.post("/admin/reset", status_code=202, responses=refused, dependencies=erasing)(service.reset)
    text: Responses = {200: {"content": {"text/plain": {}}, "description": "Yes."}}
    no: Responses = {**text, 503: {"content": {"text/plain": {}}, "description": "No."}}
    app.get("/healthz", responses=no, response_class=Response)(service.healthz)
    app.get("/readyz", responses=no, response_class=Response)(service.readyz)
    app.get("/metrics", responses=text, response_class=Response)(service.metrics_text)
    page = docs_page(app.openapi())
    app.get("/docs", include_in_schema=False)(lambda: HTMLResponse(page))
    add_page(app)
    return Shell(app, service.metrics, service.streams, policy.hosts)


async def each_once(request: Request) -> None:
    """Nobody is asked for twice: who guards us may have looked at the first name, and we would answer to the last."""
    names = [name for name, _ in request.query_params.multi_items()]
    if len(set(names)) < len(names):
        raise HTTPException(400, "a parameter is given more than once")


class Bearer(HTTPBearer):
    """Lets nobody through without this token."""

    def __init__(self, token: SecretStr, name: str) -> None:
        super().__init__(scheme_name=name, auto_error=False)
        self._token = token

    async def __call__(self, request: HTTPConnection) -> None:
        given = await super().__call__(request)
        if not matches(self._token, given.credentials if given is not None else None):
            raise HTTPException(401, "a bearer token is needed", headers={"WWW-Authenticate": "Bearer"})
