// Fields of a form, made from shapes (schema.js). Each can be read, filled, and told what is wrong with it.
//
// read(wrong)   its value, or undefined: it is left out. What cannot be sent is added to `wrong`, as { field, text }.
// fill(value)   shows a value
// isBlank()     whether nothing was put in
// complain(text) shows what is wrong; an empty text: nothing
// find(pointer) the field that a JSON pointer of the gateway is about

import { freshId, make, put } from "./dom.js";
import { isObject } from "./schema.js";

/** The field for one member of an object, or for one item of a list. */
export function fieldOf(name, shape, required, pointer) {
  switch (shape.kind) {
    case "group":
      return groupField(name, shape, required, pointer);
    case "list":
      return listField(name, shape, required, pointer);
    case "boolean":
      if (required || typeof shape.schema.default === "boolean") return checkField(name, shape, pointer);
      return control(name, { ...shape, kind: "choice", options: [true, false].map(yesOrNo) }, required, pointer);
    default:
      return control(name, shape, required, pointer);
  }
}

const yesOrNo = (value) => ({ value, label: value ? "true" : "false" });

/** The fields of an object's members, without a frame: for the arguments as a whole. */
export function fieldsOf(members) {
  const fields = members.map(({ name, shape, required }) => {
    return { name, ...fieldOf(name, shape, required, `/${escapePointer(name)}`) };
  });
  return {
    node: make("div", { class: "fields" }, ...fields.map((field) => field.node)),
    fields,
    ...together(fields, ""),
  };
}

function together(fields, pointer) {
  return {
    isBlank: () => fields.every((field) => field.isBlank()),
    read: (wrong) => {
      const entries = fields.map((field) => [field.name, field.read(wrong)]);
      return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
    },
    fill: (value) => fields.forEach((field) => field.fill(isObject(value) ? value[field.name] : undefined)),
    clear: () => fields.forEach((field) => field.clear()),
    find: (at) => fields.map((field) => field.find(at)).find(Boolean) ?? null,
    pointer,
  };
}

function groupField(name, shape, required, pointer) {
  const fields = shape.members.map((member) => {
    const at = `${pointer}/${escapePointer(member.name)}`;
    return { name: member.name, ...fieldOf(member.name, member.shape, member.required, at) };
  });
  const error = errorLine();
  const node = make("fieldset", {}, make("legend", {}, ...labelParts(name, required)));
  if (shape.schema.description) node.append(make("p", { class: "hint", text: shape.schema.description }));
  node.append(...fields.map((field) => field.node), error);
  const all = together(fields, pointer);
  const field = {
    ...all,
    node,
    read: (wrong) => (!required && all.isBlank() ? undefined : all.read(wrong)),
    clear: () => {
      put(error, "");
      all.clear();
    },
    complain: (text) => put(error, text),
    focus: () => fields[0]?.focus(),
    find: (at) => all.find(at) ?? (at === pointer ? field : null),
  };
  if ("default" in shape.schema) field.fill(shape.schema.default);
  return field;
}

