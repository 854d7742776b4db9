import { fill, h } from "./dom.js";
import { colour, metricsOf, ofRun, replace } from "./state.js";

const PANELS = [
  ["Reward", ["reward"]],
  ["Correct", ["correct"]],
  ["Response length (tokens)", ["response_length"]],
  ["Truncated share", ["truncated"]],
  ["Staleness (versions)", ["staleness_mean", "staleness_max"]],
  ["Mismatch KL of engine and learner", ["mismatch_kl", "mismatch_kl_all"]],
  ["Groups of equal rewards", ["equal_rewards"]],
  ["Tokens a second", ["generated_tokens_per_second", "trained_tokens_per_second"]],
];
const BY_SOURCE = ["reward", "correct", "response_length", "truncated"];
const NOT_FIGURES = new Set(["step", "committed_at", "stage", "stage_name"]);
const EVALUATED = [["Evaluations by version: pass@1", "pass_at_1"], ["Evaluations by version: response length (tokens)", "response_length"]];
const HEIGHT = 190;

const dashes = [[], [6, 4], [2, 3], [8, 3, 2, 3]];

function smoothed(values, window) {
  if (window < 2) return values;
  return values.map((value, place) => {
    if (value === null) return null;
    const part = values.slice(Math.max(0, place - window + 1), place + 1).filter((each) => each !== null);
    return part.reduce((sum, each) => sum + each, 0) / part.length;
  });
}

// One line: label, colour, dash, and its points.
function linesOf(panel, data, names, runs, window, bySource) {
  const lines = [];
  for (const name of names) {
    const place = runs.findIndex((run) => run.name === name);
    const label = names.length > 1 ? `${name} ` : "";
    if (bySource && BY_SOURCE.includes(panel[0])) {
      const sources = [...new Set(data[name].sources.map((row) => row.source))];
      sources.forEach((source, dash) => {
        const rows = data[name].sources.filter((row) => row.source === source);
        lines.push({ label: `${label}${source || "no source"}`, colour: names.length > 1 ? colour(place) : colour(dash),
          dash: names.length > 1 ? dashes[dash % 4] : [], x: rows.map((row) => row.step),
          y: smoothed(rows.map((row) => row[panel[0]]), window) });
      });
      continue;
    }
    panel.forEach((metric, dash) => {
      const y = data[name].metrics[metric];
      if (!y) return;
      lines.push({ label: label + metric, colour: colour(place), dash: dashes[dash % 4],
        x: data[name].metrics.step, y: smoothed(y, window) });
    });
  }
  return lines;
}

// A suite's figure by the version that was evaluated; not every step has one.
function evaluationLines(figure, data, names, runs) {
  const lines = [];
  for (const name of names) {
    const { metrics } = data[name];
    const suites = Object.keys(metrics).map((metric) => /^evaluation\/(.+)\/policy_version$/.exec(metric)?.[1]).filter(Boolean);
    suites.forEach((suite, dash) => {
      const [versions, values] = ["policy_version", figure].map((each) => metrics[`evaluation/${suite}/${each}`] || []);
      const there = versions.map((_, place) => place).filter((place) => versions[place] !== null && values[place] !== null);
      lines.push({ label: names.length > 1 ? `${name} ${suite}` : suite, dash: names.length > 1 ? dashes[dash % 4] : [],
        colour: colour(names.length > 1 ? runs.findIndex((run) => run.name === name) : dash),
        x: there.map((place) => versions[place]), y: there.map((place) => values[place]) });
    });
  }
  return lines;
}

function stageLines(metrics) {
  return (chart) => {
    const context = chart.ctx;
    context.save();
    context.strokeStyle = context.fillStyle = getComputedStyle(document.body).color;
    context.globalAlpha = 0.45;
    context.font = `${11 * devicePixelRatio}px system-ui`;
    context.setLineDash([4, 4]);
    (metrics.stage_name || []).forEach((name, place) => {
      if (place && name === metrics.stage_name[place - 1]) return;
      const x = Math.round(chart.valToPos(metrics.step[place], "x", true));
      context.beginPath();
      context.moveTo(x, chart.bbox.top);
      context.lineTo(x, chart.bbox.top + chart.bbox.height);
      context.stroke();
      context.fillText(name, x + 4, chart.bbox.top + 12 * devicePixelRatio);
    });
    context.restore();
  };
}

