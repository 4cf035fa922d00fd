// Numbers with units, as darwin_web/templatetags/darwin.py writes them.

const NOTHING = "–";

export const fixed = (value, digits = 2) =>
  value == null ? NOTHING : value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });

export const percent = (value, digits = 1) => (value == null ? NOTHING : `${fixed(100 * value, digits)} %`);

export function signed(value, digits = 1) {
  if (value == null) return "";
  return `${value < 0 ? "−" : "+"}${fixed(Math.abs(100 * value), digits)} %`;
}

export function count(value) {
  if (value == null) return NOTHING;
  for (const [size, letter] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(value) < size) continue;
    const scaled = value / size;
    return `${scaled.toFixed(scaled < 10 ? 2 : scaled < 100 ? 1 : 0)} ${letter}`;
  }
  return `${Number(value.toPrecision(6))}`;
}

export function duration(seconds) {
  if (seconds == null) return NOTHING;
  if (seconds < 60) return `${seconds < 10 ? seconds.toFixed(1) : seconds.toFixed(0)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 120 ? `${minutes} min` : `${(seconds / 3600).toFixed(1)} h`;
}

const ACTORS = { operator: "built-in operator", agent: "agent", rule: "rule" };

export function actor(name) {
  const [kind, ...rest] = name.split(":");
  return rest.length === 0 ? kind : `${ACTORS[kind] ? `${ACTORS[kind]} ` : ""}${rest.join(":")}`;
}
