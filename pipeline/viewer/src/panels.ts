// What surrounds the map: banners, what the forecast is made from, scores, the list of forecasts.
import { chart, key, table, type Line } from "./chart";
import { document_, fewAtATime, SYSTEM, type Contents, type Edition, type Manifest, type Product, type Row, type Status } from "./source";
import { age, figure, moment, shortDay, units } from "./words";

export const by = <T extends HTMLElement = HTMLElement>(id: string) => document.getElementById(id) as T;

/** An element with text and children. */
export function element(name: string, className = "", ...inside: (string | Node)[]): HTMLElement {
  const made = document.createElement(name);
  if (className) made.className = className;
  made.append(...inside);
  return made;
}

/** What must be known before the forecast is used; `missed`: the cycle that was asked for in its place. */
export function banners(contents: Contents, manifest: Manifest, product: string, missed: string | null): void {
  const made: HTMLElement[] = [];
  if (missed !== null)
    made.push(element("div", "banner old", element("strong", "", `The forecast of ${start(missed)} is no longer published.`), " This is the latest."));
  if (!manifest.real_ocean)
    made.push(element("div", "banner twin", element("strong", "", "Synthetic twin: not the real ocean."), " An ocean that the service makes itself, to be rehearsed on."));
  const reasons = manifest.products[product]?.degraded_reasons ?? [];
  const others = manifest.degraded_reasons.filter((reason) => !reasons.includes(reason));
  if (reasons.length || others.length) {
    const list = element("ul", "", ...reasons.map((reason) => element("li", "", reason)), ...others.map((reason) => element("li", "", reasons.length ? `elsewhere in this forecast: ${reason}` : reason)));
    made.push(element("div", "banner degraded", element("strong", "", reasons.length ? "Degraded: this product is less than it should be." : "Degraded elsewhere in this forecast, not in this product."), list));
  }
  const newer = contents.cycles.some((item) => item.cycle > manifest.cycle || (item.cycle === manifest.cycle && item.revision > manifest.revision));
  if (newer)
    made.push(element("div", "banner old", element("strong", "", "An earlier forecast."), " A newer one is in the list below."));
  by("banners").replaceChildren(...made);
}

/** When the cycle of this key starts, in words; a key that is none as it is. */
function start(key: string): string {
  const when = new Date(key.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)$/, "$1-$2-$3T$4:00Z"));
  return Number.isNaN(when.getTime()) ? key : moment(when);
}

/** Model, forcing, inputs and their ages, publisher, and where the data lie. */
export function about(contents: Contents, manifest: Manifest, product: Product): void {
  const { facts } = manifest;
  const pairs: [string, string | Node][] = [
    ["System", `${contents.title} (${contents.system})`],
    ["Start", `${moment(product.times[0])}, revision ${manifest.revision}`],
    ["Published", moment(new Date(manifest.created))],
    ["Model", `${facts.forecaster}; trained on: ${facts.trained_on}`],
    ["Future forcing", manifest.future_forcing],
    ...Object.entries(facts.left_out).map(([name, reason]): [string, string] => [`Left out: ${name}`, reason]),
    ...(facts.superseding ? [["Why this revision", facts.superseding] as [string, string]] : []),
    ["Publisher", `${facts.publisher.name}, ${facts.publisher.institution}. ${facts.publisher.licence}`],
    ["Code", `goms ${facts.code_version}${facts.checkpoint_sha256 ? `, checkpoint ${facts.checkpoint_sha256.slice(0, 12)}…` : ""}`],
  ];
  const list = element("dl", "facts");
  for (const [word, text] of pairs) list.append(element("dt", "", word), element("dd", "", text));
  const inputs = facts.inputs.map((item) => [item.kind, item.variables.join(" "), item.source, item.valid_time ? age(item.age_hours) : "of no date", item.degraded ?? ""]);
  const rows = inputs.some((row) => row[4]) ? [["Input", "Variables", "From", "Age at the start", "Degraded"], ...inputs]
    : [["Input", "Variables", "From", "Age at the start"], ...inputs.map((row) => row.slice(0, 4))];
  const wide = element("div", "scroll", table("Inputs and their ages", rows));
  wide.tabIndex = 0;
  wide.setAttribute("role", "region");
  wide.setAttribute("aria-label", "Inputs and their ages");
  const folder = new URL("../", product.address);
  const link = (words: string, where: string) => {
    const made = element("a", "", words) as HTMLAnchorElement;
    made.href = new URL(where, folder).href;
    return element("li", "", made);
  };
  const links = element("ul", "links", link("manifest.json: every object with its SHA-256", "manifest.json"),
    link("catalogue (STAC)", new URL("catalogue/catalog.json", SYSTEM).href), link("feed of new forecasts", new URL("catalogue/feed.xml", SYSTEM).href));
  const code = element("pre", "", element("code", "", `xarray.open_zarr("${product.address.href.replace(/\/$/, "")}")`));
  code.tabIndex = 0;
  by("about-body").replaceChildren(list, wide, element("h3", "", "Read it yourself"), code, links);
}

