// At a point: its value, its days and its depths, as figures, as lines and as tables.
import { chart, table } from "./chart";
import { by } from "./panels";
import type { Cell } from "./map";
import type { Column, Field, Product, Variable } from "./source";
import * as words from "./words";

/** What is on the map, and the cell of it that was chosen. */
export interface Spot {
  product: Product; variable: string; entry: Variable; field: Field; cell: Cell;
  level: number; lead: number; deep: boolean; digits: number;
}

/** The value at the spot, as the map has it. */
const here = ({ field, cell, product }: Spot) => field[index({ cell, product })];
const index = ({ cell, product }: Pick<Spot, "cell" | "product">) => cell.row * product.longitude.length + cell.column;
const unitOf = (spot: Spot) => words.units(spot.entry);
const depthOf = (spot: Spot) => (spot.deep ? `, ${words.depth(spot.product.depths[spot.level])}` : "");

/** Says nothing of any place: none is chosen, or what was said is not of what is on the map. */
export function empty(): void {
  by("point-empty").hidden = false;
  by("point-body").hidden = true;
  by("point-title").textContent = "At a point";
  by("point").dataset.ready = "";
  clear();
}

/** Takes days, depths and tables away. */
export function clear(): void {
  for (const id of ["series", "profile", "tables"]) by(id).replaceChildren();
  by("profile-part").hidden = true;
  by("point-layout").textContent = by("point-progress").textContent = "";
}

/** Says where it is and what the map has there; `false` where that is nothing. */
export function begin(spot: Spot): boolean {
  const { product, cell, entry, digits } = spot, value = here(spot), sea = !Number.isNaN(value);
  by("point-empty").hidden = true;
  by("point-body").hidden = false;
  by("point-title").textContent = words.place(product.latitude[cell.row], product.longitude[cell.column]);
  by("point-value").textContent = sea ? words.value(value, entry, digits) : "Land, or no value";
  by("series-title").hidden = by("point-more").hidden = !sea;
  by("point").dataset.ready = sea ? "" : "land";
  if (sea) return true;
  clear();
  by("point-progress").textContent = spot.deep && spot.level ? "No sea at this depth here." : "No sea here, or none that this product covers.";
  return false;
}

/** Reads its column; `current` says whether anybody still waits for it. */
export async function read(spot: Spot, profile: boolean, current: () => boolean): Promise<Column> {
  const { product, variable, entry, level, lead } = spot, days = product.times.length;
  let done = 0;
  const found = await product.column(variable, lead, level, index(spot), profile, () => {
    if (current() && ++done < days) by("point-progress").textContent = `${entry.title}: reading day ${done} of ${days - 1}…`;
  });
  if (!Object.is(found.series[lead], here(spot)))
    throw new Error(`${variable} on day ${lead}: the map says ${here(spot)} and the series ${found.series[lead]}`);
  return found;
}

/** Shows its days and, with `profile`, its depths and the tables; returns the sentence for those who do not see it. */
export function show(spot: Spot, { series, profile }: Column, whole: boolean): string {
  const { product, entry, lead, deep, digits } = spot, days = product.times.length - 1, unit = unitOf(spot);
  const between = `between ${words.figure(Math.min(...series), digits)} and ${words.value(Math.max(...series), entry, digits)}`;
  by("point-progress").textContent = `${entry.title}${depthOf(spot)}, day ${lead}`;
  by("point-layout").textContent = product.layout === "series" ? "Read from the series layout: every day and depth in one piece."
    : "Read from the maps, day by day: this forecast has no series layout of this product.";
  by("point").dataset.layout = product.layout;
  by("series-title").textContent = `${days} days${unit ? `, ${unit}` : ""}`;
  by("series").replaceChildren(chart({
    lines: [{ name: entry.title, points: series.map((value, day) => [day, value]), look: "own" }], now: lead, whole: true,
    across: `days after ${words.shortDay(product.times[0])}`, up: unit, dotsAlone: entry.circular,
    words: `${entry.title} over ${days} days, ${between}.`,
  }));
  if (whole) {
    by("profile-part").hidden = !deep;
    if (deep) depths(spot, profile);
    tables(spot, series, profile);
  }
  return `${by("point-title").textContent}, ${entry.title}${depthOf(spot)}: ${words.value(here(spot), entry, digits)} on day ${lead}; over ${days} days ${between}.`;
}

function depths(spot: Spot, profile: number[]): void {
  const { product, entry, lead, digits } = spot, unit = unitOf(spot);
  const wet = product.depths.map((metres, level): [number, number] => [metres, profile[level]]).filter(([, value]) => Number.isFinite(value));
  const [bottom, lowest] = wet[wet.length - 1] ?? [0, NaN];
  by("profile-title").textContent = `Depth profile on day ${lead}${unit ? `, ${unit}` : ""}`;
  by("profile").replaceChildren(chart({
    lines: [{ name: entry.title, points: wet, look: "own" }], down: true, across: "depth, m", up: `${unit || "value"} · depth in m downwards`,
    words: `${entry.title} from the surface to ${bottom} m on day ${lead}: ${words.figure(wet[0]?.[1] ?? NaN, digits)} to ${words.value(lowest, entry, digits)}.`,
  }));
}

function tables(spot: Spot, series: number[], profile: number[]): void {
  const { product, entry, lead, deep, digits } = spot, unit = unitOf(spot) || "value";
  const made = [table(`${entry.title} by day`, [["Day", "Date", unit], ...series.map((value, day) => [day, words.shortDay(product.times[day]), words.figure(value, digits)])],
    (day) => ({ lead: String(day), value: String(series[day]) }))];
  if (deep) made.push(table(`By depth on day ${lead}`, [["Depth, m", unit], ...product.depths.map((metres, level) => [metres, words.figure(profile[level], digits)])],
    (level) => ({ depth: String(product.depths[level]), value: String(profile[level]) })));
  by("tables").replaceChildren(...made);
}
