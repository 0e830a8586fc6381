// Ask, listen, show. Ids and texts come from strangers: they are set as text, and never become markup, links or code.

const AGAIN_MS = 2000; // until a connection that was lost is tried again
const SILENT_MS = 40_000; // a stream's heartbeat comes every 15 s
const STATUS_MS = 5000;
const SESSION_MS = 1000; // a session has no stream, so it is asked for
const PROMPT_MS = 100; // between two questions for the prompt, however fast events come
const TOKEN = "read-token";

const STATES = {
  idle: "",
  away: "no connection, trying again",
  locked: "a token is needed",
  loading: "loading: the topic is being read",
  caught_up: "live",
  degraded: "behind: something newer may be missing",
  failed: "failed: nothing new comes in",
};

const $ = (id) => document.getElementById(id);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// What is watched; a lookup makes a new one, and whatever still comes for the old one is dropped.
let watched = null;
let clockAhead = 0; // the server's clock less ours, in ms

// --- ask ---

async function ask(path, parameters, signal, headers = {}) {
  const token = sessionStorage.getItem(TOKEN);
  if (token) headers.Authorization = `Bearer ${token}`;
  const given = Object.entries(parameters).filter(([, value]) => value);
  const response = await fetch(`${path}?${new URLSearchParams(given)}`, { signal, headers, cache: "no-store" });
  const date = Date.parse(response.headers.get("date"));
  if (date) clockAhead = date - Date.now();
  return response;
}

function watch(kind, id, product) {
  watched?.stop.abort();
  watched = { kind, id, product, record: null, cards: new Map(), stop: new AbortController() };
  $("who").firstElementChild.textContent = id;
  $("sessions").replaceChildren();
  $("prompt").textContent = $("news").textContent = "";
  $("welcome").hidden = true;
  $("known").hidden = $("unlock").hidden = true;
  if (kind === "user") follow(watched);
  else followSession(watched);
  keepStatus(watched);
}

function unwatch() {
  watched?.stop.abort();
  watched = null;
  $("known").hidden = true;
  $("welcome").hidden = false;
  show("idle");
}

// --- listen ---

async function follow(mine) {
  const { signal } = mine.stop;
  for (let lastId = ""; !signal.aborted; await pause(AGAIN_MS)) {
    const silence = new AbortController();
    let timer;
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENT_MS);
    };
    try {
      heard();
      const both = AbortSignal.any([signal, silence.signal]);
      const response = await ask("stream", { user_id: mine.id }, both, lastId ? { "Last-Event-ID": lastId } : {});
      if (response.status === 401) return mine === watched && lock();
      if (!response.ok) continue; // the status says why
      for await (const event of events(response, heard)) {
        lastId = event.get("id") ?? lastId;
        if (event.has("data")) take(mine, JSON.parse(event.get("data")));
      }
    } catch {
      // gone: by us, or to be tried again
    } finally {
      clearTimeout(timer);
    }
  }
}

// What is shown is a record, so a session is one of a single session. Nothing where its product has to be named first.
async function followSession(mine) {
  const { signal } = mine.stop;
  for (let last; !signal.aborted; await pause(SESSION_MS)) {
    try {
      const response = await ask("sessions", { session_id: mine.id, product_id: mine.product }, signal);
      if (response.status === 401) return mine === watched && lock();
      if (!response.ok && response.status !== 404) continue; // the status says why
      const text = response.ok ? await response.text() : "";
      if (text !== last) take(mine, text && { sessions: [JSON.parse(text)] });
      last = text;
    } catch {
      // gone: by us, or to be tried again
    }
  }
}

// Server-sent events as maps of their fields. (EventSource cannot send a token.)
async function* events(response, heard) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    heard();
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) yield new Map(block.split("\n").map((line) => line.split(/: (.*)/s, 2)));
  }
}

function take(mine, record) {
  if (mine !== watched) return;
  mine.record = record;
  mine.drawing ??= requestAnimationFrame(() => {
    mine.drawing = null;
    if (mine === watched) draw(mine);
  });
  askPrompt(mine);
}

async function keepStatus(mine) {
  const { signal } = mine.stop;
  for (; !signal.aborted; await pause(STATUS_MS)) {
    let state = "away";
    try {
      state = (await (await ask("readyz", {}, signal)).text()).trim();
    } catch {
      // away
    }
    if (mine === watched && $("unlock").hidden) show(state in STATES ? state : "away");
  }
}

