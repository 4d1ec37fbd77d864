// The colours of a field: the registry's colour map over limits that do not follow single cells.
import type { Field, Variable } from "./source";

export interface Scale {
  low: number; high: number; logarithmic: boolean; words: string; ticks: number[];
  /** 256 colours as ABGR, for pixels. */
  pixels: Uint32Array;
  css: string;
  place(value: number): number;
}

/** The scale of a variable, by the same rule as the published pictures, from the field of the start. */
export function scale(entry: Variable, field: Field, map: string, deep: boolean): Scale {
  const [low, high, words] = limits(entry, field, deep);
  const stops = hexes(map);
  const logarithmic = entry.logarithmic;
  const span = logarithmic ? Math.log(high / low) : high - low;
  return {
    low, high, logarithmic, words, pixels: table(stops),
    css: `linear-gradient(90deg, ${stops.map(([r, g, b]) => `rgb(${r} ${g} ${b})`).join(",")})`,
    ticks: logarithmic ? decades(low, high) : entry.circular ? [0, 90, 180, 270, 360] : even(low, high),
    place: logarithmic ? (value) => Math.log(value / low) / span : (value) => (value - low) / span,
  };
}

function limits(entry: Variable, field: Field, deep: boolean): [number, number, string] {
  if (entry.circular) return [0, 360, "direction from which, clockwise from north"];
  const known = Float64Array.from(field.filter((value) => Number.isFinite(value))).sort();
  const said = (from: string) => `limits: ${from} of day 0${deep ? " at this depth" : ""}, the same on every day`;
  if (entry.logarithmic) {
    const positive = known.filter((value) => value > 0);
    const low = positive.length ? percentile(positive, 2) : 0.1;
    const high = Math.max(positive.length ? percentile(positive, 99) : 1, low * 10);
    return [twoDigits(low, Math.floor), twoDigits(high, Math.ceil), said("2nd to 99th percentile, logarithmic,")];
  }
  if (entry.diverging) {
    const most = percentile(Float64Array.from(known, Math.abs).sort(), 99);
    return [...rounded(-most, most), said("99th percentile of the magnitude, both ways,")] as [number, number, string];
  }
  const low = percentile(known, 1), high = percentile(known, 99);
  return entry.never_negative && low < high / 2
    ? ([...rounded(0, high), said("zero to the 99th percentile")] as [number, number, string])
    : ([...rounded(low, high), said("1st to 99th percentile")] as [number, number, string]);
}

function percentile(sorted: Float64Array, share: number): number {
  if (sorted.length === 0) return share / 100;
  const at = (share / 100) * (sorted.length - 1), below = Math.floor(at);
  return sorted[below] + (at - below) * (sorted[Math.min(below + 1, sorted.length - 1)] - sorted[below]);
}

function step(span: number, most: number): number {
  const rough = span / most, unit = 10 ** Math.floor(Math.log10(rough));
  return unit * ([1, 2, 2.5, 5, 10].find((size) => size * unit >= rough * (1 - 1e-9)) ?? 10);
}

function rounded(low: number, high: number): [number, number] {
  if (high - low < 1e-12) return [low - 0.5, high + 0.5];
  const size = step(high - low, 25);
  return [Math.floor(low / size + 1e-9) * size, Math.ceil(high / size - 1e-9) * size];
}

function twoDigits(value: number, round: (value: number) => number): number {
  const unit = 10 ** (Math.floor(Math.log10(value)) - 1);
  return round(+(value / unit).toPrecision(12)) * unit;
}

/** Round numbers between two, both included where they are round. */
export function even(low: number, high: number, most = 7): number[] {
  if (!(high > low)) return [low];
  const size = step(high - low, most);
  const first = Math.ceil(low / size - 1e-9);
  const count = Math.floor(high / size + 1e-9) - first + 1;
  return Array.from({ length: Math.max(0, count) }, (_, index) => +((first + index) * size).toPrecision(12));
}

function decades(low: number, high: number): number[] {
  const found: number[] = [];
  const many = Math.log10(high / low) > 2.2;
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
    for (const digit of many ? [1] : [1, 2, 5]) {
      const value = +(digit * 10 ** power).toPrecision(6);
      if (value >= low * 0.999 && value <= high * 1.001) found.push(value);
    }
  return found;
}

function hexes(map: string): [number, number, number][] {
  return (map.match(/.{6}/g) ?? []).map((hex) => [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)) as [number, number, number]);
}

function table(stops: [number, number, number][]): Uint32Array {
  return Uint32Array.from({ length: 256 }, (_, index) => {
    const at = (index / 255) * (stops.length - 1), below = Math.min(Math.floor(at), stops.length - 2);
    const [r, g, b] = [0, 1, 2].map((part) => Math.round(stops[below][part] + (at - below) * (stops[below + 1][part] - stops[below][part])));
    return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
  });
}

/** A CSS colour `#rrggbb` as a pixel. */
export function pixel(hex: string): number {
  const [[r, g, b]] = hexes(hex.slice(1));
  return ((255 << 24) | (b << 16) | (g << 8) | r) >>> 0;
}
