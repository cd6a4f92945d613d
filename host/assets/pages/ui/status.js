// The status page: asks the gateway how it is every few seconds, and shows it. What somebody has opened, typed or focused
// stays as it is: elements are changed in place, never made anew.

import { showAttention } from "./attention.js";
import { showCalls } from "./calls.js";
import { make, put, reconcile, say } from "./dom.js";
import { hasCredential, here, onMain, status, useCredential } from "./gateway.js";
import { showServers } from "./servers.js";
import { ask, isIn } from "./signin.js";
import { span, spoken } from "./words.js";

const EVERY_MS = 5000;
/** Longest wait for a gateway that does not answer. */
const PATIENCE_MS = 30_000;

const element = (id) => document.getElementById(id);

const refresh = { timer: 0, isPaused: false, isUnder: false, failures: 0, mayLook: true };

async function look() {
  if (refresh.isUnder) return;
  clearTimeout(refresh.timer);
  refresh.isUnder = true;
  try {
    const answer = await status();
    refresh.failures = 0;
    put(element("unreachable"), "");
    refresh.mayLook = answer.told !== undefined;
    if (answer.told) show(answer.told);
    else await refuse(answer.refused);
  } catch (error) {
    refresh.failures += 1;
    lost(error);
  } finally {
    refresh.isUnder = false;
    schedule();
  }
}

/** A page that nobody sees asks nothing, nor does one that is told nothing. */
function schedule() {
  clearTimeout(refresh.timer);
  if (refresh.isPaused || document.hidden || !refresh.mayLook) return;
  refresh.timer = setTimeout(look, Math.min(EVERY_MS * 2 ** Math.min(refresh.failures, 3), PATIENCE_MS));
}

function show(told) {
  isIn();
  document.body.classList.remove("stale");
  const matters = showAttention(told);
  document.title = matters > 0 ? `(${matters}) gateway` : "gateway";
  head(told);
  links(told);
  showCalls(told);
  showServers(told.servers);
}

function head(told) {
  put(element("version"), told.version);
  state(told.phase === "serving" ? "good" : "warn", spoken(told.phase));
  const facts = [
    { name: "Up", shown: span(told.uptime_ms) },
    { name: "Calls open", shown: String(told.calls_open) },
    { name: "File", shown: told.file },
  ];
  if (told.principal !== "anonymous") facts.push({ name: "You", shown: told.principal });
  reconcile(element("facts"), facts, ({ name }) => name, fact, (node, { shown }) => put(node.lastChild, shown));
  put(element("updated"), `Updated ${new Date().toLocaleTimeString()}`);
  element("pause").hidden = false;
  element("sign-out").hidden = !hasCredential();
}

function fact({ name }) {
  return make("div", {}, make("dt", {}, name), make("dd"));
}

function state(kind, word) {
  const place = element("state");
  place.hidden = false;
  place.className = `badge ${kind}`;
  if (!place.firstChild) place.append(make("span", { class: "mark", "aria-hidden": "true" }), make("span"));
  put(place.firstChild, kind === "good" ? "✓" : "!");
  put(place.lastChild, word);
}

const NAMES = {
  "/docs": "API docs",
  "/redoc": "Reference",
  "/openapi.json": "OpenAPI",
  "/metrics": "Metrics",
  "/readyz": "Readiness",
  "/servers": "Servers as JSON",
  "/problems": "Problems",
};

function links({ pages }) {
  const all = Object.keys(NAMES).flatMap((path) => {
    if (pages.admin?.includes(path)) return [{ path, href: here(path) }];
    return pages.main.includes(path) ? [{ path, href: onMain(path) }] : [];
  });
  reconcile(element("links"), all, ({ path }) => path, ({ path, href }) => make("li", {}, make("a", { href }, NAMES[path])));
}

async function refuse(code) {
  for (const id of ["attention", "calls", "servers", "state", "pause", "sign-out"]) element(id).hidden = true;
  put(element("updated"), "");
  element("facts").replaceChildren();
  const wasShown = hasCredential();
  // What nobody knows is good for nothing else either.
  if (code === 401) useCredential("");
  const open = await ask(code, wasShown, look);
  links({ pages: { main: open?.pages ?? [] } });
}

function lost(error) {
  document.body.classList.add("stale");
  state("warn", "Not reachable");
  put(element("unreachable"), `The gateway does not answer (${error.message}). What you see is from before; the page asks again by itself.`);
}

element("pause").addEventListener("click", (event) => {
  refresh.isPaused = !refresh.isPaused;
  put(event.currentTarget, refresh.isPaused ? "Resume" : "Pause");
  say(refresh.isPaused ? "The page is not refreshed any more." : "The page is refreshed every few seconds.");
  if (refresh.isPaused) clearTimeout(refresh.timer);
  else look();
});

element("sign-out").addEventListener("click", () => {
  // All that this page knows is gone with it.
  location.reload();
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(refresh.timer);
  else if (!refresh.isPaused && refresh.mayLook) look();
});

// A call that was made here is in the list of calls at once.
document.addEventListener("called", () => !refresh.isPaused && look());

/** `#server-greet` opens that server, also if it was there before this page was. */
function openNamed() {
  const named = location.hash.startsWith("#server-") && element(decodeURIComponent(location.hash.slice(1)));
  if (!named) return;
  named.open = true;
  named.scrollIntoView();
}

window.addEventListener("hashchange", openNamed);
look().then(openNamed);
