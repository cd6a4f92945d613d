// What needs a person, in words, with what to do next. Nothing here is told by colour alone.

import { make, put, putProse, reconcile } from "./dom.js";
import { stateOf } from "./servers.js";
import { count, span } from "./words.js";

/** What to do about a server that did not start, where its code says more than that. */
const REMEDIES = {
  declined: "Give the plugin what it asks for, in its `[server.settings]` or outside; then `gateway reload`.",
  bad_settings: "Correct its `[server.settings]`: the gateway tries again when gateway.toml changes.",
  unreadable: "Put the file there, or correct `plugin` in gateway.toml.",
  ended: "Reload to start it again: `gateway reload`.",
};

const PHASES = {
  starting: "Its servers are being loaded.",
  leaving: "It was told to stop. It still takes calls for a moment, so that load balancers can take it out first.",
  draining: "It takes no new calls and waits for those under way.",
};

/** Every thing that needs attention, the gravest first: `{ key, kind, mark, title, text, next, server }`. */
export function mattersOf(told) {
  return [...phase(told), ...told.servers.flatMap(server), ...audit(told), ...reload(told)].sort((a, b) => rank(a) - rank(b));
}

const rank = ({ kind }) => ["bad", "warn", "neutral"].indexOf(kind);

function phase(told) {
  if (told.phase === "serving") return [];
  const text = PHASES[told.phase];
  return [{ key: "phase", kind: "warn", title: `The gateway is ${told.phase}`, text, next: "" }];
}

function server(server) {
  const matters = [];
  const about = (key, more) => matters.push({ key: `${server.name} ${key}`, server: server.name, ...more });
  if (server.state === "failed") {
    const next = REMEDIES[server.code] ?? "Put a plugin there that loads, or correct its table: the gateway tries again when one of the two changes.";
    const kept = server.required ? " It is required, so `/readyz` says no." : "";
    about("failed", { kind: "bad", title: `${server.name} has failed`, text: ownReason(server), next: next + kept });
  }
  if (server.state === "quarantined") {
    const next = "A retry that goes well ends it, and so does a new build of the plugin. The failed calls below say what went wrong.";
    about("quarantined", { kind: "bad", title: `${server.name} is quarantined`, text: ownReason(server), next });
  }
  if (stateOf(server) === "stalled") {
    const text = `The plugin has taken no message for ${span(server.stalled_for_ms)}: a tool keeps all of its threads busy. Calls wait, and time out.`;
    about("stalled", { kind: "warn", title: `${server.name} is stalled`, text, next: "If it does not come back, the tool blocks: more `threads` help for a while, `spawn_blocking` in the plugin for good." });
  }
  if (server.floods_log) matters.push(flood(server));
  if (server.refused) {
    const text = server.refused.reason;
    about("refused", { kind: "warn", title: `A newer ${server.name} is on the disk, but not served`, text, next: "What served before goes on. The gateway looks again when the file changes, or on `gateway reload`." });
  }
  return matters;
}

/** Once it is over it is a fact among others of the server. */
function flood({ name, log_dropped: lines }) {
  const text = `${count(lines, "line")} of its log were dropped since it was loaded: it writes more than the gateway takes.`;
  const next = "See what it says so often; until that is mended, let it log less: `[log] filter`, or more at once: `log_max_per_second`.";
  return { key: `${name} floods`, kind: "warn", title: `${name} floods the log`, text, next, server: name };
}

/** Without the name, which is above it already. */
function ownReason({ name, reason }) {
  const begin = `server \`${name}\`: `;
  const rest = reason.startsWith(begin) ? reason.slice(begin.length) : reason;
  return rest.charAt(0).toUpperCase() + rest.slice(1);
}

function audit({ audit }) {
  if (!audit) return [];
  if (audit.failing) {
    return [{ key: "audit", kind: "bad", title: "The audit log cannot be written", text: `${count(audit.lines_lost, "line")} lost so far.`, next: "See whether its disk is full, and whose the file is." }];
  }
  if (audit.lines_lost === 0) return [];
  return [{ key: "audit", kind: "warn", title: "The audit log is not complete", text: `${count(audit.lines_lost, "line")} lost since it was opened.`, next: "It can be written again." }];
}

function reload({ reload, file }) {
  if (!reload) return [];
  const whole = reload.refused.filter((refused) => !refused.server);
  const matters = whole.map((refused, at) => {
    const place = refused.line ? ` (line ${refused.line}, column ${refused.column})` : "";
    const next = "What served before goes on. `gateway check` tells every mistake; the gateway follows once the file is right.";
    return { key: `reload ${at}`, kind: "warn", title: `${file} was refused${place}`, text: refused.reason, next };
  });
  if (reload.needs_restart.length > 0) {
    const text = `${reload.needs_restart.join(", ")}: the new value holds after a restart.`;
    matters.push({ key: "restart", kind: "neutral", title: `${file} has changes that take a restart`, text, next: "" });
  }
  return matters;
}

const MARKS = { bad: "✕", warn: "!", neutral: "i" };

/** Shows what needs attention; or that nothing does. */
export function showAttention(told) {
  const matters = mattersOf(told);
  document.getElementById("attention").hidden = false;
  const title = document.getElementById("attention-title");
  put(title, matters.length > 0 ? "Needs attention" : "All is well");
  const list = document.getElementById("attention-list");
  const all = matters.length > 0 ? matters : [calm(told)];
  reconcile(list, all, ({ key }) => key, matter, updateMatter);
  return matters.length;
}

function calm(told) {
  const many = told.servers.length;
  const text = many === 0 ? "No servers yet." : many === 1 ? "The one server serves." : `All ${many} servers serve.`;
  return { key: "calm", kind: "good", title: text, text: "", next: "" };
}

function matter({ kind, server }) {
  const node = make(
    "li",
    { class: `matter ${kind}` },
    make("span", { class: "mark", "aria-hidden": "true" }, MARKS[kind] ?? "✓"),
    make("div", {}, make("strong", {}), make("p", { class: "text" }), make("p", { class: "next" })),
  );
  if (server) {
    const show = make("a", { class: "show", href: `#server-${server}` }, "Show", make("span", { class: "unseen" }, ` ${server}`));
    show.addEventListener("click", () => {
      document.getElementById(`server-${server}`).open = true;
    });
    node.append(show);
  }
  return node;
}

function updateMatter(node, { title, text, next }) {
  put(node.querySelector("strong"), title);
  for (const [name, words] of [[".text", text], [".next", next]]) {
    const line = node.querySelector(name);
    putProse(line, words ?? "");
    line.hidden = !words;
  }
}
