// How numbers, units, places and days are said.
import type { Variable } from "./source";

const UNITS: Record<string, string> = { degC: "°C", degree: "°", "1": "" };
const RAISED: Record<string, string> = { "-": "⁻", "1": "¹", "2": "²", "3": "³" };

/** Units as people write them: `m s⁻¹`, `°C`. */
export function units(entry: Variable): string {
  return UNITS[entry.units] ?? entry.units.replace("umol", "µmol").replace(/-?\d/g, (text) => [...text].map((sign) => RAISED[sign] ?? sign).join(""));
}

/** A number to so many significant digits, without an exponent where it can be. */
export function figure(value: number, digits: number): string {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(Math.max(0, digits - 1)).replace("-", "−");
  const places = Math.min(8, Math.max(0, digits - 1 - Math.floor(Math.log10(size))));
  return value.toFixed(places).replace("-", "−");
}

/** A value with its units. */
export function value(amount: number, entry: Variable, digits: number): string {
  const unit = units(entry);
  return `${figure(amount, digits)}${unit === "" ? "" : unit === "°" ? "°" : ` ${unit}`}`;
}

/** `35.5° N, 145.5° E`. */
export function place(latitude: number, longitude: number): string {
  const east = ((longitude + 180) % 360 + 360) % 360 - 180;
  const degrees = (amount: number) => `${+Math.abs(amount).toFixed(3)}°`;
  return `${degrees(latitude)} ${latitude < 0 ? "S" : "N"}, ${degrees(east)} ${east < 0 ? "W" : "E"}`;
}

const DAY = new Intl.DateTimeFormat("en-GB", { weekday: "short", day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
const SHORT = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", timeZone: "UTC" });

/** `Sun, 22 Nov 2026`. */
export const day = (when: Date) => DAY.format(when);
/** `22 Nov`. */
export const shortDay = (when: Date) => SHORT.format(when);
/** `Sun, 22 Nov 2026, 12:00 UTC`. */
export const moment = (when: Date) => `${day(when)}, ${when.toISOString().slice(11, 16)} UTC`;
/** Metres down. */
export const depth = (metres: number) => (metres === 0 ? "surface" : `${+metres.toFixed(1)} m`);

/** Hours as people say them. */
export function age(hours: number): string {
  return hours < 72 ? `${+hours.toFixed(0)} h` : `${+(hours / 24).toFixed(1)} days`;
}
