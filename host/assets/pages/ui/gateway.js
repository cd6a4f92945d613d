// What the page asks the gateway for. The key or token is kept in this module and nowhere else: it is in no address and in
// no storage, and gone with the page.

let credential = "";

/** What the gateway said of itself last; addresses are made from it. */
let told = { listener: "main", base: "" };

export function useCredential(text) {
  credential = text;
}

export function hasCredential() {
  return credential !== "";
}

function authorization() {
  return credential ? { authorization: `Bearer ${credential}` } : {};
}

/** The address of what is at `path` of the main listener: relative, unless the page is on another listener. */
export function onMain(path) {
  return told.listener === "main" ? `.${path}` : `${told.base}${path}`;
}

/** The address of what is at `path` of the listener that the page is from. */
export function here(path) {
  return `.${path}`;
}

/** The absolute URL of what is at `path` of the main listener. */
export function urlOf(path) {
  return `${told.base || new URL(".", document.baseURI).href.replace(/\/$/, "")}${path}`;
}

async function get(path) {
  const headers = { accept: "application/json", ...authorization() };
  const answer = await fetch(here(path), { headers, cache: "no-store" });
  const body = await answer.json().catch(() => ({}));
  return { status: answer.status, body };
}

/** The state of the gateway: `{ told }`, or `{ refused: status, problem }` to who may not see it. Throws if it does not answer. */
export async function status() {
  const { status, body } = await get("/admin/status");
  if (status === 401 || status === 403) return { refused: status, problem: body };
  if (status !== 200) throw new Error(body.detail ?? `it answered ${status}`);
  told = body;
  return { told };
}

/** What it tells everybody, or what the holder of a key may use. `null`: nothing. */
export async function index() {
  const { status, body } = await get("/");
  return status === 200 && body.pages ? body : null;
}

/** Calls a tool over REST. `text` is sent as it is: numbers that JavaScript cannot hold stay what they are. */
export async function call(server, tool, text, signal) {
  // A server that asks nobody is shown nothing.
  const shown = server.shows === "nothing" ? {} : authorization();
  const headers = { "content-type": "application/json", accept: "application/json", ...shown };
  const began = performance.now();
  const answer = await fetch(onMain(tool.path), { method: "POST", headers, body: text, signal });
  const body = await answer.text();
  return {
    status: answer.status,
    words: answer.statusText,
    elapsed: performance.now() - began,
    requestId: answer.headers.get("x-request-id") ?? "",
    body,
  };
}
