// The servers: each with its state, its facts, its tools to try, and how to connect clients to it.

import { copyButton, freshId, make, put, putProse, reconcile } from "./dom.js";
import { onMain } from "./gateway.js";
import { tabs } from "./tabs.js";
import { toolView, updateTool } from "./tool.js";
import { bytes, count, span, spoken } from "./words.js";

const views = new WeakMap();

/** More than these are not found at a glance. */
const MANY_TOOLS = 10;

/** What a state looks like beside its word. */
const GLYPHS = { running: "✓", failed: "✕", quarantined: "!", stalled: "!" };

/** Shows `servers`, in their order. What is open stays open. */
export function showServers(servers) {
  const list = document.getElementById("server-list");
  const keyOf = (server) => server.name;
  reconcile(list, servers, keyOf, serverView, update);
  document.getElementById("servers").hidden = false;
  const empty = document.getElementById("no-servers");
  empty?.remove();
  if (servers.length === 0) {
    list.after(make("p", { id: "no-servers", class: "empty" }, "No servers yet: add a [[server]] table to gateway.toml. The gateway follows while it runs."));
  }
}

/** The state as a person sees it: a plugin that takes no messages runs, but that is not all there is to say. */
export function stateOf(server) {
  return server.state === "running" && server.stalled_for_ms > 0 ? "stalled" : server.state;
}

function serverView(server) {
  const view = { facts: make("dl", { class: "facts grid" }), tools: make("div", { class: "tools" }) };
  view.glyph = make("span", { class: "mark", "aria-hidden": "true" });
  view.word = make("span", { class: "word" });
  view.state = make("span", { class: "badge" }, view.glyph, view.word);
  view.title = make("span", { class: "server-title" });
  view.meta = make("span", { class: "meta" });
  view.prefix = make("code", { class: "prefix" });
  view.reason = make("p", { class: "reason" });
  view.toolsTitle = make("h4", {}, "Tools");
  view.noTools = make("p", { class: "quiet" });
  view.find = finder(view);
  view.connect = make("div", { class: "connect" });
  const name = make("span", { class: "server-name" }, make("h3", {}, server.name), view.title);
  const summary = make("summary", {}, view.state, name, view.prefix, view.meta);
  const body = make("div", { class: "server-body" }, view.reason, view.facts, view.toolsTitle, view.find.node, view.noTools, view.tools, view.connect);
  const node = make("details", { class: "server", id: `server-${server.name}` }, summary, body);
  views.set(node, view);
  return node;
}

function update(node, server) {
  const view = views.get(node);
  const state = stateOf(server);
  view.state.className = `badge ${state}`;
  put(view.glyph, GLYPHS[state] ?? "?");
  put(view.word, spoken(state));
  // "everything, Everything" says nothing twice.
  const isSaid = server.title?.toLowerCase() === server.name.toLowerCase();
  put(view.title, isSaid ? "" : (server.title ?? ""));
  put(view.prefix, server.prefix);
  const tools = Array.isArray(server.tools) ? server.tools : [];
  put(view.meta, metaOf(server, tools));
  putProse(view.reason, server.reason ?? "");
  view.reason.hidden = !server.reason;
  reconcile(view.facts, factsOf(server), ({ name }) => name, fact, updateFact);
  const serves = Array.isArray(server.tools);
  view.toolsTitle.hidden = !serves;
  put(view.noTools, noToolsOf(server, tools));
  view.noTools.hidden = !serves || tools.length > 0;
  reconcile(view.tools, tools, (tool) => tool.name, (tool) => toolView(server, tool), (child, tool) => updateTool(child, server, tool));
  view.find.node.hidden = tools.length <= MANY_TOOLS;
  view.find.apply();
  connect(view, server);
}

