// Lines over an axis as SVG, with words for those who do not see them.
import { even } from "./colours";

export interface Line { name: string; points: [number, number][]; look: "own" | "dash" | "fade" | "dots" | "fine" }
export interface Chart {
  lines: Line[]; across: string; up: string; words: string;
  /** `down`: the first number of a point is drawn downwards (depths). */
  down?: boolean;
  now?: number; dotsAlone?: boolean; fromZero?: boolean; height?: number; whole?: boolean;
}

const NS = "http://www.w3.org/2000/svg";
const WIDTH = 340;

function make(name: string, attributes: Record<string, string | number>, text?: string): SVGElement {
  const element = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, String(value));
  if (text !== undefined) element.textContent = text;
  return element;
}

/** A tick's number as it is. */
export const round = (at: number) => String(+at.toPrecision(6)).replace("-", "−");

/** The chart as an element. Points without a number are left out; a line is broken there. */
export function chart(made: Chart): SVGElement {
  const height = made.height ?? (made.down ? 230 : 170);
  const svg = make("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", class: "chart", "aria-label": made.words });
  const points = made.lines.flatMap((line) => line.points).filter(([, value]) => Number.isFinite(value));
  if (points.length === 0) return svg;
  const along = (made.lines[0].points).map(([at]) => at).concat(made.now ?? []);
  const values = points.map(([, value]) => value);
  const [first, last] = [Math.min(...along, ...points.map(([at]) => at)), Math.max(...along, ...points.map(([at]) => at))];
  let low = Math.min(...values), high = Math.max(...values);
  if (made.fromZero) low = Math.min(0, low);
  const pad = (high - low) * 0.06 || Math.abs(high) * 0.02 || 0.5;
  const floor = made.fromZero && low === 0 ? 0 : low - pad, ceiling = high + pad;
  const box = { left: 46, right: WIDTH - 12, top: 10, bottom: height - 34 };
  const share = (value: number) => (value - floor) / (ceiling - floor || 1);
  const part = (at: number) => (at - first) / (last - first || 1);
  const place = ([at, value]: [number, number]): [number, number] => made.down
    ? [box.left + share(value) * (box.right - box.left), box.top + part(at) * (box.bottom - box.top)]
    : [box.left + part(at) * (box.right - box.left), box.bottom - share(value) * (box.bottom - box.top)];
  const ticks = even(floor, ceiling, 4);
  const marks = even(first, last, made.down ? 5 : 6).filter((at) => !made.whole || Number.isInteger(at));
  const [upright, flat] = made.down ? [ticks, marks] : [marks, ticks];
  for (const at of upright) {
    const [x] = made.down ? place([first, at]) : place([at, low]);
    svg.append(make("line", { x1: x, x2: x, y1: box.top, y2: box.bottom, class: "grid" }),
      make("text", { x, y: box.bottom + 14, "text-anchor": "middle" }, round(at)));
  }
  for (const at of flat) {
    const [, y] = made.down ? place([at, low]) : place([first, at]);
    svg.append(make("line", { x1: box.left, x2: box.right, y1: y, y2: y, class: "grid" }),
      make("text", { x: box.left - 6, y: y + 4, "text-anchor": "end" }, round(at)));
  }
  svg.append(make("text", { x: (box.left + box.right) / 2, y: height - 5, "text-anchor": "middle", class: "axis" }, made.down ? made.up : made.across));
  if (made.now !== undefined && !made.down) {
    const [x] = place([made.now, low]);
    svg.append(make("line", { x1: x, x2: x, y1: box.top, y2: box.bottom, class: "now" }));
  }
  for (const line of made.lines) {
    const drawn = line.points.map(place);
    let path = "", pen = false;
    drawn.forEach(([x, y], index) => {
      const known = Number.isFinite(line.points[index][1]);
      if (known) path += `${pen ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
      pen = known;
    });
    if (!made.dotsAlone) svg.append(make("path", { d: path, class: `line ${line.look}` }));
    const few = line.points.length <= 16 && line.look === "own";
    drawn.forEach(([x, y], index) => {
      const [at, value] = line.points[index];
      if (Number.isFinite(value) && (few || made.dotsAlone || at === made.now))
        svg.append(make("circle", { cx: x.toFixed(1), cy: y.toFixed(1), r: at === made.now && !made.down ? 4 : 2.4, class: `dot ${line.look}` }));
    });
  }
  return svg;
}

/** What the looks of lines mean. */
export function key(lines: Line[]): HTMLElement {
  const list = document.createElement("ul");
  list.className = "key";
  for (const line of lines) {
    const item = document.createElement("li");
    const sample = make("svg", { viewBox: "0 0 28 8", "aria-hidden": "true" });
    sample.append(make("path", { d: "M1 4H27", class: `line ${line.look}` }));
    item.append(sample, line.name);
    list.append(item);
  }
  return list;
}

/** A table: the first row its heads. */
export function table(caption: string, rows: (string | number)[][], exact: (row: number) => Record<string, string> = () => ({})): HTMLTableElement {
  const made = document.createElement("table");
  made.createCaption().textContent = caption;
  rows.forEach((row, index) => {
    const line = made.insertRow();
    if (index > 0) Object.assign(line.dataset, exact(index - 1));
    row.forEach((text, column) => {
      const cell = document.createElement(index === 0 || column === 0 ? "th" : "td");
      if (cell.tagName === "TH") cell.scope = index === 0 ? "col" : "row";
      cell.textContent = String(text);
      line.append(cell);
    });
  });
  return made;
}
