// Elements. Whatever a plugin says becomes text here, and never markup: nothing on this page is parsed as HTML.

/**
 * A new element. `on…` are listeners, `text` is its text, `true` and `false` set and leave out an attribute; children are
 * elements or texts.
 */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "text") element.textContent = value;
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== undefined && value !== null) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Sets a text, but only if it is another: a selection in it, and a screen reader, are left alone. */
export function put(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const proses = new WeakMap();

/** Sets a text in which what stands between backticks is code, as in the gateway's messages. Text all the same. */
export function putProse(element, text) {
  if (proses.get(element) === text) return;
  proses.set(element, text);
  const parts = text.split(/`([^`]+)`/);
  element.replaceChildren(...parts.map((part, at) => (at % 2 === 1 ? make("code", {}, part) : part)));
}

let ids = 0;

/** An id that no other element has. */
export function freshId(what) {
  ids += 1;
  return `${what}-${ids}`;
}

/**
 * Makes the children of `parent` those of `items`, in their order. An element stays the same as long as its key does, and
 * is not moved unless its neighbours are others: what has the focus keeps it.
 */
export function reconcile(parent, items, keyOf, create, update = () => {}) {
  const wanted = new Set(items.map(keyOf));
  // First those that go: they must not stand in the way of those that stay.
  for (const child of [...parent.children]) if (!wanted.has(child.dataset.key)) child.remove();
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let next = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    const child = known.get(key) ?? create(item);
    child.dataset.key = key;
    update(child, item);
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
  }
}

/** Tells a screen reader, where what happened is to be seen only. */
export function say(text) {
  const said = document.getElementById("said");
  said.textContent = "";
  // Another text in the same moment would not be a change.
  requestAnimationFrame(() => put(said, text));
}

/** A button that copies what `textOf` answers. `what` is its name for who does not see where it is. */
export function copyButton(what, textOf, label = "Copy") {
  // Its name begins with what is written on it: who speaks to the computer says that.
  const name = label === "Copy" ? `Copy ${what}` : `${label}: ${what}`;
  const button = make("button", { type: "button", class: "small copy", "aria-label": name }, label);
  button.addEventListener("click", async () => {
    const text = await textOf();
    const done = await copy(text);
    put(button, done ? "Copied" : "Not copied");
    say(done ? `Copied ${what}` : `The browser did not let ${what} be copied`);
    setTimeout(() => put(button, label), 1500);
  });
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyByHand(text);
  }
}

/** Where a page is neither on this machine nor encrypted there is no clipboard, but there is a selection. */
function copyByHand(text) {
  const before = document.activeElement;
  const area = make("textarea", { class: "unseen", "aria-hidden": "true" });
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  before?.focus();
  return done;
}
