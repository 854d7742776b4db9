import { fill, h } from "./dom.js";
import { ask, colour, go, link, metricsOf, read, replace } from "./state.js";
import { showCurves } from "./curves.js";
import { showMesh } from "./mesh.js";
import { showTime } from "./time.js";
import { showRollouts } from "./rollouts.js";
import { showRollout } from "./rollout.js";

const VIEWS = [
  ["curves", "Curves", showCurves],
  ["mesh", "Mesh", showMesh],
  ["time", "Time", showTime],
  ["rollouts", "Rollouts", showRollouts],
];
const SECONDS = 2;
const main = document.getElementById("main");
let runs = [];
let steps = "";
let busy = false;

// Names of the runs that the address selects; all of them where it selects none, and one for the views of one.
function selected(given) {
  const wanted = (given.runs || "").split(",").filter((name) => runs.some((run) => run.name === name));
  return wanted.length ? wanted : runs.map((run) => run.name);
}

function context() {
  const { view, given } = read();
  const names = selected(given);
  const run = runs.find((each) => each.name === (given.run || names[0]));
  return { view, given, names, run, runs, main };
}

function drawHead({ view, given, names, run }) {
  const kept = { runs: given.runs, run: given.run };
  const current = view === "rollout" ? "rollouts" : view;
  fill(document.getElementById("views"), VIEWS.map(([name, title]) =>
    h("a", { href: link(name, kept), "aria-current": name === current ? "page" : null }, title)));
  const several = view === "curves";
  fill(document.getElementById("runs"), h("legend", null, "Runs"), runs.map((each, place) => h("label", null,
    h("input", {
      type: several ? "checkbox" : "radio", name: "run", value: each.name,
      checked: several ? names.includes(each.name) : each === run,
      onchange: (event) => choose(each.name, event.target.checked, several),
    }),
    h("span", { class: "swatch", style: { background: colour(place) } }), each.name,
    each.goes_on ? h("span", { class: "ok" }, " goes on") : null)));
}

function choose(name, on, several) {
  const { view, given, names } = context();
  if (!several) return go(view === "rollout" ? "rollouts" : view, { runs: given.runs, run: name });
  const chosen = runs.map((run) => run.name).filter((each) => (each === name ? on : names.includes(each)));
  return replace(view, { ...given, runs: chosen.join(",") });
}

async function drawStages({ run }) {
  const metrics = await metricsOf(run.name);
  const done = {};
  for (const name of metrics.stage_name || []) done[name] = (done[name] || 0) + 1;
  const steps = (metrics.step || []).length;
  fill(document.getElementById("stages"),
    h("div", { class: "stagebar", role: "img", "aria-label": `step ${steps} of ${run.planned_steps}` },
      run.stages.map((stage) => {
        const share = Math.min(1, (done[stage.name] || 0) / stage.max_steps);
        return h("div", { class: "stage", style: { flex: `${stage.max_steps} 1 0` },
          title: `stage ${stage.name}: ${done[stage.name] || 0} of up to ${stage.max_steps} steps` },
        h("i", { style: { width: `${100 * share}%` } }),
        h("span", null, `${stage.name}: ${stage.max_response_tokens} tokens`));
      })),
    h("p", { class: "faint" }, `${run.name}: step ${steps} of up to ${run.planned_steps} · ${run.loss}, `,
      `${run.advantage} · staleness up to ${run.max_staleness} · ${run.folder}`));
}

async function draw() {
  if (busy) return;
  busy = true;
  main.dataset.shown = location.hash;
  try {
    const now = context();
    if (!now.run) throw new Error("no such run is shown here");
    const show = now.view === "rollout" ? showRollout : (VIEWS.find(([name]) => name === now.view) || VIEWS[0])[2];
    document.body.dataset.view = now.view;
    drawHead(now);
    await drawStages(now);
    // What is drawn anew keeps its height meanwhile, so that nothing scrolls away.
    main.style.setProperty("min-height", `${main.offsetHeight}px`);
    await show(now);
  } catch (error) {
    fill(main, h("p", { class: "fault", role: "alert" }, error.message));
  } finally {
    busy = false;
    main.style.removeProperty("min-height");
  }
  if (location.hash !== main.dataset.shown) await draw();
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const { view, given } = read();
  const kept = { runs: given.runs, run: given.run };
  const place = "1234".indexOf(event.key);
  if (place >= 0 && event.key) go(VIEWS[place][0], kept);
  else if (event.key === "/") {
    event.preventDefault();
    if (view === "rollouts") document.querySelector("input[type=search]")?.focus();
    else go("rollouts", kept);
  } else if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
  else if (event.key === "Escape" && view === "rollout") document.getElementById("back")?.click();
}

function step(by) {
  if (read().view === "rollout") return document.getElementById(by > 0 ? "next" : "previous")?.click();
  const links = [...document.querySelectorAll("ol.rollouts a")];
  const place = links.indexOf(document.activeElement);
  return links[Math.max(0, Math.min(links.length - 1, place + by))]?.focus();
}

const say = (text) => { document.getElementById("trouble").textContent = text; };

// What a run that goes on has new; a mesh changes between steps too.
async function follow() {
  if (document.hidden) return;
  const went = runs.some((run) => run.goes_on);
  runs = await ask("");
  if (!went && !runs.some((run) => run.goes_on)) return;
  const before = steps;
  steps = (await Promise.all(runs.map((run) => metricsOf(run.name)))).map((columns) => columns.step?.length).join();
  const { view } = read();
  if (view === "mesh" || (["curves", "time"].includes(view) && steps !== before)) await draw();
}

async function begin() {
  runs = await ask("");
  addEventListener("hashchange", () => draw());
  document.addEventListener("keydown", onKey);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw());
  await draw();
  setInterval(() => follow().then(() => say(""), (error) => say(`The server does not answer: ${error.message}`)), SECONDS * 1000);
}

begin().catch((error) => fill(main, h("p", { class: "fault", role: "alert" }, `The server does not answer: ${error.message}`)));