function listField(name, shape, required, pointer) {
  const rows = [];
  const [error, list] = [errorLine(), make("ol", { class: "rows" })];
  const add = make("button", { type: "button", class: "small" }, `Add to ${name}`);
  const node = make("fieldset", {}, make("legend", {}, ...labelParts(name, required)));
  const hint = hintOf(shape);
  if (hint) node.append(make("p", { class: "hint", text: hint }));
  node.append(list, add, error);
  const addRow = (value) => {
    const item = control(name, shape.item, false, "");
    const remove = make("button", { type: "button", class: "small" }, "Remove");
    const row = { ...item, li: make("li", {}, item.node, remove) };
    rows.push(row);
    list.append(row.li);
    const rename = () => rows.forEach((each, at) => {
      each.input.setAttribute("aria-label", `${name} ${at + 1}`);
      each.li.lastChild.setAttribute("aria-label", `Remove ${name} ${at + 1}`);
    });
    remove.addEventListener("click", () => {
      rows.splice(rows.indexOf(row), 1);
      row.li.remove();
      rename();
      add.focus();
      add.dispatchEvent(new Event("input", { bubbles: true }));
    });
    item.node.querySelector("label")?.remove();
    rename();
    if (value !== undefined) item.fill(value);
    return row;
  };
  add.addEventListener("click", () => addRow().focus());
  const field = {
    node,
    pointer,
    isBlank: () => rows.every((row) => row.isBlank()),
    read: (wrong) => {
      const filled = rows.filter((row) => !row.isBlank());
      if (filled.length === 0 && !required) return undefined;
      return filled.map((row) => row.read(wrong));
    },
    fill: (value) => {
      rows.splice(0).forEach((row) => row.li.remove());
      if (Array.isArray(value)) value.forEach((item) => addRow(item));
    },
    clear: () => {
      put(error, "");
      rows.forEach((row) => row.clear());
    },
    complain: (text) => put(error, text),
    focus: () => (rows[0] ? rows[0].focus() : add.focus()),
    find: (at) => {
      if (at === pointer) return field;
      const index = at.startsWith(`${pointer}/`) ? Number(at.slice(pointer.length + 1)) : -1;
      return rows.filter((row) => !row.isBlank())[index] ?? null;
    },
  };
  field.fill(shape.schema.default ?? (required ? shape.schema.examples?.[0] : undefined));
  return field;
}

function checkField(name, shape, pointer) {
  const id = freshId("field");
  const input = make("input", { type: "checkbox", id, "aria-describedby": `${id}-hint ${id}-error` });
  const error = errorLine(`${id}-error`);
  const node = make(
    "div",
    { class: "field check" },
    make("div", {}, input, make("label", { for: id }, name)),
    make("p", { class: "hint", id: `${id}-hint`, text: hintOf(shape) }),
    error,
  );
  const field = {
    node,
    input,
    pointer,
    // Its state says something either way, but nobody has said it.
    isBlank: () => input.checked === (shape.schema.default ?? false),
    read: () => input.checked,
    fill: (value) => {
      input.checked = value ?? shape.schema.default ?? false;
    },
    ...mistakes(input, error),
    find: (at) => (at === pointer || at.startsWith(`${pointer}/`) ? field : null),
  };
  field.fill(undefined);
  return field;
}

/** A label, one control, a hint and a place for what is wrong. */
function control(name, shape, required, pointer) {
  const { schema } = shape;
  const id = freshId("field");
  const input = inputOf(shape, required);
  input.id = id;
  input.setAttribute("aria-describedby", `${id}-hint ${id}-error`);
  if (required) input.setAttribute("aria-required", "true");
  const error = errorLine(`${id}-error`);
  const hint = make("p", { class: "hint", id: `${id}-hint`, text: hintOf(shape) });
  const node = make("div", { class: "field" }, make("label", { for: id }, ...labelParts(name, required)), input, hint, error);
  const field = {
    node,
    input,
    pointer,
    isBlank: () => input.value === "" && !input.validity.badInput,
    read: (wrong) => {
      if (field.isBlank()) {
        if (!required) return undefined;
        if (shape.nullable) return null;
        wrong.push({ field, text: "Needs a value." });
        return undefined;
      }
      const { value, text } = valueOf(shape, input);
      if (text) wrong.push({ field, text });
      return value;
    },
    fill: (value) => {
      input.value = textOf(shape, value);
    },
    ...mistakes(input, error),
    find: (at) => (at === pointer || at.startsWith(`${pointer}/`) ? field : null),
  };
  const example = schema.examples?.[0];
  const first = schema.default ?? (required ? example : undefined);
  if (first !== undefined) field.fill(first);
  else if (required && shape.kind === "choice" && shape.options.length === 1) input.value = "0";
  if (example !== undefined && "placeholder" in input) input.placeholder = textOf(shape, example);
  return field;
}

