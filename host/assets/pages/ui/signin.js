// Asks who is looking, where the gateway wants to know, and shows what everybody may see until then.

import { make, put, putProse, say } from "./dom.js";
import { index, onMain, useCredential } from "./gateway.js";
import { count, spoken } from "./words.js";

const place = document.getElementById("sign-in");

/**
 * Asks for a key or a token; `tried` is called once there is one. `refused`: 401, or 403 for one that may not look. What the
 * gateway tells whoever it is all the same, if anything.
 */
export async function ask(refused, wasShown, tried) {
  if (!place.firstChild) place.append(formOf(tried));
  const why = place.querySelector("#refused");
  const input = place.querySelector("input");
  const text = reason(refused, wasShown);
  putProse(why, text);
  if (text) {
    input.setAttribute("aria-invalid", "true");
    input.select();
  }
  return showPublic();
}

/** Takes the form away: whoever it is may look. */
export function isIn() {
  const hadForm = place.firstChild !== null;
  place.replaceChildren();
  if (hadForm) {
    say("Signed in.");
    document.getElementById("main").focus();
  }
}

function reason(refused, wasShown) {
  if (refused === 403) return "The gateway knows this key or token, but it lacks the scope `admin`.";
  return wasShown ? "The gateway does not know this key or token." : "";
}

function formOf(tried) {
  // The field has no name, so it would not get into an address even if the browser sent the form.
  const input = make("input", { id: "credential", type: "password", autocomplete: "off", spellcheck: "false", "aria-describedby": "refused" });
  const form = make(
    "form",
    { class: "card ask", "aria-labelledby": "ask-title" },
    make("h2", { id: "ask-title" }, "Who is looking?"),
    make("p", {}, "The state of this gateway is for who has the scope ", make("code", {}, "admin"), ". What you type goes to it alone, and is gone with this page."),
    make("label", { for: "credential" }, "Key or token"),
    make("div", { class: "row" }, input, make("button", { class: "primary" }, "Show")),
    make("p", { id: "refused", class: "error", role: "alert" }),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const credential = input.value.trim();
    if (!credential) return input.focus();
    putProse(form.querySelector("#refused"), "");
    input.removeAttribute("aria-invalid");
    useCredential(credential);
    tried();
  });
  return make("div", {}, form, make("section", { class: "public", "aria-label": "What everybody may see", hidden: true }));
}

async function showPublic() {
  const told = await index().catch(() => null);
  const section = place.querySelector(".public");
  if (!section || !told) return null;
  const rows = told.servers.map((server) => {
    const tools = server.tools === undefined ? "" : ` · ${count(server.tools, "tool")}`;
    return make("li", {}, make("a", { href: onMain(server.prefix) }, server.name), make("span", { class: "quiet" }, ` ${spoken(server.state)}${tools}`));
  });
  section.hidden = false;
  section.replaceChildren(make("h2", {}, "Servers you may use"), rows.length > 0 ? make("ul", {}, ...rows) : make("p", { class: "quiet" }, "None without a key."));
  return told;
}
