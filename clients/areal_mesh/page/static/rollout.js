import { fill, h, number } from "./dom.js";
import { colour, link, ofRun, replace } from "./state.js";
import { facts } from "./rollouts.js";
import { withMathematics } from "./mathematics.js";

const MOST_TOKENS = 30000;
const LOWEST = -5;

// From clear (certain) to the colour of a warning (unlikely): log-probabilities from 0 to -5.
function tokenView(detail) {
  const starts = new Map(detail.spans.slice(1).map((span) => [span.start, span.policy_version]));
  let span = 0;
  const view = h("div", { class: "tokens" });
  detail.tokens.slice(0, MOST_TOKENS).forEach((text, place) => {
    if (detail.spans[span] && place >= detail.spans[span].end) span += 1;
    const logProb = detail.log_probs[place];
    const share = Math.min(1, Math.max(0, logProb / LOWEST));
    const version = detail.spans[span]?.policy_version;
    view.append(h("span", {
      class: starts.has(place) ? "boundary" : null,
      style: { background: `rgba(230, 120, 0, ${(0.75 * share).toFixed(3)})`, "border-bottom-color": colour(span) },
      title: `token ${detail.token_ids[place]}, place ${place}: log-probability ${logProb.toFixed(4)}, `
        + `probability ${Math.exp(logProb).toPrecision(3)}, version ${version}`,
    }, text));
  });
  if (detail.tokens.length > MOST_TOKENS) view.append(` … ${detail.tokens.length - MOST_TOKENS} more tokens`);
  return view;
}

const legend = (detail) => h("p", { class: "faint" }, "The deeper the colour, the less likely the token was. Underlined by version: ",
  detail.spans.map((span, place) => [h("span", { class: "swatch", style: { background: colour(place) } }),
    `${span.policy_version} (tokens ${span.start} to ${span.end}) `]));

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);

async function response(detail, as) {
  if (as === "tokens") return [legend(detail), tokenView(detail)];
  const text = detail.rollout.response;
  return h("div", { class: "text" }, as === "source" ? text : await withMathematics(text));
}

function group(run, given, detail) {
  return h("section", { "aria-label": "The group" },
    h("h2", null, `The group: ${detail.group.length} responses to this problem`),
    h("div", { class: "group" }, detail.group.map((other) => h("a", {
      class: other.verdict, href: link("rollout", { ...given, run, id: other.rollout_id }),
      "aria-current": other.rollout_id === detail.rollout.rollout_id ? "true" : null,
    }, facts(other), h("div", { class: "text" }, other.response.slice(0, 1200))))));
}

function neighbours(run, given, detail) {
  const ids = detail.group.map((other) => other.rollout_id);
  const place = ids.indexOf(detail.rollout.rollout_id);
  const to = (id) => link("rollout", { ...given, run, id });
  const { id, as, ...list } = given;
  return h("p", { class: "facts" }, h("a", { id: "back", href: link("rollouts", { ...list, run }) }, "back to the list"),
    place > 0 ? h("a", { id: "previous", href: to(ids[place - 1]) }, "previous in the group") : null,
    place < ids.length - 1 ? h("a", { id: "next", href: to(ids[place + 1]) }, "next in the group") : null,
    h("a", { href: location.hash }, "link to this"));
}

export async function showRollout({ run, given, main }) {
  const detail = await ofRun(run.name, `rollouts/${encodeURIComponent(given.id || "")}`);
  const as = given.as || "text";
  const shown = [["text", "Text"], ["tokens", "Tokens"], ["source", "Source"]].map(([kind, title]) => h("button", {
    type: "button", "aria-pressed": String(kind === as), onclick: () => replace("rollout", { ...given, as: kind === "text" ? "" : kind }) }, title));
  const why = h("ol", { class: "text" }, h("li", null, "Graded again…"));
  fill(main, neighbours(run.name, given, detail), facts(detail.rollout), h("div", { class: "columns" },
    h("div", null,
      h("h2", null, "Problem"), h("div", { class: "panel text" }, await withMathematics(detail.rollout.problem)),
      h("h2", null, "Response ", shown), h("div", { class: "panel" }, await response(detail, as))),
    h("div", null,
      h("h2", null, "Judged"), h("div", { class: "panel" },
        h("p", null, "Reference: ", await withMathematics(detail.rollout.references.join(" | ") || "not stored")),
        h("p", null, "Answer: ", detail.rollout.extracted || "none", detail.normalised && detail.normalised !== detail.rollout.extracted
          ? ` (read as ${detail.normalised})` : ""),
        h("p", null, `Reward ${number(detail.rollout.reward)}; ${detail.rollout.length} of up to ${detail.response_limit} tokens; `
          + `mean log-probability ${number(mean(detail.log_probs))}; temperature ${number(detail.temperature)}`)),
      h("h2", null, "Why"), h("div", { class: "panel" }, why),
      h("h2", null, "Prompt, as the model read it"), h("div", { class: "panel text" }, detail.prompt))),
  group(run.name, given, detail));
  ofRun(run.name, `rollouts/${encodeURIComponent(given.id)}/why`)
    .then((found) => fill(why, found.steps.map((step) => h("li", null, step))))
    .catch((error) => fill(why, h("li", null, `cannot be graded again here: ${error.message}`)));
}