function mistakes(input, error) {
  return {
    clear: () => {
      input.removeAttribute("aria-invalid");
      put(error, "");
    },
    complain: (text) => {
      input.setAttribute("aria-invalid", "true");
      put(error, text);
    },
    focus: () => input.focus(),
  };
}

const INPUT_TYPES = { date: "date", email: "email", uri: "url", url: "url", password: "password" };

function inputOf({ kind, schema, options }, required) {
  const plain = { autocomplete: "off", spellcheck: "false" };
  if (kind === "choice") {
    const select = make("select");
    if (!required || options.length !== 1) select.append(make("option", { value: "" }, required ? "Choose…" : "(left out)"));
    options.forEach(({ label, hint }, at) => {
      select.append(make("option", { value: String(at) }, hint ? `${label}: ${hint}` : label));
    });
    return select;
  }
  if (kind === "number") {
    const step = schema.multipleOf ?? (schema.type === "integer" ? 1 : "any");
    return make("input", { type: "number", step, min: schema.minimum, max: schema.maximum, ...plain });
  }
  if (kind === "lines") return make("textarea", { rows: 3 });
  if (kind === "json") return make("textarea", { rows: 4, class: "code", ...plain });
  const secret = schema.writeOnly ? "password" : undefined;
  return make("input", { type: secret ?? INPUT_TYPES[schema.format] ?? "text", ...plain });
}

/** What a control holds: `{ value }`, or `{ text }`, which says why it cannot be sent. */
function valueOf({ kind, schema, options }, input) {
  if (kind === "choice") return { value: options[Number(input.value)].value };
  if (kind === "number") {
    const value = input.valueAsNumber;
    if (Number.isNaN(value)) return { text: "Needs a number." };
    if (schema.type === "integer" && !Number.isInteger(value)) return { text: "Needs a whole number." };
    if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
      return { text: "Too large to be sent exactly from here: edit the arguments as JSON." };
    }
    return { value };
  }
  if (kind === "json") {
    try {
      return { value: JSON.parse(input.value) };
    } catch (error) {
      return { text: `Not JSON: ${error.message}` };
    }
  }
  return { value: input.value };
}

function textOf({ kind, options }, value) {
  if (value === undefined || value === null) return "";
  if (kind === "choice") {
    const at = options.findIndex((option) => JSON.stringify(option.value) === JSON.stringify(value));
    return at < 0 ? "" : String(at);
  }
  if (kind === "json") return JSON.stringify(value, null, 2);
  return typeof value === "string" ? value : JSON.stringify(value);
}

function labelParts(name, required) {
  return [name, required ? make("span", { class: "required" }, " required") : null];
}

function errorLine(id) {
  return make("p", { class: "error", id });
}

/** What a schema says of its values, in one line. */
function hintOf({ kind, schema, item }) {
  const of = item?.schema ?? schema;
  const limits = [];
  const limit = (key, text) => of[key] !== undefined && limits.push(`${text} ${of[key]}`);
  limit("minimum", "at least");
  limit("exclusiveMinimum", "more than");
  limit("maximum", "at most");
  limit("exclusiveMaximum", "less than");
  limit("multipleOf", "a multiple of");
  limit("minLength", "length at least");
  limit("maxLength", "length at most");
  limit("pattern", "matches");
  if (of.format && kind === "text") limits.push(of.format);
  if (of.type === "integer") limits.unshift("whole number");
  if (schema.minItems !== undefined) limits.push(`at least ${schema.minItems} of them`);
  if (schema.maxItems !== undefined) limits.push(`at most ${schema.maxItems} of them`);
  if (kind === "json") limits.unshift("JSON");
  const about = schema.description ?? item?.schema.description ?? "";
  const line = limits.join(", ");
  return [about, line && line.charAt(0).toUpperCase() + line.slice(1) + "."].filter(Boolean).join(" ");
}

export function escapePointer(name) {
  return name.replaceAll("~", "~0").replaceAll("/", "~1");
}
