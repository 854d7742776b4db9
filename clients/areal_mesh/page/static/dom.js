// Elements are made here and nowhere else: texts enter as text nodes, so that nothing a model wrote becomes markup.

const SVG = "http://www.w3.org/2000/svg";

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, set] of Object.entries(value)) element.style.setProperty(key, set);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  add(element, children);
  return element;
}

export function add(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

export const h = (name, attributes, ...children) => build(document.createElement(name), attributes, children);
export const s = (name, attributes, ...children) => build(document.createElementNS(SVG, name), attributes, children);

export function fill(element, ...children) {
  element.replaceChildren();
  add(element, children);
}

export const number = (value, digits = 3) =>
  value === null || value === undefined ? "–" : Number(value).toLocaleString("en", { maximumSignificantDigits: digits });

export const count = (value) => Number(value).toLocaleString("en");

export function table(headings, rows, numeric = []) {
  const cell = (kind, place, content) => h(kind, { class: numeric.includes(place) ? "number" : null }, content);
  return h("div", { class: "scroll" }, h("table", null,
    h("thead", null, h("tr", null, headings.map((heading, place) => cell("th", place, heading)))),
    h("tbody", null, rows.map((row) => h("tr", null, row.map((content, place) => cell("td", place, content)))))));
}

// A text in which every place of `wanted` is marked.
export function marked(text, wanted) {
  if (!wanted) return [text];
  const parts = [], lowered = text.toLowerCase(), searched = wanted.toLowerCase();
  let start = 0;
  for (let place = lowered.indexOf(searched); place >= 0; place = lowered.indexOf(searched, start)) {
    parts.push(text.slice(start, place), h("mark", null, text.slice(place, place + wanted.length)));
    start = place + wanted.length;
  }
  return [...parts, text.slice(start)];
}