// The prompt is asked of the server: what is shown is what a chat service would get.
async function askPrompt(mine) {
  mine.isPromptStale = true;
  if (mine.isAsking) return;
  mine.isAsking = true;
  while (mine.isPromptStale && mine === watched) {
    mine.isPromptStale = false;
    const query = $("query").value;
    try {
      const [path, name] = mine.kind === "user" ? ["context", "user_id"] : ["sessions", "session_id"];
      const response = await ask(path, { [name]: mine.id, product_id: mine.product, query }, mine.stop.signal);
      const told = response.ok ? await response.json() : null;
      const isAnswer = response.ok || response.status === 404;
      const text = told ? (told.enriched_query ?? told.activity ?? told.context) : query;
      if (mine === watched && isAnswer) $("prompt").textContent = text;
    } catch {
      // the stream comes back, and asks again
    }
    await pause(PROMPT_MS);
  }
  mine.isAsking = false;
}

// --- show ---

function show(state) {
  if ($("state").dataset.state === state) return; // a status that is set again would be read out again
  $("state").dataset.state = state;
  $("state").textContent = STATES[state];
}

function make(tag, name, ...inside) {
  const element = document.createElement(tag);
  element.className = name;
  element.append(...inside);
  return element;
}

function makeTime(seconds) {
  const at = new Date(seconds * 1000);
  const time = make("time", "note");
  time.dateTime = Number.isNaN(at.getTime()) ? "" : at.toISOString();
  time.textContent = ago(at);
  return time;
}

function ago(at) {
  const seconds = Math.round((Date.now() + clockAhead - at) / 1000);
  if (Number.isNaN(seconds)) return "";
  if (seconds < 2) return "just now";
  if (seconds < 120) return `${seconds} s ago`;
  return seconds < 7200 ? `${Math.floor(seconds / 60)} min ago` : at.toLocaleString();
}

function draw(mine) {
  $("known").hidden = false;
  const all = mine.record?.sessions ?? [];
  drawProducts(mine, all);
  const sessions = all.filter((one) => !mine.product || one.product_id === mine.product);
  const keys = sessions.map((one) => JSON.stringify([one.product_id, one.session_id]));
  for (const [key, card] of mine.cards) {
    if (keys.includes(key)) continue;
    card.element.remove();
    mine.cards.delete(key);
  }
  let count = 0;
  keys.forEach((key, place) => {
    if (!mine.cards.has(key)) mine.cards.set(key, makeCard(sessions[place], mine.isDrawn));
    const card = mine.cards.get(key);
    count += drawCard(card, sessions[place]);
    const there = $("sessions").children[place];
    if (there !== card.element) $("sessions").insertBefore(card.element, there ?? null);
  });
  if (count && mine.isDrawn) $("news").textContent = count === 1 ? "1 new action" : `${count} new actions`;
  mine.isDrawn = true;
  $("nothing").hidden = sessions.length > 0;
  drawFacts(mine, sessions);
}

// Whose a session is, with a way to all that is known of them.
function makeOwner(user) {
  if (!user) return make("span", "", "nobody is known to be behind it");
  const link = make("a", "", make("bdi", "", user));
  link.href = place("user", user, "");
  return make("span", "", "of ", link);
}

function drawFacts({ kind, record }, sessions) {
  const count = sessions.reduce((sum, one) => sum + one.action_count, 0);
  const facts = sessions.length
    ? [
        kind === "session" && makeOwner(sessions[0].user_id),
        record.email && make("bdi", "", record.email),
        make("span", "", sessions.length === 1 ? "1 session" : `${sessions.length} sessions`),
        make("span", "", count === 1 ? "1 action" : `${count} actions`),
        record.truncated && make("span", "", "the oldest was left out to keep the record small"),
      ]
    : [];
  $("facts").replaceChildren(...facts.filter(Boolean));
}

function drawProducts(mine, sessions) {
  const names = [...new Set([mine.product, ...sessions.map((one) => one.product_id)])].filter(Boolean).sort();
  const wanted = JSON.stringify([mine.product, names]);
  if (wanted === mine.products) return; // nobody's focus is lost
  mine.products = wanted;
  const [legend] = $("products").children;
  const choices = ["", ...names].map((name) => {
    const radio = make("input", "");
    radio.type = "radio";
    radio.name = "product";
    radio.value = name;
    radio.checked = name === mine.product;
    return make("label", "", radio, make("span", "", name ? make("bdi", "", name) : "all"));
  });
  $("products").replaceChildren(legend, ...choices);
  $("products").hidden = names.length === 0;
}

function makeCard(session, isNew) {
  const time = makeTime(session.last_seen_at);
  const product = session.product_id && make("bdi", "tag", session.product_id);
  const conversation = make("bdi", "tag");
  const heading = make("summary", "", make("bdi", "", session.session_id), ...[product, conversation].filter(Boolean), time);
  const lines = make("ol", "");
  const element = make("details", isNew ? "session fresh" : "session", heading, lines);
  element.open = true;
  return { element, lines, conversation, time, context: null, seen: isNew ? new Set() : null };
}