function chart(element, lines, metrics) {
  const style = getComputedStyle(document.body);
  const line = getComputedStyle(document.getElementById("line-colour")).color;
  const axis = { stroke: style.color, grid: { stroke: line, width: 1 }, ticks: { stroke: line } };
  const joined = uPlot.join(lines.map((line) => [line.x, line.y]));
  const number = (_, value) => (value === null || value === undefined ? "–" : Number(value.toPrecision(4)).toString());
  return new uPlot({
    width: Math.max(200, element.clientWidth), height: HEIGHT, scales: { x: { time: false } },
    axes: [{ ...axis }, { ...axis, size: 60, values: (_, ticks) => ticks.map((tick) => Number(tick.toPrecision(6))) }],
    series: [{ label: "step" }, ...lines.map((line) => ({
      label: line.label, stroke: line.colour, dash: line.dash, width: 1.6, value: number, spanGaps: true,
      points: { show: joined[0].length < 40, size: 4 },
    }))],
    cursor: { sync: { key: "step" } }, hooks: { draw: [stageLines(metrics)] },
  }, joined, element);
}

function tools(given, all) {
  const set = (key) => (event) => replace("curves", { ...given, [key]: event.target.value });
  const more = (given.figures || "").split(",").filter(Boolean);
  return h("form", { class: "tools", onsubmit: (event) => event.preventDefault() },
    h("label", null, "Mean of so many steps",
      h("input", { type: "number", min: 1, max: 500, value: given.smooth || 1, onchange: set("smooth") })),
    h("label", null, "One more figure",
      h("select", { onchange: (event) => replace("curves", { ...given, figures: [...more, event.target.value].join(",") }) },
        h("option", { value: "" }, "choose"), all.map((name) => h("option", { value: name }, name)))),
    more.length ? h("button", { type: "button", onclick: () => replace("curves", { ...given, figures: "" }) },
      "Take the added ones out") : null,
    h("label", { class: "check" }, h("input", { type: "checkbox", checked: given.by === "source",
      onchange: (event) => replace("curves", { ...given, by: event.target.checked ? "source" : "" }) }), "by source"));
}

export async function showCurves({ given, names, runs, main }) {
  const bySource = given.by === "source";
  const data = Object.fromEntries(await Promise.all(names.map(async (name) => [name, {
    metrics: await metricsOf(name), sources: bySource ? await ofRun(name, "sources") : [],
  }])));
  const all = [...new Set(names.flatMap((name) => Object.keys(data[name].metrics)))]
    .filter((name) => !NOT_FIGURES.has(name)).sort();
  const terms = all.filter((name) => name.startsWith("reward_"));
  const panels = [...PANELS, ...EVALUATED, ...(terms.length ? [["Terms of the reward", terms]] : []),
    ...(given.figures || "").split(",").filter(Boolean).map((name) => [name, [name]])];
  const typing = main.contains(document.activeElement) && document.activeElement.matches("input, select");
  const toolbar = typing ? main.querySelector("form") : tools(given, all);
  const charts = h("div", { class: "charts" });
  if (typing) main.querySelector(".charts")?.replaceWith(charts);
  else fill(main, toolbar, charts);
  const window = Math.max(1, Number(given.smooth) || 1);
  for (const [title, panel] of panels) {
    const drawn = EVALUATED.some(([, figure]) => figure === panel) ? evaluationLines(panel, data, names, runs)
      : linesOf(panel, data, names, runs, window, bySource);
    const lines = drawn.filter((line) => line.x && line.x.length);
    if (!lines.length) continue;
    const place = h("div", null);
    charts.append(h("section", { class: "chart", "aria-label": title }, h("h2", null, title), place));
    chart(place, lines, data[names[0]].metrics);
  }
  if (!charts.childElementCount) charts.append(h("p", { class: "faint" }, "No step is committed yet."));
}
