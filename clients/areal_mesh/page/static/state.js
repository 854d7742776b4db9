// What is shown is what the address says: #view?key=value&...; every link is one of these.

export function read() {
  const [view, given = ""] = location.hash.slice(1).split("?");
  return { view: view || "curves", given: Object.fromEntries(new URLSearchParams(given)) };
}

export function link(view, given) {
  const kept = Object.entries(given).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const query = new URLSearchParams(kept).toString();
  return `#${view}${query ? `?${query}` : ""}`;
}

export const go = (view, given) => { location.hash = link(view, given); };

export const replace = (view, given) => {
  history.replaceState(null, "", link(view, given));
  dispatchEvent(new HashChangeEvent("hashchange"));
};

export async function ask(path) {
  const answer = await fetch(`/api/runs${path}`, { headers: { accept: "application/json" } });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.error || `${answer.status}`);
  return body;
}

export const ofRun = (run, path) => ask(`/${encodeURIComponent(run)}/${path}`);

// Columns of a run's figures by metric; what came before is not asked for again.
const known = new Map();
export async function metricsOf(run) {
  const columns = known.get(run) || {};
  const many = columns.step?.length ?? 0;
  const news = await ofRun(run, `metrics?after=${columns.step?.at(-1) ?? 0}`);
  const more = news.step?.length ?? 0;
  if (more) {
    for (const name of new Set([...Object.keys(columns), ...Object.keys(news)])) {
      columns[name] = (columns[name] ?? Array(many).fill(null)).concat(news[name] ?? Array(more).fill(null));
    }
  }
  known.set(run, columns);
  return columns;
}

// Colours of runs and phases, apart in light and dark and for most eyes (Okabe and Ito).
const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a7f00", "#7a7a7a"];
export const colour = (place) => COLOURS[place % COLOURS.length];
