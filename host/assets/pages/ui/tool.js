// One tool: what it is, a form to try it, and what came of that.

import { copyButton, freshId, make, put } from "./dom.js";
import { escapePointer, fieldsOf } from "./fields.js";
import { call, hasCredential, urlOf } from "./gateway.js";
import { parsed, show, showNothing } from "./result.js";
import { isObject, membersOf } from "./schema.js";

/** Views by their element, to be found again at the next refresh. */
const views = new WeakMap();

/** The element of a tool of `server`. Its form is made once it is opened. */
export function toolView(server, tool) {
  const view = { server, tool, written: "", form: null, dirty: false };
  view.name = make("code", { class: "tool-name" });
  view.title = make("span", { class: "tool-title" });
  view.mark = make("span", { class: "tag" });
  view.body = make("div", { class: "tool-body" });
  view.node = make("details", { class: "tool" }, make("summary", {}, view.name, view.title, view.mark), view.body);
  view.node.addEventListener("toggle", () => view.node.open && !view.form && build(view));
  views.set(view.node, view);
  describe(view);
  return view.node;
}

/** Takes over what the gateway says now. A form that somebody has begun to fill in stays until they want the new one. */
export function updateTool(node, server, tool) {
  const view = views.get(node);
  view.server = server;
  const written = JSON.stringify(tool);
  if (written === view.written) return;
  view.tool = tool;
  describe(view);
  if (!view.form) return;
  if (!view.dirty && !view.body.contains(document.activeElement)) build(view);
  else view.changed.hidden = false;
}

function describe(view) {
  const { tool } = view;
  view.written = JSON.stringify(tool);
  put(view.name, tool.name);
  put(view.title, tool.title ?? tool.annotations?.title ?? firstSentence(tool.description));
  const { text, kind } = riskOf(tool.annotations);
  put(view.mark, text);
  view.mark.className = `tag ${kind}`;
  view.mark.hidden = text === "";
}

function firstSentence(text = "") {
  return text.split(/\n|(?<=\.)\s/)[0];
}

/** What the plugin says of what the tool does to the world. Without a word of it, MCP takes the worst for granted. */
function riskOf(hints) {
  if (hints?.readOnlyHint === true) return { text: "reads only", kind: "calm" };
  if (hints?.destructiveHint === false) return { text: "adds, destroys nothing", kind: "calm" };
  if (hints?.destructiveHint === true || hints?.readOnlyHint === false) return { text: "⚠ may destroy", kind: "danger" };
  return { text: "", kind: "" };
}

function build(view) {
  const { tool } = view;
  const root = isObject(tool.inputSchema) ? tool.inputSchema : {};
  const fields = fieldsOf(membersOf(root, root));
  const form = make("form", { novalidate: true, "aria-label": `Call ${tool.name}` });
  Object.assign(view, { form, fields, dirty: false, json: jsonArea() });
  const isDangerous = riskOf(tool.annotations).kind === "danger";
  view.send = make("button", { class: isDangerous ? "primary danger" : "primary" }, isDangerous ? "Call, it may destroy" : "Call");
  view.cancel = make("button", { type: "button", hidden: true }, "Cancel");
  view.toggle = make("button", { type: "button", class: "small", "aria-pressed": "false" }, "Edit as JSON");
  const curl = copyButton(tool.name, () => curlOf(view), "Copy as curl");
  view.changed = changedNotice(view);
  view.result = make("div", { class: "result" });
  // What is said above already is not said again.
  if (tool.description && tool.description !== view.title.textContent) form.append(make("p", { class: "about", text: tool.description }));
  form.append(view.changed);
  if (fields.fields.length === 0) fields.node.append(make("p", { class: "quiet" }, "It takes no arguments that its schema names."));
  form.append(fields.node, view.json.node, make("div", { class: "actions" }, view.send, view.cancel, view.toggle, curl));
  if (isObject(root.examples?.[0])) fields.fill({ ...fields.read([]), ...root.examples[0] });
  form.addEventListener("input", () => {
    view.dirty = true;
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(view);
  });
  view.toggle.addEventListener("click", () => toggle(view));
  view.body.replaceChildren(form, view.result);
}

function changedNotice(view) {
  const renew = make("button", { type: "button", class: "small" }, "Show the new form");
  renew.addEventListener("click", () => {
    build(view);
    view.send.focus();
  });
  return make("p", { class: "notice", hidden: true }, "The plugin has changed this tool. ", renew);
}

function jsonArea() {
  const id = freshId("json");
  const area = make("textarea", { id, rows: 8, class: "code", spellcheck: "false", autocomplete: "off", "aria-describedby": `${id}-error` });
  const error = make("p", { class: "error", id: `${id}-error` });
  const node = make("div", { class: "field", hidden: true }, make("label", { for: id }, "Arguments as JSON"), area, error);
  return { node, area, error };
}

