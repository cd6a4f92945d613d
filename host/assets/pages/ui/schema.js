// What kind of field a JSON schema asks for. Whatever is not understood is a piece of JSON: the gateway checks it anyway.

/** Nested deeper than this it is easier to write JSON. */
const DEPTH_MAX = 4;

/** Names of texts that have more than one line, as a rule. */
const LONG = /^(text|body|content|message|prompt|query|code|markdown|html|notes?|script|source)$/i;

/**
 * What a schema asks for: `{ kind, schema, nullable }`, where kind is text, lines, choice, boolean, number, list, group or
 * json; and `options` of a choice, `item` of a list, `members` of a group. `root` is where `$ref`s lead.
 */
export function shapeOf(schema, root, name = "", seen = []) {
  const flat = flatten(schema, root, seen);
  if (!flat) return { kind: "json", schema: isObject(schema) ? schema : {}, nullable: false };
  const { nullable, met } = flat;
  const plain = flat.schema;
  const shape = (kind, more = {}) => ({ kind, schema: plain, nullable, ...more });
  const options = optionsOf(plain);
  if (options) return shape("choice", { options });
  if (plain.anyOf || plain.oneOf || plain.$ref) return shape("json");
  switch (plain.type) {
    case "string":
      return shape(isLong(plain, name) ? "lines" : "text");
    case "boolean":
      return shape("boolean");
    case "integer":
    case "number":
      return shape("number");
    case "array":
      return listOf(plain, root, met, shape);
    case "object":
      return groupOf(plain, root, met, shape);
    default:
      return shape("json");
  }
}

/** The members of an object's schema with their shapes; the required ones first, else in the schema's order. */
export function membersOf(schema, root, met = []) {
  const required = new Set(schema.required ?? []);
  const members = Object.entries(schema.properties ?? {}).map(([name, member]) => ({
    name,
    required: required.has(name),
    shape: shapeOf(member, root, name, met),
  }));
  return [...members.filter((member) => member.required), ...members.filter((member) => !member.required)];
}

function listOf(schema, root, met, shape) {
  if (!isObject(schema.items) || schema.prefixItems) return shape("json");
  const item = shapeOf(schema.items, root, "", met);
  return ["list", "group", "json"].includes(item.kind) ? shape("json") : shape("list", { item });
}

function groupOf(schema, root, met, shape) {
  const open = isObject(schema.additionalProperties) || schema.patternProperties;
  if (!schema.properties || open || met.length >= DEPTH_MAX) return shape("json");
  return shape("group", { members: membersOf(schema, root, [...met, schema]) });
}

/** Follows references and takes "or null" and lists of one apart. `null`: it goes in circles or says nothing. */
function flatten(schema, root, seen) {
  let nullable = false;
  let met = seen;
  for (let step = 0; step < 16; step += 1) {
    if (!isObject(schema)) return null;
    if (typeof schema.$ref === "string") {
      const target = targetOf(schema.$ref, root);
      if (!isObject(target) || met.includes(target)) return null;
      met = [...met, target];
      const { $ref, ...own } = schema;
      schema = { ...target, ...own };
      continue;
    }
    const only = onlyOne(schema);
    if (!only) break;
    nullable ||= only.nullable;
    schema = only.schema;
  }
  if (Array.isArray(schema.type)) {
    const types = schema.type.filter((type) => type !== "null");
    nullable ||= types.length < schema.type.length;
    schema = { ...schema, type: types.length === 1 ? types[0] : undefined };
  }
  return { schema, nullable, met };
}

/** `schema` with the one alternative that it leaves in its place. */
function onlyOne(schema) {
  for (const key of ["allOf", "anyOf", "oneOf"]) {
    const all = schema[key];
    if (!Array.isArray(all)) continue;
    const some = all.filter((part) => part?.type !== "null");
    if (some.length !== 1 || !isObject(some[0])) continue;
    const { [key]: _, ...own } = schema;
    return { schema: { ...some[0], ...own }, nullable: some.length < all.length };
  }
  return null;
}

function targetOf(reference, root) {
  if (!reference.startsWith("#")) return undefined;
  const parts = decodeURIComponent(reference.slice(1)).split("/").slice(1);
  return parts.reduce((at, part) => at?.[part.replaceAll("~1", "/").replaceAll("~0", "~")], root);
}

/** The values that can be chosen from, each with a label. `null`: there is more to it. */
function optionsOf(schema) {
  const option = (value, label, hint) => ({ value, label: label ?? labelOf(value), hint });
  if (Array.isArray(schema.enum)) return schema.enum.filter((value) => value !== null).map((value) => option(value));
  if ("const" in schema) return [option(schema.const)];
  const parts = schema.oneOf ?? schema.anyOf;
  const isConst = (part) => isObject(part) && ("const" in part || part.enum?.length === 1);
  if (!Array.isArray(parts) || !parts.every(isConst)) return null;
  return parts.map((part) => option("const" in part ? part.const : part.enum[0], part.title, part.description));
}

function labelOf(value) {
  return typeof value === "string" ? value : JSON.stringify(value);
}

function isLong(schema, name) {
  if (schema.format || schema.pattern) return false;
  return LONG.test(name) || schema.maxLength > 200 || schema.contentMediaType || String(schema.default ?? "").includes("\n");
}

export function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
