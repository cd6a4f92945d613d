// What came of a call, for people: the answer, or the problem in words; the rest as it was sent.

import { copyButton, make, say } from "./dom.js";
import { onMain } from "./gateway.js";
import { isObject } from "./schema.js";
import { took } from "./words.js";

/** Pictures that a browser shows and that can do nothing. */
const PICTURES = /^image\/(png|jpeg|gif|webp|avif)$/;

/** Shows what came of a call in `place`, and says it. */
export function show(place, answer) {
  const body = parsed(answer.body);
  const good = answer.status < 300;
  const code = isObject(body) ? body.code : undefined;
  const word = good ? "Answered" : (isObject(body) && body.title) || "Refused";
  const line = make(
    "p",
    { class: `outcome ${good ? "good" : "bad"}` },
    make("span", { class: "mark", "aria-hidden": "true" }, good ? "✓" : "✕"),
    make("strong", {}, word),
    make("span", { class: "quiet" }, [`${answer.status} ${answer.words}`.trim(), code].filter(Boolean).join(" · ")),
    make("span", { class: "quiet" }, took(answer.elapsed)),
  );
  const parts = [line, ...(good ? contentOf(body) : problemOf(body))];
  const pretty = body === undefined ? answer.body : JSON.stringify(body, null, 2);
  const raw = [make("pre", { tabindex: "0", "aria-label": "The answer", text: pretty })];
  // An answer that is readable already is there as it was sent for whoever wants it.
  parts.push(...(parts.length > 1 ? [make("details", { class: "raw" }, make("summary", {}, "As it was sent"), ...raw)] : raw));
  const foot = make("p", { class: "foot" });
  if (answer.requestId) {
    foot.append("Request ", make("code", {}, answer.requestId), copyButton("the request id", () => answer.requestId));
  }
  foot.append(copyButton("the answer", () => pretty, "Copy answer"));
  place.replaceChildren(...parts, foot);
  const detail = good ? "" : (isObject(body) && body.detail) || "";
  say([`${word}, ${answer.status}, in ${took(answer.elapsed)}.`, detail].filter(Boolean).join(" "));
}

/** Shows that no answer came. */
export function showNothing(place, text) {
  const mark = make("span", { class: "mark", "aria-hidden": "true" }, "✕");
  place.replaceChildren(make("p", { class: "outcome bad" }, mark, make("strong", {}, text)));
  say(text);
}

/** `undefined`: it is not JSON. */
export function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** The blocks of a tool result that people can read. Nothing, if there are others: then it is better seen as a whole. */
function contentOf(body) {
  if (!isObject(body) || !Array.isArray(body.content) || body.content.length === 0) return [];
  const shown = body.content.map(blockOf);
  return shown.some((block) => block === null) ? [] : shown;
}

function blockOf(block) {
  if (block.type === "text") return make("pre", { class: "said", tabindex: "0", "aria-label": "What the tool says", text: block.text });
  if (block.type === "image" && PICTURES.test(block.mimeType)) {
    return make("img", { src: `data:${block.mimeType};base64,${block.data}`, alt: "The picture that the tool answered" });
  }
  return null;
}

function problemOf(problem) {
  if (!isObject(problem) || !problem.title) return [];
  const parts = [];
  if (problem.detail) parts.push(make("p", { class: "detail", text: problem.detail }));
  if (Array.isArray(problem.errors)) {
    const lines = problem.errors.map(({ pointer, detail }) => {
      return make("li", {}, make("code", {}, pointer || "arguments"), ` ${detail}`);
    });
    parts.push(make("ul", { class: "errors" }, ...lines));
  }
  if (Array.isArray(problem.available)) parts.push(make("p", { class: "quiet", text: `There are: ${problem.available.join(", ")}` }));
  if (problem.code) {
    const href = onMain(`/problems/${encodeURIComponent(problem.code)}`);
    parts.push(make("p", {}, make("a", { href }, "What this means")));
  }
  return parts;
}