/** Between the fields and the arguments as JSON. What fields cannot show stays JSON. */
function toggle(view) {
  const { json, fields } = view;
  const isText = !json.node.hidden;
  complain(json, "");
  if (!isText) {
    json.area.value = JSON.stringify(fields.read([]), null, 2);
  } else {
    const value = parse(json);
    if (value === undefined) return;
    fields.fill(value);
    if (canonical(fields.read([])) !== canonical(value)) {
      complain(json, "The fields cannot show all of this, so it stays JSON.");
      return;
    }
    fields.clear();
  }
  json.node.hidden = isText;
  fields.node.hidden = !isText;
  view.toggle.setAttribute("aria-pressed", String(!isText));
  if (!isText) json.area.focus();
}

function complain(json, text) {
  if (text) json.area.setAttribute("aria-invalid", "true");
  else json.area.removeAttribute("aria-invalid");
  put(json.error, text);
}

function parse(json) {
  try {
    return JSON.parse(json.area.value);
  } catch (error) {
    complain(json, `Not JSON: ${error.message}`);
    json.area.focus();
    return undefined;
  }
}

/** JSON with the members of every object in the same order. */
function canonical(value) {
  const sorted = (_, inner) => (isObject(inner) ? Object.fromEntries(Object.entries(inner).sort()) : inner);
  return JSON.stringify(value, sorted);
}

/** The arguments as text, or `undefined`: what is wrong is shown where it is. */
function argumentsOf(view) {
  const { json, fields } = view;
  complain(json, "");
  fields.clear();
  // As it was typed: JavaScript would round large numbers.
  if (!json.node.hidden) return parse(json) === undefined ? undefined : json.area.value;
  const wrong = [];
  const value = fields.read(wrong);
  wrong.forEach(({ field, text }) => field.complain(text));
  wrong[0]?.field.focus();
  return wrong.length > 0 ? undefined : JSON.stringify(value);
}

async function send(view) {
  if (view.send.getAttribute("aria-disabled") === "true") return;
  const text = argumentsOf(view);
  if (text === undefined) return;
  const abort = new AbortController();
  const cancel = () => abort.abort();
  view.cancel.addEventListener("click", cancel, { once: true });
  busy(view, true);
  try {
    const answer = await call(view.server, view.tool, text, abort.signal);
    show(view.result, answer);
    if (view.json.node.hidden) explain(view, answer);
  } catch (error) {
    showNothing(view.result, abort.signal.aborted ? "Cancelled." : unanswered(error));
  } finally {
    view.cancel.removeEventListener("click", cancel);
    busy(view, false);
    document.dispatchEvent(new Event("called"));
  }
}

function unanswered(error) {
  return `No answer came: ${error.message}. The gateway may be gone, or may not let this page call it ([http] allowed_origins).`;
}

/** Not by `disabled`, which would take the focus away from who pressed it. */
function busy(view, isBusy) {
  view.form.setAttribute("aria-busy", String(isBusy));
  view.cancel.hidden = !isBusy;
  view.send.setAttribute("aria-disabled", String(isBusy));
}

/** Puts what the gateway says of single arguments to their fields. */
function explain(view, answer) {
  const errors = answer.status === 400 ? parsed(answer.body)?.errors : undefined;
  const found = (Array.isArray(errors) ? errors : []).map((error) => [fieldFor(view.fields, error), error.detail]);
  const shown = found.filter(([field]) => field);
  shown.forEach(([field, detail]) => field.complain(detail));
  shown[0]?.[0].focus();
}

function fieldFor(fields, { pointer, keyword, detail }) {
  // What is missing is told of the object that misses it.
  const missing = keyword === "required" ? /"([^"]+)"/.exec(detail)?.[1] : undefined;
  return fields.find(missing === undefined ? pointer : `${pointer}/${escapePointer(missing)}`);
}

/** A line for a shell that does the same. The key is not in it: lines end up in histories. */
function curlOf(view) {
  const { json, fields, server, tool } = view;
  const text = json.node.hidden ? JSON.stringify(fields.read([])) : json.area.value;
  const quoted = (words) => `'${words.replaceAll("'", `'\\''`)}'`;
  const asks = server.shows !== "nothing" || hasCredential();
  const variable = server.shows === "token" ? "$ACCESS_TOKEN" : "$GATEWAY_KEY";
  const shown = asks && server.shows !== "nothing" ? `-H "authorization: Bearer ${variable}" ` : "";
  return `curl -s ${urlOf(tool.path)} ${shown}-H 'content-type: application/json' -d ${quoted(text)}`;
}
