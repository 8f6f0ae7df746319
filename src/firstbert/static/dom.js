// Elements and numbers. What a user wrote gets into the page as text alone, never as markup.

const make = (name, options = {}, ...children) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(options)) {
    if (value === undefined || value === null || value === false) continue;
    if (key === "style") Object.entries(value).forEach(([k, v]) => made.style.setProperty(k, v));
    else if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== ""));
  return made;
};

const own = (text) => make("bdi", {}, text); // text from right to left doesn't turn what stands around it

const sum = (values) => values.reduce((total, value) => total + value, 0);
const largest = (values) => values.reduce((best, value) => Math.max(best, Math.abs(value)), 0);
const range = (n) => Array.from({ length: n }, (_, i) => i);
const plural = (n, one, more = one + "s") => `${n.toLocaleString("en")} ${n === 1 ? one : more}`;
const clip = (text, most) => (letters(text).length > most ? letters(text).slice(0, most - 1).join("") + "…" : text);
const letters = (text) => Array.from(text); // code points, as places are counted; strings count UTF-16

// Numbers with a true minus, and none below zero that reads as zero.
const number = (value, digits = 2) => {
  if (!Number.isFinite(value)) return value > 0 ? "∞" : value < 0 ? "−∞" : "?";
  if (Math.abs(value) >= 1e5) {
    const [lead, power] = value.toExponential(1).split("e");
    return `${lead}·10^${Number(power)}`.replaceAll("-", "−");
  }
  const shown = value.toFixed(digits);
  return (Number(shown) === 0 ? shown.replace("-", "") : shown).replace("-", "−");
};
const signed = (value, digits = 2) => {
  const shown = number(value, digits);
  return value > 0 && /[1-9∞]/.test(shown) ? "+" + shown : shown;
};
const percent = (p) => {
  if (p > 0 && p < 0.001) return "< 0.1 %";
  if (p < 1 && p > 0.999) return "> 99.9 %";
  return `${(100 * p).toFixed(1)} %`;
};

// A number as it is shown, marked with what it is exactly.
const figure = (name, value, shown) => make("data", { value, "data-figure": name, class: "n" }, shown);

const table = (titles, rows, options = {}) => {
  const head = titles.map((title) =>
    title ? make("th", { scope: "col", class: title.startsWith(">") ? "num" : null }, title.replace(/^>/, "")) : make("td"));
  return make("table", options, make("thead", {}, make("tr", {}, head)), make("tbody", {}, rows));
};

// A part wider than a phone moves within its own frame, by keyboard too.
const scroller = (label, ...content) =>
  make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": label }, content);

const fold = (title, fill) => {
  const inside = make("div", { class: "behind" });
  const folded = make("details", {}, make("summary", {}, title), inside);
  folded.addEventListener("toggle", () => folded.open && !inside.hasChildNodes() && inside.append(fill()));
  return folded;
};

// Rows beyond the first few wait for a button.
const folding = (rows, first, what) => {
  if (rows.length <= first + 2) return [rows, null];
  const rest = rows.slice(first);
  rest.forEach((row) => (row.hidden = true));
  const button = make("button", { type: "button", class: "plain", "aria-expanded": "false" }, `Show the other ${rest.length} ${what}`);
  button.addEventListener("click", () => {
    const open = button.getAttribute("aria-expanded") === "true";
    rest.forEach((row) => (row.hidden = open));
    button.setAttribute("aria-expanded", String(!open));
    button.textContent = open ? `Show the other ${rest.length} ${what}` : `Show only ${first} ${what}`;
  });
  return [rows, make("p", { class: "more" }, button)];
};