/** Finds tools by what is written of them, where there are many. */
function finder(view) {
  const id = freshId("find");
  const input = make("input", { id, type: "search", autocomplete: "off", spellcheck: "false" });
  const node = make("p", { class: "find" }, make("label", { for: id }, "Find a tool"), input);
  const apply = () => {
    const words = input.value.trim().toLowerCase();
    for (const tool of view.tools.children) tool.hidden = !tool.firstChild.textContent.toLowerCase().includes(words);
  };
  input.addEventListener("input", apply);
  return { node, apply };
}

function noToolsOf(server, tools) {
  if (tools.length > 0) return "";
  return server.tools_are_dynamic ? "It lists its tools call by call: ask it over MCP." : "It has no tools.";
}

function metaOf(server, tools) {
  const parts = [];
  if (Array.isArray(server.tools)) parts.push(count(tools.length, "tool"));
  if (server.generation) parts.push(`generation ${server.generation}`);
  if (server.calls_open > 0) parts.push(`${count(server.calls_open, "call")} open`);
  const faults = Object.values(server.faults ?? {}).reduce((sum, times) => sum + times, 0);
  if (faults > 0) parts.push(count(faults, "fault"));
  return parts.join(" · ");
}

/** The facts of a server: a name, what is shown, and what is copied, where that is worth it. */
function factsOf(server) {
  const faults = Object.entries(server.faults ?? {}).map(([kind, times]) => `${times} × ${kind}`).join(", ");
  const facts = [
    { name: "MCP endpoint", shown: server.mcp, copied: server.mcp },
    { name: "File", shown: server.plugin + (server.discovered ? " (found in the plugins folder)" : "") },
    { name: "Version", shown: server.version },
    { name: "SHA-256", shown: server.sha256 && `${server.sha256.slice(0, 10)}…`, copied: server.sha256 },
    { name: "Generation", shown: server.generation && String(server.generation) },
    { name: "Heap", shown: server.heap_bytes === undefined ? undefined : bytes(server.heap_bytes) },
    { name: "Calls open", shown: server.calls_open === undefined ? undefined : String(server.calls_open) },
    { name: "Faults", shown: faults || undefined },
    { name: "Quarantines", shown: server.quarantines > 0 ? String(server.quarantines) : undefined },
    { name: "Log lines dropped", shown: server.log_dropped > 0 ? String(server.log_dropped) : undefined },
    { name: "Takes no messages for", shown: server.stalled_for_ms > 0 ? span(server.stalled_for_ms) : undefined },
    { name: "Required", shown: server.required ? "yes: the gateway is not ready without it" : undefined },
    { name: "Callers show", shown: { nothing: undefined, key: "a key", token: "a token" }[server.shows] },
    { name: "Code", shown: server.code },
  ];
  return facts.filter(({ shown }) => shown);
}

function fact({ name, copied }) {
  const node = make("div", {}, make("dt", {}, name), make("dd", {}, make("span", { class: "value" })));
  node.copied = copied;
  if (copied) node.lastChild.append(copyButton(name, () => node.copied));
  return node;
}

function updateFact(node, { shown, copied }) {
  node.copied = copied;
  put(node.querySelector(".value"), shown);
}

function connect(view, server) {
  const written = JSON.stringify(server.connect ?? []);
  // Made again, it would lose the choice and the focus.
  if (written === view.written || view.connect.contains(document.activeElement)) return;
  view.written = written;
  view.connect.replaceChildren();
  if (!server.connect) return;
  const entries = server.connect.map(({ client, place, text }) => {
    const copied = copyButton(`the lines for ${client}`, () => text);
    const bar = make("p", { class: "place" }, place, copied);
    return { label: client, panel: make("div", {}, bar, make("pre", { tabindex: "0", "aria-label": `Lines for ${client}`, text })) };
  });
  const more = make("p", { class: "quiet" }, make("a", { href: onMain(server.prefix) }, "Page of this server"), " · ", make("a", { href: onMain(`${server.prefix}/openapi.json`) }, "OpenAPI"));
  view.connect.append(make("h4", {}, "Connect"), tabs(`How to connect clients to ${server.name}`, entries).node, more);
}
