import { fill, h, number, s, table } from "./dom.js";
import { colour, metricsOf } from "./state.js";

const MOST_STEPS = 60;
const WIDTH = 900, HEIGHT = 260, LEFT = 50, BOTTOM = 24;
const WAITS = {
  order: "the controller's word on the next step", rollouts: "rollouts that were not there yet",
  reading: "the bytes of its rollouts", check: "the check of the batch", snapshot: "its own copy of the weights",
  commit: "the commit", checkpoint: "the copy of a checkpoint",
};
const OTHERS = [
  ["Generators stand still for", "pause_seconds", "the swap of weights"],
  ["Generators get weights in", "transfer_seconds", "the transfer, while they generate"],
  ["Draws were held for", "replay_held_seconds", "groups that still ran (over the run so far)"],
];

// Phases of the learner's step that add up to it: those that train, then those that wait.
function phasesOf(metrics) {
  const named = (prefix) => Object.keys(metrics).filter((name) => name.startsWith(prefix));
  return [
    ...named("seconds_").filter((name) => name !== "seconds_total").map((name) => [name, name.slice(8), false]),
    ...named("idle_seconds_").map((name) => [name, `waits: ${name.slice(13)}`, true]),
  ];
}

function bars(metrics, phases) {
  const steps = metrics.step.slice(-MOST_STEPS);
  const from = metrics.step.length - steps.length;
  const sums = steps.map((_, place) => phases.reduce((sum, [name]) => sum + (metrics[name][from + place] || 0), 0));
  const highest = Math.max(...sums, 1e-9);
  const width = (WIDTH - LEFT) / steps.length;
  const picture = s("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", width: "100%",
    "aria-label": "Seconds of each step by phase of the learner" });
  for (const share of [0, 0.5, 1]) {
    const y = HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - 10);
    picture.append(s("line", { class: "axis", x1: LEFT, x2: WIDTH, y1: y, y2: y }),
      s("text", { class: "faint", x: LEFT - 6, y: y + 4, "text-anchor": "end" }, `${number(share * highest, 2)} s`));
  }
  steps.forEach((step, place) => {
    let y = HEIGHT - BOTTOM;
    phases.forEach(([name, label, waits], order) => {
      const seconds = metrics[name][from + place] || 0;
      const height = (seconds / highest) * (HEIGHT - BOTTOM - 10);
      y -= height;
      picture.append(s("rect", { x: LEFT + place * width + 1, y, width: Math.max(1, width - 2), height,
        fill: colour(order), opacity: waits ? 0.45 : 1 }, s("title", null, `step ${step}, ${label}: ${number(seconds)} s`)));
    });
    if (place % Math.ceil(steps.length / 12) === 0) {
      picture.append(s("text", { class: "faint", x: LEFT + (place + 0.5) * width, y: HEIGHT - 6,
        "text-anchor": "middle" }, step));
    }
  });
  return picture;
}

const mean = (values) => {
  const there = (values || []).filter((value) => value !== null);
  return there.length ? there.reduce((sum, value) => sum + value, 0) / there.length : null;
};

export async function showTime({ run, main }) {
  const metrics = await metricsOf(run.name);
  if (!(metrics.step || []).length) return fill(main, h("p", { class: "faint" }, "No step is committed yet."));
  const phases = phasesOf(metrics);
  const means = phases.map(([name]) => mean(metrics[name]) || 0);
  const total = means.reduce((sum, value) => sum + value, 0) || 1;
  const row = ([, label], place) => [
    h("span", null, h("span", { class: "swatch", style: { background: colour(place), opacity: phases[place][2] ? 0.45 : 1 } }), label),
    number(means[place]), `${Math.round((100 * means[place]) / total)} %`];
  const waiting = phases.map((phase, place) => [phase, place]).filter(([phase]) => phase[2])
    .sort(([, one], [, other]) => means[other] - means[one]);
  const others = OTHERS.filter(([, name]) => metrics[name]).map(([what, name, why]) => [
    what, name === "replay_held_seconds" ? number(metrics[name].at(-1)) : number(mean(metrics[name])), why]);
  return fill(main,
    h("h2", null, "Seconds of a step, by the learner's phases"),
    h("p", { class: "faint" }, `The last ${Math.min(MOST_STEPS, metrics.step.length)} steps; pale: it waits.`),
    h("div", { class: "scroll" }, bars(metrics, phases)),
    h("div", { class: "columns" },
      h("section", null, h("h2", null, "Phases, mean of all steps"),
        table(["phase", "seconds", "share"], phases.map(row), [1, 2])),
      h("section", null, h("h2", null, "What waits for what"),
        table(["who", "seconds", "for"], [
          ...waiting.map(([[name], place]) => ["The learner waits for", number(means[place]),
            WAITS[name.slice(13)] || name.slice(13)]), ...others], [1]))));
}
