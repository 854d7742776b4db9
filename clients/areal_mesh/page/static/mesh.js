import { fill, h, number, s, table } from "./dom.js";
import { metricsOf, ofRun } from "./state.js";

const BOXES = {
  controller: [330, 10, 240, 74], generator: [10, 150, 240, 120], replay: [330, 150, 240, 120],
  learner: [650, 150, 240, 120], verifier: [10, 340, 240, 70],
};
const ARROWS = [
  ["M450 84 V150", "leases, schedule, versions", 458, 108], ["M330 47 H130 V150", "", 0, 0],
  ["M570 47 H770 V150", "", 0, 0], ["M250 210 H330", "groups", 290, 202], ["M570 210 H650", "batches", 610, 202],
  ["M90 270 V340", "responses", 98, 312], ["M170 340 V270", "rewards", 178, 312],
  ["M770 270 V310 H230 V270", "weights: broadcast to every generator", 450, 302],
];
const LOOKS = { serving: "ok", lost: "bad", stopped: "faint" };
const SHOWN = 3;

const look = (state) => LOOKS[state] || "wait";
const rate = (service) => (service.rate_unit ? `${number(service.rate)} ${service.rate_unit}/s` : "");
const version = (service) => (service.policy_version < 0 ? "" : `v${service.policy_version}`);

function box(role, services, note) {
  const [x, y, width, height] = BOXES[role];
  const mine = services.filter((service) => service.role === role);
  const serving = mine.filter((service) => service.state === "serving").length;
  const title = mine.length > 1 ? `${mine.length} ${role}s, ${serving} serving` : role === "replay" ? "replay buffer" : role;
  const lines = mine.slice(0, SHOWN).map((service, place) => s("g", null,
    s("circle", { class: look(service.state), cx: x + 16, cy: y + 40 + place * 20, r: 5 }),
    s("text", { x: x + 28, y: y + 45 + place * 20 },
      [mine.length > 1 ? service.service_id : service.state.replace("_", " "), version(service), rate(service)]
        .filter(Boolean).join("  "))));
  return s("g", null, s("rect", { class: "box", x, y, width, height, rx: 8 }),
    s("text", { class: "title", x: x + 12, y: y + 22 }, title), lines,
    note ? s("text", { class: "faint", x: x + 12, y: y + height - 10 }, note) : null);
}

function picture(services, notes) {
  return s("svg", { viewBox: "0 0 900 420", role: "img", width: "100%", style: { "max-width": "70rem", "min-width": "34rem" },
    "aria-label": "The mesh: controller, generators, verifier, replay buffer, learner, and what flows between them" },
  s("defs", null, s("marker", { id: "head", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 8, markerHeight: 8, orient: "auto" },
    s("path", { class: "head", d: "M0 0 L8 4 L0 8 z" }))),
  ARROWS.map(([path, label, x, y]) => [s("path", { class: "arrow", d: path, "marker-end": "url(#head)" }),
    label ? s("text", { class: "faint", x, y, "text-anchor": x > 260 && x !== 458 ? "middle" : "start" }, label) : null]),
  Object.keys(BOXES).map((role) => box(role, services, notes[role])));
}

function live(status) {
  const groups = status.groups, replay = status.replay;
  const notes = {
    controller: `${status.state}, step ${status.step}, version ${status.policy_version}`,
    generator: `${groups.open} groups open`, replay: `${replay.waiting_groups} groups wait, ${number(replay.waiting_bytes / 1024)} KiB`,
    learner: `${status.weight_updates} updates of the weights`, verifier: "",
  };
  const own = { role: "controller", state: status.state === "running" ? "serving" : status.state, policy_version: -1 };
  const services = status.services.some((service) => service.role === "controller") ? status.services : [own, ...status.services];
  return [
    status.faults.map((fault) => h("p", { class: "fault", role: "alert" }, `${fault.service_id}: ${fault.text}`)),
    h("div", { class: "scroll" }, picture(services, notes)),
    table(["service", "role", "state", "version", "rate", "progress", "starts", "address", "waits for"],
      status.services.map((service) => [service.service_id, service.role,
        h("span", { class: look(service.state) }, service.state.replace("_", " ")), version(service) || "–",
        rate(service) || "–", `${number(service.seconds_since_progress, 2)} s ago`, service.starts, service.address,
        service.waits_for]), [3, 6]),
    h("h2", null, "Groups"),
    table(["leased", "open", "trained", "stale", "filtered", "failed"],
      [["leased", "open", "trained", "stale", "filtered", "failed"].map((name) => groups[name])], [0, 1, 2, 3, 4, 5]),
    Object.keys(status.end_reasons).length ? table(["came to nothing because", "groups"],
      Object.entries(status.end_reasons), [1]) : null,
  ];
}

function after(metrics, run) {
  const last = (name) => metrics[name]?.at(-1);
  const notes = {
    controller: `step ${last("step") ?? 0}, version ${last("policy_version") ?? 0}`,
    generator: `${number(last("generated_tokens_per_second"))} tokens/s`, replay: `${last("replay_waiting_groups") ?? 0} groups waited`,
    learner: `${number(last("trained_tokens_per_second"))} tokens/s`, verifier: "",
  };
  const what = run.goes_on ? `no controller of it answers at ${run.controller}` : "it does not go on";
  return [h("p", { class: "faint" }, `${run.name}: ${what}. The figures are those of its last step.`),
    h("div", { class: "scroll" }, picture([], notes)),
    table(["groups leased", "stale", "filtered", "failed", "tokens generated", "weights sent, MB", "swap, ms"],
      [["groups_leased", "groups_stale", "groups_filtered", "groups_failed", "tokens_generated"].map((name) => number(last(name), 9))
        .concat([number(last("publish_bytes") / 1e6), number(last("pause_seconds") * 1e3)])], [0, 1, 2, 3, 4, 5, 6])];
}

export async function showMesh({ run, main }) {
  const { status } = await ofRun(run.name, "status");
  fill(main, status ? live(status) : after(await metricsOf(run.name), run));
}
