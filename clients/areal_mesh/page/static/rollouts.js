import { count, fill, h, marked, number } from "./dom.js";
import { link, ofRun, replace } from "./state.js";

const FILTERS = ["verdict", "finish", "step", "source", "rule", "text", "order", "group_id"];
const ORDERS = ["newest", "oldest", "longest", "shortest", "best", "worst"];
const TYPING_MILLISECONDS = 250, READING_MILLISECONDS = 1500;
let typed = 0;

const choice = (label, key, given, options) => h("label", null, label,
  h("select", { onchange: (event) => replace("rollouts", { ...given, [key]: event.target.value, after: "" }) },
    options.map(([value, text]) => h("option", { value, selected: value === (given[key] || options[0][0]) }, text))));

function tools(given, choices) {
  const named = (kind) => Object.entries(choices[kind]).map(([name, many]) => [name || "-", `${name || "none"} (${count(many)})`]);
  const search = (event) => {
    clearTimeout(typed);
    const wait = event.type === "input" ? TYPING_MILLISECONDS : 0;
    typed = setTimeout(() => replace("rollouts", { ...given, text: event.target.value, after: "" }), wait);
  };
  return h("form", { class: "tools", role: "search", onsubmit: (event) => event.preventDefault() },
    h("label", null, "In response or problem", h("input", { type: "search", value: given.text || "", size: 26, oninput: search })),
    choice("Verdict", "verdict", given, [["", "any"], ["incorrect", "incorrect"], ["correct", "correct"]]),
    choice("Ended", "finish", given, [["", "any way"], ["length", "cut off"], ["stop", "by itself"]]),
    h("label", null, "Step", h("input", { type: "number", min: 1, value: given.step || "", style: { width: "5rem" },
      onchange: (event) => replace("rollouts", { ...given, step: event.target.value, after: "" }) })),
    choice("Source", "source", given, [["", "any"], ...named("source")]),
    choice("Rule", "rule", given, [["", "any"], ...named("rule")]),
    choice("First", "order", given, ORDERS.map((order) => [order, order])));
}

function termsOf(rollout) {
  const terms = Object.entries(rollout.terms).map(([name, value]) => `${name} ${number(value)}`);
  return terms.length ? ` (${terms.join(", ")})` : "";
}

export function facts(rollout) {
  const versions = rollout.newest_version === rollout.oldest_version ? rollout.oldest_version
    : `${rollout.oldest_version}–${rollout.newest_version}`;
  const trained = rollout.step !== null ? `step ${rollout.step}` : rollout.stale ? "stale" : "not trained on";
  return h("div", { class: "facts" },
    h("b", null, rollout.rollout_id),
    h("span", { class: rollout.verdict === "correct" ? "ok" : "bad" }, `${rollout.verdict} by ${rollout.rule || "–"}`),
    h("span", null, `reward ${number(rollout.reward)}${termsOf(rollout)}`),
    h("span", null, `${count(rollout.length)} tokens${rollout.finish === "length" ? ", cut off" : ""}`),
    h("span", null, `version ${versions}`), h("span", null, trained), h("span", null, `stage ${rollout.stage}`),
    rollout.source ? h("span", null, rollout.source) : null);
}

const item = (run, given, rollout) => h("li", null, h("a", { class: rollout.verdict,
  href: link("rollout", { ...given, run, id: rollout.rollout_id }) },
facts(rollout),
h("div", { class: "text excerpt faint" }, marked(rollout.problem, given.text)),
h("div", { class: "text excerpt" }, marked(rollout.response, given.text)),
h("div", { class: "facts" }, h("span", null, `answer ${rollout.extracted || "–"}`),
  h("span", null, `reference ${rollout.references.join(" | ") || "–"}`))));

function pages(given, found) {
  const after = Number(given.after) || 0, last = after + found.rollouts.length;
  const to = (start) => link("rollouts", { ...given, after: start || "" });
  return h("p", null,
    found.count ? `${count(after + 1)} to ${count(last)} of ${count(found.count)}` : "No rollout is so.",
    found.up_to_date ? null : h("span", { class: "wait" }, " The log is still being read; there are more."), " ",
    after ? h("a", { href: to(Math.max(0, after - found.page)) }, "previous") : null, " ",
    last < found.count ? h("a", { href: to(last) }, "next") : null);
}

export async function showRollouts({ run, given, main }) {
  const asked = new URLSearchParams(FILTERS.concat("after").filter((key) => given[key]).map((key) => [key, given[key]]));
  const [found, choices] = await Promise.all([ofRun(run.name, `rollouts?${asked}`), ofRun(run.name, "choices")]);
  const list = h("section", { "aria-label": "Rollouts", id: "found" },
    found.fault ? h("p", { class: "fault" }, found.fault) : null, pages(given, found),
    h("ol", { class: "rollouts" }, found.rollouts.map((rollout) => item(run.name, given, rollout))), pages(given, found));
  if (!found.up_to_date) {
    const asking = location.hash;
    setTimeout(() => location.hash === asking && dispatchEvent(new HashChangeEvent("hashchange")), READING_MILLISECONDS);
  }
  const form = main.querySelector("form[role=search]");
  // What is being typed into stays.
  if (form && form.contains(document.activeElement)) {
    const focused = document.activeElement;
    const fresh = tools(given, choices);
    const place = [...form.querySelectorAll("input, select")].indexOf(focused);
    const typedText = focused.value, caret = focused.type === "search" ? focused.selectionStart : null;
    fill(main, fresh, list);
    const again = fresh.querySelectorAll("input, select")[place];
    again.focus();
    if (caret !== null) { again.value = typedText; again.setSelectionRange(caret, caret); }
  } else fill(main, tools(given, choices), list);
}
