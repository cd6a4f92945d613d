// Numbers in words.

const number = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });

/** `12.5 MiB`. */
export function bytes(count) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) {
    count /= 1024;
    unit += 1;
  }
  return `${number.format(count)} ${units[unit]}`;
}

/** How long a call took: `0.4 ms`, `31 ms`, `2.5 s`. */
export function took(ms) {
  if (ms < 0.1) return "< 0.1 ms";
  if (ms < 10) return `${number.format(ms)} ms`;
  return ms < 1000 ? `${Math.round(ms)} ms` : `${number.format(ms / 1000)} s`;
}

const UNITS = [
  ["d", 86_400],
  ["h", 3600],
  ["min", 60],
  ["s", 1],
];

/** A time in its two largest units: `3 d 4 h`, `12 min 5 s`. */
export function span(ms) {
  let seconds = Math.max(0, Math.floor(ms / 1000));
  const parts = [];
  for (const [unit, size] of UNITS) {
    const count = Math.floor(seconds / size);
    seconds -= count * size;
    if (count > 0 || parts.length > 0) parts.push(count > 0 ? `${count} ${unit}` : "");
    if (parts.length === 2) break;
  }
  return parts.filter(Boolean).join(" ") || "0 s";
}

/** How long ago something was, in its largest unit: `12 s`, `3 h`. */
export function age(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const [unit, size] = UNITS.find(([, size]) => seconds >= size) ?? ["s", 1];
  return `${Math.floor(seconds / size)} ${unit}`;
}

/** `1 tool`, `3 tools`. */
export function count(many, thing) {
  return `${many} ${thing}${many === 1 ? "" : "s"}`;
}

/** `plugin_panicked` as people say it. */
export function spoken(code) {
  const words = String(code).replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}