// How many actions are new since it was drawn last.
function drawCard(card, session) {
  card.conversation.textContent = session.conversation_id ? `conversation ${session.conversation_id}` : "";
  card.conversation.hidden = !session.conversation_id;
  const time = makeTime(session.last_seen_at);
  card.time.replaceWith(time);
  card.time = time;
  if (session.context === card.context) return 0;
  card.context = session.context;
  const actions = actionsOf(session.context);
  const isFresh = (action) => card.seen !== null && !card.seen.has(action.line);
  card.lines.replaceChildren(...actions.map((action) => makeAction(action, isFresh(action))).reverse());
  const count = actions.filter(isFresh).length;
  card.seen = new Set(actions.map((action) => action.line));
  return count;
}

// `N. [index] type: description — canonical_url`, one a line, below a heading. Where a stranger put a colon or a dash
// into a part, it may be cut in another place: nothing is lost, and nothing hangs on it.
function actionsOf(context) {
  return context.split("\n").slice(1).map((numbered) => {
    const line = numbered.replace(/^\d+\. /, "");
    const [, kind = "", what = line, where = ""] = line.match(/^\[-?\d+\] (.*?): (.*) — (.*)$/) ?? [];
    return { line, kind, what, where };
  });
}

function makeAction({ kind, what, where }, isFresh) {
  const item = make("li", isFresh ? "fresh" : "", make("bdi", "kind", kind), " ", make("bdi", "what", what));
  item.dataset.kind = kind;
  if (where) item.append(make("bdi", "where", where));
  return item;
}

// --- a token, where the server needs one ---

function lock() {
  const wasRefused = sessionStorage.getItem(TOKEN) !== null;
  sessionStorage.removeItem(TOKEN);
  $("token-note").textContent = wasRefused
    ? "The server does not know this token."
    : "Kept in this tab until it is closed.";
  $("known").hidden = true;
  $("unlock").hidden = false;
  $("lock").hidden = true;
  $("token").value = "";
  $("token").focus();
  show("locked");
}

$("unlock").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(TOKEN, $("token").value);
  $("token").value = "";
  $("lock").hidden = false;
  $("user").focus();
  begin();
});

$("lock").addEventListener("click", () => {
  sessionStorage.removeItem(TOKEN);
  location.reload();
});

// --- what people do ---

// Whom and what to look at stands behind the #, which no server is sent: it can be linked, and the back button works.
function begin() {
  const asked = new URLSearchParams(location.hash.slice(1));
  const kind = asked.has("session") ? "session" : "user";
  const id = asked.get(kind) ?? "";
  $("kind").querySelector(`[value=${kind}]`).checked = true;
  nameKind();
  $("user").value = id;
  if (id) watch(kind, id, asked.get("product") ?? "");
  else unwatch();
}

const place = (kind, id, product) => `#${new URLSearchParams(product ? { [kind]: id, product } : { [kind]: id })}`;

const kindWanted = () => $("kind").querySelector(":checked").value;

function nameKind() {
  const kind = kindWanted();
  $("lookup").querySelector("label[for]").textContent = kind === "user" ? "User" : "Session";
  $("user").placeholder = `${kind} id`;
}

// Sessions can be looked up where the server knows them.
async function offerSessions() {
  try {
    const { paths } = await (await fetch("openapi.json")).json();
    $("kind").hidden = !("/sessions" in paths);
  } catch {
    // away: a reload asks again
  }
}

$("kind").addEventListener("change", nameKind);

$("lookup").addEventListener("submit", (event) => {
  event.preventDefault();
  const wanted = place(kindWanted(), $("user").value.trim(), "");
  if (location.hash === wanted) begin();
  else location.hash = wanted;
});

$("products").addEventListener("change", (event) => {
  watched.product = event.target.value;
  watched.products = null;
  history.replaceState(null, "", place(watched.kind, watched.id, watched.product));
  watched.isDrawn = false; // what was filtered out is not new
  draw(watched);
  $("products").querySelector(":checked").focus();
  askPrompt(watched);
});

$("query").addEventListener("input", () => watched && askPrompt(watched));

$("copy").hidden = !navigator.clipboard;
$("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText($("prompt").textContent);
  $("news").textContent = "copied";
});

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input:not([type=radio]), textarea");
  if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  $("user").focus();
  $("user").select();
});

setInterval(() => {
  for (const time of document.querySelectorAll("time")) time.textContent = ago(new Date(time.dateTime));
}, 1000);

addEventListener("hashchange", begin);
$("lock").hidden = !sessionStorage.getItem(TOKEN);
offerSessions();
begin();
