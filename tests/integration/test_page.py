"""The page in a real browser: what it shows as events arrive, to whom, and that what strangers send stays text."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import product as product_of
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect
from pydantic import SecretStr

from schemas import SessionContext
from schemas.actions import action_line
from tests.acceptance.members import Member
from tests.fakes.chat import SESSIONS, TOPIC, Chat
from tests.integration.shell import Shell, wait_until
from tests.integration.test_serve import Served
from tests.payloads import payload
from tests.user_records import record, session, visitor
from worker import ActionsPublisher
from worker.view import AsyncUserContextView
from worker.view.http import HttpPolicy, create_app
from worker.view.http_shell import Shell as HttpShell
from worker.view.streams import StreamPolicy
from worker.view.tokens import Tokens

READ = "read-" + "r" * 20
SCRIPT = "<script>pwned = 1</script><img src=x onerror='pwned = 1'><a href='javascript:pwned=1'>x</a>\"'&amp;"
POLICY = "Content Security|Trusted"  # is in what the browser says when it refuses something
PHONE: dict[str, Any] = {"viewport": {"width": 375, "height": 700}, "device_scale_factor": 2}


class Server(uvicorn.Server):
    """On a thread of its own, over a view whose broker is well; ends with its streams."""

    def __init__(self, app: HttpShell, chat: Chat) -> None:
        super().__init__(uvicorn.Config(app, http="h11", ws="none", lifespan="off", log_config=None))
        self._app = app
        self._chat = chat

    async def on_tick(self, counter: int) -> bool:
        for reader, topic in product_of(self._chat.readers, (TOPIC, SESSIONS)):
            reader.say_statistics(topic)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._app.streams.close()
        await super().shutdown(sockets)


@contextmanager
def served(chat: Chat, policy: HttpPolicy | None = None, port: int = 0, **view_options: Any) -> Iterator[str]:
    """The address of the HTTP service over a new view."""
    app = create_app(AsyncUserContextView.over(chat.ready(**view_options)), policy or HttpPolicy())
    listening = socket.create_server(("127.0.0.1", port))
    server = Server(app, chat)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()
        assert not thread.is_alive()


@pytest.fixture
def chat() -> Iterator[Chat]:
    chat = Chat()
    chat.clock.now = time.time()
    yield chat
    for view in chat.views:
        view.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Page]]:
    """`visit(url, **how)`: a page in a profile of its own. No error, and nothing that the policy forbids, happens."""
    wrong: list[str] = []
    with ExitStack() as stack:

        def open_one(url: str, **how: Any) -> Page:
            def heard(said: ConsoleMessage) -> None:
                if re.search(POLICY, said.text):
                    wrong.append(said.text)

            def asked(request: Request) -> None:
                if not request.url.startswith(url.partition("#")[0]):
                    wrong.append(request.url)

            context = browser.new_context(**how)
            stack.callback(context.close)
            page = context.new_page()
            page.on("pageerror", lambda error: wrong.append(str(error)))
            page.on("console", heard)
            page.on("request", asked)
            page.goto(url)
            return page

        yield open_one
    assert wrong == []


@pytest.fixture
def page(chat: Chat, visit: Callable[..., Page]) -> Iterator[Page]:
    with served(chat) as url:
        yield visit(url)


def look_up(page: Page, user: str) -> None:
    page.get_by_label("User", exact=True).fill(user)
    page.get_by_role("button", name="Look up").click()


def write(chat: Chat, user: str, version: int, *sessions: SessionContext, **more: Any) -> None:
    chat.write(user, record(user, version, *sessions, at=chat.clock.now, **more))


def did(chat: Chat, session_id: str, *texts: str, **more: Any) -> SessionContext:
    return session(session_id, *texts, at=chat.clock.now, **more)


# --- what it shows ---


def test_it_shows_what_a_user_did_and_moves_as_events_arrive(chat: Chat, page: Page) -> None:
    write(chat, "u", 1, did(chat, "s1", "opened Billing", "pressed Upgrade", conversation="c7"), email="u@example.com")
    look_up(page, "u")
    actions, cards = page.locator(".what"), page.locator(".session")
    expect(actions).to_have_text(["pressed Upgrade", "opened Billing"])  # the newest is on top
    expect(page.locator(".kind").first).to_have_text("pageview")
    expect(page.locator(".where").first).to_have_text("https://app.example.com/billing")
    expect(cards).to_contain_text(["s1acmeconversation c7"])
    expect(page.locator("#facts")).to_contain_text("u@example.com")
    expect(page.locator("#facts")).to_contain_text("2 actions")
    expect(page.locator("#state")).to_have_text("live")
    expect(page.locator(".fresh")).to_have_count(0)
    write(chat, "u", 2, did(chat, "s2", "came back"), did(chat, "s1", "opened Billing", "pressed Upgrade", "paid"))
    expect(actions).to_have_text(["came back", "paid", "pressed Upgrade", "opened Billing"])
    expect(page.locator(".fresh .what")).to_have_text(["came back", "paid"])
    expect(page.locator("#news")).to_have_text("2 new actions")
    chat.write("u", None)
    expect(cards).to_have_count(0)
    expect(page.locator("#nothing")).to_be_visible()
    write(chat, "u", 3, did(chat, "s3", "is here again"))
    expect(actions).to_have_text(["is here again"])


def test_it_shows_what_the_chat_layer_is_told(chat: Chat, page: Page) -> None:
    write(chat, "u", 1, did(chat, "s1", "opened Billing"))
    look_up(page, "u")
    prompt = page.locator("#prompt")
    expect(prompt).to_have_text(chat.views[0].get_user_activity("u"), use_inner_text=True)
    page.get_by_label("Query").fill("How do I add\na seat?")
    expect(prompt).to_contain_text("[Query]")
    assert prompt.text_content() == chat.views[0].enrich("u", "How do I add\na seat?")
    write(chat, "u", 2, did(chat, "s1", "opened Billing", "paid"))
    expect(prompt).to_contain_text("paid")
    assert prompt.text_content() == chat.views[0].enrich("u", "How do I add\na seat?")
    chat.write("u", None)
    expect(prompt).to_have_text("How do I add a seat?")


def test_a_product_is_shown_and_told_alone(chat: Chat, page: Page) -> None:
    write(chat, "u", 1, did(chat, "same", "in acme"), did(chat, "same", "in beta", product="beta"))
    look_up(page, "u")
    actions, prompt = page.locator(".what"), page.locator("#prompt")
    expect(actions).to_have_text(["in acme", "in beta"])
    page.get_by_text("beta", exact=True).first.click()
    expect(actions).to_have_text(["in beta"])
    expect(prompt).to_contain_text("in beta")  # it is asked for by itself, and empty until then
    expect(prompt).not_to_contain_text("in acme")
    assert prompt.text_content() == chat.views[0].get_user_activity("u", "beta")
    assert page.url.endswith("#user=u&product=beta")
    write(chat, "u", 2, did(chat, "same", "in acme", "again"), did(chat, "same", "in beta", "too", product="beta"))
    expect(actions).to_have_text(["too", "in beta"])
    expect(prompt).to_contain_text("too")
    expect(prompt).not_to_contain_text("again")
    page.get_by_text("all", exact=True).click()
    expect(actions).to_have_text(["again", "in acme", "too", "in beta"])


def test_a_session_is_looked_up_before_and_after_its_user_is_known(chat: Chat, visit: Callable[..., Page]) -> None:
    chat.write_session("s 1", visitor("s 1", did(chat, "s 1", "looked around"), at=chat.clock.now))
    with served(chat, session_topic=SESSIONS) as url:
        page = visit(url)
        page.get_by_text("session", exact=True).click()
        page.get_by_label("Session", exact=True).fill("s 1")
        page.get_by_role("button", name="Look up").click()
        actions, facts = page.locator(".what"), page.locator("#facts")
        expect(actions).to_have_text(["looked around"])
        expect(facts).to_contain_text("nobody is known to be behind it")
        page.get_by_label("Query").fill("How?")
        expect(page.locator("#prompt")).to_contain_text("[Query]\nHow?")
        assert page.locator("#prompt").text_content() == chat.views[0].enrich_session("s 1", "How?")
        assert page.url.endswith("#session=s+1")
        page.reload()
        expect(actions).to_have_text(["looked around"])
        chat.write_session("s 1", visitor("s 1", linked="u"))
        write(chat, "u", 1, did(chat, "s 1", "looked around", "signed in"), did(chat, "s2", "elsewhere"))
        expect(actions).to_have_text(["signed in", "looked around"])
        expect(page.locator(".fresh .what")).to_have_text(["signed in"])
        facts.get_by_role("link", name="u").click()
        expect(actions).to_have_text(["signed in", "looked around", "elsewhere"])
        expect(page.get_by_label("User", exact=True)).to_have_value("u")
        assert page.url.endswith("#user=u")


def test_where_there_are_no_sessions_none_are_offered(page: Page) -> None:
    page.wait_for_load_state("networkidle")
    expect(page.locator("#kind")).to_be_hidden()


def test_one_users_actions_never_stand_under_another(chat: Chat, page: Page) -> None:
    write(chat, "ann", 1, did(chat, "shared", "ann's"))
    write(chat, "bob", 1, did(chat, "shared", "bob's"))
    look_up(page, "ann")
    expect(page.locator(".what")).to_have_text(["ann's"])
    look_up(page, "bob")
    expect(page.locator(".what")).to_have_text(["bob's"])
    metrics = page.url.partition("#")[0] + "metrics"
    wait_until(lambda: "http_streams 1.0" in page.request.get(metrics).text(), "it listens to one user alone")
    write(chat, "ann", 2, did(chat, "shared", "ann's", "ann's second"))
    write(chat, "bob", 2, did(chat, "shared", "bob's", "bob's second"))
    expect(page.locator(".what")).to_have_text(["bob's second", "bob's"])
    expect(page.locator("#prompt")).to_contain_text("bob's second")
    assert "ann's" not in page.content()
    page.go_back()
    expect(page.locator(".what")).to_have_text(["ann's second", "ann's"])
    assert "bob's" not in page.content()


@pytest.mark.parametrize("user", ["a/b c", "../x", "ü 🦊", "a?b#c&d=e%2F+", "x" * 1024])
def test_ids_may_hold_any_characters(chat: Chat, page: Page, user: str) -> None:
    write(chat, user, 1, did(chat, "s", "hello"))
    look_up(page, user)
    expect(page.locator(".what")).to_have_text(["hello"])
    expect(page.locator("#who")).to_have_text(user)
    page.reload()
    expect(page.locator(".what")).to_have_text(["hello"])


def test_it_says_when_the_service_is_away_and_goes_on_when_it_is_back(chat: Chat, visit: Callable[..., Page]) -> None:
    write(chat, "u", 1, did(chat, "s", "before"))
    with served(chat) as url:
        page = visit(url)
        look_up(page, "u")
        expect(page.locator("#state")).to_have_text("live")
    expect(page.locator("#state")).to_contain_text("no connection", timeout=15_000)
    expect(page.locator(".what")).to_have_text(["before"])
    write(chat, "u", 2, did(chat, "s", "before", "meanwhile"))
    with served(chat, port=int(url.rstrip("/").rpartition(":")[2])):
        expect(page.locator(".what")).to_have_text(["meanwhile", "before"], timeout=15_000)
        expect(page.locator("#state")).to_have_text("live", timeout=15_000)


# --- strangers ---


def test_what_strangers_send_stays_text(chat: Chat, page: Page) -> None:
    line = action_line(0, SCRIPT, SCRIPT, "javascript:pwned=1//" + SCRIPT)
    hostile = SessionContext(
        session_id=SCRIPT,
        product_id=SCRIPT,
        conversation_id=SCRIPT,
        last_seen_at=chat.clock.now,
        action_count=1,
        context=f"Recent activity:\n1. {line}",
    )
    write(chat, SCRIPT, 1, hostile, email=SCRIPT)
    look_up(page, SCRIPT)
    page.get_by_label("Query").fill(SCRIPT)
    expect(page.locator("#prompt")).to_contain_text(f"[Query]\n{SCRIPT}")
    for where in ("#who", "#facts", ".session summary", ".session li", "#products", "#prompt"):
        expect(page.locator(where)).to_contain_text(SCRIPT)
    page.get_by_role("radio", name=SCRIPT).check(force=True)
    page.reload()
    expect(page.locator(".session")).to_have_count(1)
    assert page.evaluate("typeof pwned") == "undefined"
    assert page.locator("script").count() == 1
    assert page.locator("img").count() == 1  # the sign beside the heading
    assert page.locator("a").count() == 1  # the way to the documentation


def test_the_policy_lets_no_other_script_run(chat: Chat, browser: Browser) -> None:
    attempts = """() => {
        const refused = [];
        const attempt = (name, act) => { try { act(); } catch (error) { refused.push(name); } };
        attempt("markup", () => { document.body.innerHTML = "<b>x</b>"; });
        attempt("source", () => { document.createElement("script").src = "page.js"; });
        attempt("text", () => { document.createElement("script").text = "globalThis.pwned = 1"; });
        attempt("handler", () => { document.body.setAttribute("onclick", "globalThis.pwned = 1"); });
        const script = document.createElement("script");
        script.append("globalThis.pwned = 1");
        document.body.append(script);
        return [refused, typeof pwned];
    }"""
    with served(chat) as url, browser.new_context() as context:
        page = context.new_page()
        page.goto(url)
        assert page.evaluate(attempts) == [["markup", "source", "text", "handler"], "undefined"]


def test_neither_a_shared_session_nor_a_shared_session_id_leaks_on_a_real_broker(
    shell: Shell, member: Member, visit: Callable[..., Page], tmp_path: Path
) -> None:
    """Two people at one screen, and two products that count their sessions alike."""
    service = Served(shell, tmp_path / "serve.log", {})
    try:
        wait_until(service.is_ready, "it is ready")
        whose = (("ann", "acme"), ("bob", "acme"), ("ann", "beta"))
        url = str(service.client.base_url).rstrip("/")
        pages = {who: visit(f"{url}/#user={who[0]}&product={who[1]}") for who in whose}
        for one in pages.values():
            expect(one.locator("#nothing")).to_be_visible()
        with ActionsPublisher(shell.settings.bootstrap_servers, shell.settings.input_topic) as publisher:
            for number in range(5):
                for user, product in whose:
                    text = f"{user} in {product} {number}"
                    publisher.add(payload(text, session="shared", product=product, user=user, at=time.time()))
        for (user, product), one in pages.items():
            expected = [f"{user} in {product} {number}" for number in range(5)]
            expect(one.locator(".what")).to_have_text(expected[::-1])
            expect(one.locator("#prompt")).to_contain_text(expected[-1])
            assert re.findall(r"\w+ in \w+ \d", one.locator("#prompt").text_content() or "") == expected
    finally:
        service.client.close()
        service.process.kill()
        service.process.wait()


# --- a token ---


def test_where_a_token_is_needed_it_is_asked_for_and_kept_in_the_tab_alone(
    chat: Chat, visit: Callable[..., Page]
) -> None:
    write(chat, "u", 1, did(chat, "s", "hello"))
    with served(chat, HttpPolicy(Tokens(SecretStr(READ)), streams=StreamPolicy(heartbeat_s=0.5))) as url:
        page = visit(url)
        look_up(page, "u")
        token = page.get_by_label("Read token")
        expect(token).to_be_focused()
        expect(page.locator("#known")).to_be_hidden()
        page.keyboard.type("wrong" * 5)
        page.keyboard.press("Enter")
        expect(page.locator("#token-note")).to_have_text("The server does not know this token.")
        token.fill(READ)
        page.keyboard.press("Enter")
        expect(page.locator(".what")).to_have_text(["hello"])
        expect(token).to_be_hidden()
        page.reload()
        expect(page.locator(".what")).to_have_text(["hello"])
        assert READ not in page.url + page.content()
        kept = page.evaluate("[Object.values(sessionStorage), Object.values(localStorage), document.cookie]")
        assert kept == [[READ], [], ""]
        page.get_by_role("button", name="Forget the token").click()
        expect(token).to_be_visible()
        assert page.evaluate("sessionStorage.length") == 0


# --- everybody ---


def test_it_can_be_used_with_the_keyboard_alone(chat: Chat, page: Page) -> None:
    write(chat, "u", 1, did(chat, "a", "in acme"), did(chat, "b", "in beta", product="beta"))
    expect(page.get_by_label("User", exact=True)).to_be_focused()
    page.keyboard.type("u")
    page.keyboard.press("Enter")
    actions = page.locator(".what")
    expect(actions).to_have_text(["in acme", "in beta"])
    for key in ("Tab", "Tab", "ArrowRight", "ArrowRight"):  # the button, the products
        page.keyboard.press(key)
    expect(actions).to_have_text(["in beta"])
    expect(page.get_by_role("radio", name="beta")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # folds the session
    expect(actions).to_be_hidden()
    page.keyboard.press("Tab")
    page.keyboard.type("a/b?")
    expect(page.get_by_label("Query")).to_have_value("a/b?")
    page.keyboard.press("Tab")
    page.keyboard.press("/")
    expect(page.get_by_label("User", exact=True)).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_can_be_read(chat: Chat, visit: Callable[..., Page], scheme: str) -> None:
    """On a phone, whatever is long, and with a contrast of at least 4.5 (WCAG AA)."""
    write(chat, "u" * 200, 1, did(chat, "s" * 200, "w" * 500, product="p" * 100, conversation="c" * 200))
    with served(chat) as url:
        page = visit(url + "#user=" + "u" * 200, color_scheme=scheme, **PHONE)
        expect(page.locator(".what")).to_be_visible()
        expect(page.locator("#prompt")).to_contain_text("w" * 500)
        assert page.evaluate("document.documentElement.scrollWidth") <= 375
        assert page.evaluate(CONTRASTS) == []


# Texts whose colour is too near to what is behind them.
CONTRASTS = """() => {
    const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
    const light = (colour) => {
        const part = (value) => value / 255 <= 0.03928 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4;
        const [red, green, blue] = numbers(colour).map(part);
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    };
    const behind = (element) => {
        const colour = getComputedStyle(element).backgroundColor;
        return numbers(colour)[3] === 0 ? behind(element.parentElement) : colour;
    };
    const texts = [...document.querySelectorAll("body *")].filter((one) => one.checkVisibility()
        && [...one.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim()));
    return texts.map((one) => {
        const [more, less] = [light(getComputedStyle(one).color), light(behind(one))].sort((a, b) => b - a);
        return [one.tagName + "." + one.className, (more + 0.05) / (less + 0.05)];
    }).filter(([, contrast]) => contrast < 4.5);
}"""
