// Mathematics in a text, typeset as MathML. What KaTeX refuses stays text; it trusts nothing that a text asks for.

import { h } from "./dom.js";

const SPANS = /\$\$([^]+?)\$\$|\\\[([^]+?)\\\]|\\\(([^]+?)\\\)|\$([^$\n]+?)\$/g;
const MOST_FORMULAS = 400;
const MOST_CHARACTERS = 2000;
const OPTIONS = { output: "mathml", trust: false, strict: "ignore", throwOnError: true, maxExpand: 200, maxSize: 20 };
// It sets `katex` in the window; without it mathematics stays text.
const load = () => import("/static/vendor/katex/katex.min.js").then(() => true, () => false);

function formula(source, text, display) {
  const element = h("span", { class: display ? "display" : null });
  try {
    window.katex.render(text, element, { ...OPTIONS, displayMode: display });
    return element;
  } catch {
    return document.createTextNode(source);
  }
}

// `\boxed{...}` outside of any delimiters is how models write their answers: its braces are matched here.
function boxes(text) {
  const parts = [];
  let start = 0;
  for (let place = text.indexOf("\\boxed{"); place >= 0; place = text.indexOf("\\boxed{", start)) {
    let end = place + 7, depth = 1;
    while (end < text.length && depth) depth += { "{": 1, "}": -1 }[text[end++]] || 0;
    if (depth) break;
    parts.push([text.slice(start, place), null], [text.slice(place, end), text.slice(place, end)]);
    start = end;
  }
  return [...parts, [text.slice(start), null]];
}

function pieces(text) {
  const parts = [];
  let start = 0;
  for (const match of text.matchAll(SPANS)) {
    const inner = match[1] ?? match[2] ?? match[3] ?? match[4];
    parts.push(...boxes(text.slice(start, match.index)).map(([source, tex]) => [source, tex, false]));
    parts.push([match[0], inner, match[1] !== undefined || match[2] !== undefined]);
    start = match.index + match[0].length;
  }
  return [...parts, ...boxes(text.slice(start)).map(([source, tex]) => [source, tex, false])];
}

export async function withMathematics(text) {
  if (!/[$\\]/.test(text) || !(await load())) return [text];
  let formulas = 0;
  return pieces(text).map(([source, tex, display]) =>
    tex === null || tex.length > MOST_CHARACTERS || ++formulas > MOST_FORMULAS ? source : formula(source, tex, display));
}