/** Every forecast there is or should be, newest first. */
export function cycles(contents: Contents, status: Status | null, shown: Manifest, show: (edition: Edition) => void): void {
  const standings = new Map((status?.cycles ?? []).map((item) => [item.cycle, item]));
  const editions = new Map(contents.cycles.map((item) => [item.cycle, item]));
  const keys = [...new Set([...standings.keys(), ...editions.keys()])].sort().reverse();
  by("cycles-words").textContent = status === null ? "No word on what is being made."
    : `${status.well ? "All is on time" : "Not all is on time"}, as of ${moment(new Date(status.as_of))}.`;
  const body = document.createElement("tbody");
  for (const name of keys) {
    const standing = standings.get(name), edition = editions.get(name);
    const line = body.insertRow();
    const start = new Date(edition?.start ?? standing!.start);
    const head = element("th", "nowrap", `${shortDay(start)} ${start.getUTCFullYear()}, ${start.toISOString().slice(11, 13)} UTC`);
    head.setAttribute("scope", "row");
    const verdict = standing?.verdict ?? "published";
    const tone = verdict === "published" ? (edition?.degraded ? "warn" : "good") : standing?.alarm ? "bad" : "plain";
    const words = standing && standing.words !== verdict ? standing.words : "";
    const chip = element("span", `chip ${tone}`, edition?.degraded ? `${verdict}, degraded` : verdict);
    const when = edition ? new Date(edition.created) : null;
    line.append(head, element("td", "", chip, words ? element("span", "quiet small", ` ${words}`) : ""),
      element("td", "nowrap", when ? `${shortDay(when)}, ${when.toISOString().slice(11, 16)} UTC` : "–"));
    const cell = element("td");
    if (edition) {
      const current = shown.cycle === name;
      const button = element("button", "quiet-button", current ? "On the map" : "Show") as HTMLButtonElement;
      button.type = "button";
      button.disabled = current;
      button.setAttribute("aria-label", `${current ? "On the map" : "Show"}: the forecast of ${shortDay(start)}`);
      button.addEventListener("click", () => show(edition));
      cell.append(button);
    }
    line.append(cell);
  }
  const head = document.createElement("thead");
  const line = head.insertRow();
  for (const word of ["Start", "Status", "Published", ""]) {
    const cell = element("th", "", word || element("span", "hidden", "On the map"));
    cell.setAttribute("scope", "col");
    line.append(cell);
  }
  by("cycles").replaceChildren(head, body);
}

const MOST_SCORED = 30;
const scored = new Map<string, Promise<Row[]>>();

function rowsOf(edition: Edition, product: string): Promise<Row[]> {
  const path = `scores/${edition.cycle}/r${edition.revision}/${product}.json`;
  const asked = scored.get(path) ?? document_<{ rows: Row[] }>(path).then((found) => found?.rows ?? []);
  scored.set(path, asked);
  asked.catch(() => scored.delete(path));
  return asked;
}

