// Tabs, as the ARIA authoring practices have them: one stop for the tab key, arrows between them.

import { freshId, make } from "./dom.js";

/** Tabs over panels. `entries`: `{ label, panel }`, where label is an element or a text. */
export function tabs(name, entries, chosen = 0) {
  const list = make("div", { role: "tablist", "aria-label": name, class: "tabs" });
  const node = make("div", { class: "tabbed" }, list);
  const all = entries.map(({ label, panel }) => {
    const tab = make("button", { type: "button", role: "tab", id: freshId("tab") }, label);
    panel.id ||= freshId("panel");
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", tab.id);
    tab.setAttribute("aria-controls", panel.id);
    list.append(tab);
    node.append(panel);
    return { tab, panel };
  });
  const choose = (index) => {
    all.forEach(({ tab, panel }, at) => {
      tab.setAttribute("aria-selected", String(at === index));
      tab.tabIndex = at === index ? 0 : -1;
      panel.hidden = at !== index;
    });
  };
  all.forEach(({ tab }, at) => tab.addEventListener("click", () => choose(at)));
  list.addEventListener("keydown", (event) => {
    const at = all.findIndex(({ tab }) => tab === document.activeElement);
    const last = all.length - 1;
    const to = { ArrowRight: at === last ? 0 : at + 1, ArrowLeft: at === 0 ? last : at - 1, Home: 0, End: last }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    choose(to);
    all[to].tab.focus();
  });
  choose(chosen);
  return { node, choose };
}
