// The calls of late: failures on their own, since what went well would soon push them out of sight.

import { copyButton, make, put, reconcile } from "./dom.js";
import { tabs } from "./tabs.js";
import { age, spoken, took } from "./words.js";

/** So many rows are shown, unless somebody wants all. */
const ROWS = 8;

/** What went as it should; and what nobody is to blame for. */
const GOOD = new Set(["ok", "input_required"]);
const NEUTRAL = new Set(["cancelled"]);
/** The plugin's own doing; whatever else is not good was the caller's, or a limit's. */
const FAULTS = new Set(["plugin_panicked", "bad_plugin_result", "tool_timeout", "plugin_unavailable", "plugin_error", "call_lost", "internal"]);

let view = null;
let last = null;

/** Shows `told.calls`. */
export function showCalls(told) {
  last = told;
  if (!view) build(told);
  const names = new Set(told.servers.map((server) => server.name));
  for (const call of [...told.calls.recent, ...told.calls.failures]) if (call.server) names.add(call.server);
  reconcile(view.filter, ["", ...names], (name) => `server:${name}`, option);
  const lists = [
    [view.failures, told.calls.failures, "No call has failed since the start."],
    [view.recent, told.calls.recent, "No call has been made since the start."],
  ];
  for (const [list, calls, none] of lists) list.show(calls, none, told);
}

function option(name) {
  return make("option", { value: name }, name || "All");
}

function build(told) {
  view = { failures: callTable("Calls that failed"), recent: callTable("All calls of late") };
  view.filter = make("select", { id: "calls-of" });
  view.filter.addEventListener("change", () => showCalls(last));
  const label = (text, list) => make("span", {}, text, " ", list.count);
  const entries = [
    { label: label("Failures", view.failures), panel: view.failures.node },
    { label: label("All", view.recent), panel: view.recent.node },
  ];
  // Whoever comes to see what is wrong is shown that; if nothing is, the rest.
  const both = tabs("Calls of late", entries, told.calls.failures.length > 0 ? 0 : 1);
  const filter = make("p", { class: "filter" }, make("label", { for: "calls-of" }, "Server"), view.filter);
  const box = make("div", { class: "card calls" }, filter, both.node);
  const section = document.getElementById("calls");
  section.append(box);
  section.hidden = false;
}

function callTable(caption) {
  const heads = ["Outcome", "Call", "Door", "Took", "When", "Request id"];
  const head = make("tr", { role: "row" }, ...heads.map((text) => make("th", { scope: "col", role: "columnheader" }, text)));
  const body = make("tbody", { role: "rowgroup" });
  // Roles, because the narrow layout takes away what a browser would know a table by.
  const table = make("table", { role: "table" }, make("caption", { class: "unseen" }, caption), make("thead", { role: "rowgroup" }, head), body);
  const [empty, count] = [make("p", { class: "empty" }), make("span", { class: "count" })];
  const more = make("button", { type: "button", class: "small more", hidden: true });
  const list = { node: make("div", {}, table, empty, more), count, all: false };
  more.addEventListener("click", () => {
    list.all = !list.all;
    showCalls(last);
  });
  list.show = (calls, none, told) => {
    const chosen = calls.filter((call) => !view.filter.value || call.server === view.filter.value);
    const shown = list.all ? chosen : chosen.slice(0, ROWS);
    const now = Date.parse(told.time);
    reconcile(body, shown, keyOf, row, (node, call) => put(node.age, whenOf(now - Date.parse(call.time))));
    put(count, String(chosen.length));
    put(empty, calls.length > 0 ? "None of this server." : none);
    empty.hidden = shown.length > 0;
    table.hidden = shown.length === 0;
    more.hidden = chosen.length <= ROWS;
    put(more, list.all ? "Show fewer" : `Show all ${chosen.length}`);
  };
  return list;
}

function whenOf(ms) {
  return ms < 1000 ? "now" : `${age(ms)} ago`;
}

function keyOf(call) {
  return [call.request_id, call.time, call.server, call.tool ?? call.subject ?? ""].join(" ");
}

/** How an outcome is to be looked at. */
export function gravity(outcome) {
  if (GOOD.has(outcome)) return "good";
  if (NEUTRAL.has(outcome)) return "neutral";
  return FAULTS.has(outcome) ? "bad" : "warn";
}

const MARKS = { good: "✓", neutral: "–", warn: "!", bad: "✕" };

function row(call) {
  const kind = gravity(call.outcome);
  const cell = (name, ...children) => make("td", { role: "cell", class: name }, ...children);
  const mark = make("span", { class: "mark", "aria-hidden": "true" }, MARKS[kind]);
  const what = call.tool ?? [call.method, call.subject].filter(Boolean).join(" ");
  const who = call.principal && call.principal !== "anonymous" ? make("span", { class: "quiet" }, ` by ${call.principal}`) : null;
  const when = make("time", { datetime: call.time, title: new Date(call.time).toLocaleString() });
  const id = make("code", { title: call.request_id }, shortened(call.request_id));
  const trace = call.trace_id ? copyButton("the trace id", () => call.trace_id, "Trace") : null;
  const node = make(
    "tr",
    { role: "row" },
    cell("verdict", make("span", { class: `badge ${kind}` }, mark, call.outcome === "ok" ? "OK" : spoken(call.outcome))),
    cell("call", make("span", { class: "quiet" }, `${call.server ?? "gateway"} / `), make("span", { class: "called" }, what), who),
    cell("door", call.door),
    cell("took", took(call.elapsed_ms)),
    cell("when", when),
    cell("id", id, copyButton("the request id", () => call.request_id), trace),
  );
  node.age = when;
  return node;
}

/** Ids that sort by time differ at their ends. */
function shortened(id) {
  return id.length > 14 ? `…${id.slice(-12)}` : id;
}