/** Scores of one variable by lead day beside persistence: the mean square of every scored forecast, its root. */
export async function skill(contents: Contents, product: string, variable: string, still: () => boolean): Promise<void> {
  const editions = contents.cycles.filter((item) => item.scores.includes(product)).slice(0, MOST_SCORED);
  const entry = contents.variables[variable];
  const rows: Row[] = [];
  await fewAtATime(editions, 4, async (item) => { rows.push(...(await rowsOf(item, product)).filter((row) => row.variable === variable)); });
  if (!still()) return;
  const more = by<HTMLDetailsElement>("skill-more");
  if (rows.length === 0) {
    by("skill-words").textContent = `${entry.title}: no scores yet. A forecast is scored when its days have come to pass.`;
    by("skill-charts").replaceChildren();
    more.hidden = true;
    return;
  }
  const leads = [...new Set(rows.map((row) => row.lead_day))].sort((one, two) => one - two);
  const mean = (name: "rmse" | "persistence" | "climatology" | "bicubic" | "damped") => leads.map((lead): [number, number] => {
    const found = rows.filter((row) => row.lead_day === lead && (row[name] ?? null) !== null).map((row) => row[name]! ** 2);
    return [lead, found.length ? Math.sqrt(found.reduce((one, two) => one + two, 0) / found.length) : NaN];
  });
  const lines: Line[] = ([
    { name: "forecast", points: mean("rmse"), look: "own" }, { name: "persistence", points: mean("persistence"), look: "dash" },
    { name: "damped persistence", points: mean("damped"), look: "fade" }, { name: "climatology", points: mean("climatology"), look: "dots" }, { name: "bicubic interpolation", points: mean("bicubic"), look: "fine" },
  ] as Line[]).filter((line) => line.points.some(([, value]) => Number.isFinite(value)));
  const correlation = leads.map((lead): [number, number] => {
    const found = rows.filter((row) => row.lead_day === lead && row.acc !== null).map((row) => row.acc!);
    return [lead, found.length ? found.reduce((one, two) => one + two, 0) / found.length : NaN];
  });
  const unit = units(entry);
  const count = `${editions.length} ${editions.length === 1 ? "forecast" : "forecasts"}`;
  const better = lines[1] ? lines[0].points.filter(([, value], index) => value < lines[1].points[index][1]).length : 0;
  const verdict = `better than persistence at ${better} of ${leads.length} lead days`;
  by("skill-words").textContent = `${entry.title}, all depths and all of the product's sea, ${count} scored: ${verdict}.`;
  const error = chart({ lines, across: "lead day", up: unit, fromZero: true, whole: true,
    words: `Root mean square error by lead day, ${count}: ${verdict}.` });
  const agrees = correlation.some(([, value]) => Number.isFinite(value));
  const agree = chart({ lines: [{ name: "anomaly correlation", points: correlation, look: "own" }], across: "lead day", up: "", whole: true,
    fromZero: true, words: "Anomaly correlation by lead day; one is perfect." });
  by("skill-charts").replaceChildren(
    element("figure", "", element("figcaption", "", `Root mean square error${unit ? `, ${unit}` : ""}`), error, key(lines)),
    agrees ? element("figure", "", element("figcaption", "", "Anomaly correlation: 1 is perfect, 0 is no better than climatology"), agree)
      : element("p", "quiet small", "There is no climatology to measure an anomaly by."));
  const heads = ["Lead day", ...lines.map((line) => line.name), ...(agrees ? ["anomaly correlation"] : [])];
  const cells = leads.map((lead, index) => [lead, ...lines.map((line) => figure(line.points[index][1], 3)), ...(agrees ? [figure(correlation[index][1], 2)] : [])]);
  const made = table(`Root mean square error of ${entry.title}${unit ? `, ${unit}` : ""}`, [heads, ...cells],
    (index) => ({ lead: String(leads[index]), rmse: String(lines[0].points[index][1]), persistence: String(lines[1]?.points[index][1]) }));
  by("skill-table").replaceChildren(made);
  more.hidden = false;
}
