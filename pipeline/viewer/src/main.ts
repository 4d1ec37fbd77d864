// The page: what is chosen, what is read for it, what is shown.
import { round } from "./chart";
import { scale, type Scale } from "./colours";
import { WorldMap, type Cell } from "./map";
import { about, banners, by, cycles, element, skill } from "./panels";
import * as point from "./point";
import { contents, document_, fewAtATime, Product, SYSTEM, type Contents, type Edition, type Field, type Latest, type Manifest, type Status } from "./source";
import * as words from "./words";

const STEP_MS = 260;
const still = matchMedia("(prefers-reduced-motion: reduce)");

class Page {
  private product!: Product;
  private name = "";
  private variable = "";
  private level = 0;
  private lead = 0;
  private deep = false;
  private digits = 4;
  private field: Field | null = null;
  private colours: Scale | null = null;
  private playing = 0;
  private asked = 0;
  private askedPoint = 0;
  private point: Cell | null = null;
  private opened = new Map<string, Promise<Product>>();
  private readonly map: WorldMap;

  /** `missed`: the cycle that the address asks for, where it is no longer published. */
  constructor(private readonly contents: Contents, private manifest: Manifest, private readonly status: Status | null, private missed: string | null) {
    this.map = new WorldMap(by<HTMLCanvasElement>("map"), by("map-frame"), contents.land, contents.seam_east, {
      moved: (cell, byKeys) => this.read(cell, byKeys),
      chosen: (cell) => void guarded(() => this.choose(cell)),
    });
    by("title").textContent = contents.title;
    document.title = contents.title;
    by("day").addEventListener("input", (event) => { this.stop(); void guarded(() => this.go({ lead: +(event.target as HTMLInputElement).value })); });
    by("depth").addEventListener("input", (event) => { this.stop(); void guarded(() => this.go({ level: +(event.target as HTMLInputElement).value })); });
    by("play").addEventListener("click", () => this.play());
    by("zoom-in").addEventListener("click", () => this.map.zoomBy(1.6));
    by("zoom-out").addEventListener("click", () => this.map.zoomBy(1 / 1.6));
    still.addEventListener("change", () => this.stop());
    this.stop();
  }

  /** Begins with what the address asks for, else with the first product and variable. */
  async begin(): Promise<void> {
    const wish = new URLSearchParams(location.hash.slice(1));
    const product = wish.get("product") ?? "";
    await this.open(product in this.manifest.products ? product : Object.keys(this.offered())[0], wish);
  }

  private offered(): Record<string, string> {
    return Object.fromEntries(this.contents.products.filter((item) => item.name in this.manifest.products).map((item) => [item.name, item.title]));
  }

  private get folder(): URL {
    return new URL(`cycles/${this.manifest.cycle}/r${this.manifest.revision}/`, SYSTEM);
  }

  /** Shows a product of the edition. */
  private async open(name: string, wish = new URLSearchParams()): Promise<void> {
    const turn = ++this.asked;
    const key = `${this.manifest.cycle}/${this.manifest.revision}/${name}`;
    let opening = this.opened.get(key);
    if (!opening) {
      opening = Product.open(name, this.folder, this.manifest);
      opening.catch(() => this.opened.delete(key));
      this.opened.set(key, opening);
    }
    const product = await opening;
    if (turn !== this.asked) return;
    const asked = (wish.get("point") ?? "").split(",").map(Number);
    const place = asked.length === 2 && asked.every(Number.isFinite) ? asked : this.place;
    [this.product, this.name, this.field] = [product, name, null];
    this.map.grid(product.latitude, product.longitude);
    point.empty();
    this.point = place && this.covering(place[0], place[1]);
    this.map.marked = this.point;
    this.map.cursor = this.point ?? this.map.cursor;
    this.choices();
    const known = Object.keys(this.contents.variables).filter((item) => product.variables.includes(item));
    const variable = wish.get("variable") ?? this.variable;
    const day = wish.has("day") ? Number(wish.get("day")) : this.lead;
    const level = wish.has("depth") ? product.depths.indexOf(Number(wish.get("depth"))) : this.level;
    banners(this.contents, this.manifest, name, this.missed);
    const range = by<HTMLInputElement>("day");
    range.max = String(product.times.length - 1);
    await this.go({
      variable: known.includes(variable) ? variable : known[0], level: Math.max(0, level),
      lead: Math.min(product.times.length - 1, Math.max(0, Math.round(day) || 0)),
    });
    if (product !== this.product) return;
    about(this.contents, this.manifest, product);
    cycles(this.contents, this.status, this.manifest, (edition) => void guarded(() => this.turnTo(edition)));
  }

  /** Another forecast of the list, with what was chosen. */
  private async turnTo(edition: Edition): Promise<void> {
    this.stop();
    const manifest = await document_<Manifest>(`cycles/${edition.cycle}/r${edition.revision}/manifest.json`);
    if (manifest === null) throw new Error(`the forecast ${edition.cycle} is no longer published`);
    [this.manifest, this.missed] = [manifest, null];
    await this.open(this.name in manifest.products ? this.name : Object.keys(this.offered())[0]);
    by("view").scrollIntoView({ behavior: still.matches ? "auto" : "smooth" });
    by("announce").textContent = `The forecast of ${words.day(this.product.times[0])} is shown.`;
  }

  /** Draws another variable, depth or day; what is asked for last is what is drawn. */
  private async go(wish: { variable?: string; level?: number; lead?: number }): Promise<void> {
    const turn = ++this.asked;
    const { product } = this;
    const variable = wish.variable ?? this.variable, lead = wish.lead ?? this.lead;
    const anew = variable !== this.variable || this.colours === null || wish.level !== undefined;
    const deep = await product.isDeep(variable);
    const level = deep ? Math.min(wish.level ?? this.level, product.depths.length - 1) : 0;
    const later = setTimeout(() => { by("wait").hidden = false; }, 250);
    try {
      const [field, start, digits] = await Promise.all([product.field(variable, lead, level), product.field(variable, 0, level), product.digits(variable)]);
      if (turn !== this.asked) return;
      const other = this.field === null || variable !== this.variable || level !== this.level || deep !== this.deep;
      [this.variable, this.lead, this.level, this.deep, this.digits, this.field] = [variable, lead, level, deep, digits, field];
      const entry = this.contents.variables[variable];
      if (anew || other) this.colours = scale(entry, start, this.contents.colour_maps[entry.colour_map], deep);
      this.map.paint(field, this.colours!);
      drawn(lead, variable);
      this.say(anew || other);
      if (this.map.cursor) this.read(this.map.cursor, false);
      if (this.point) void guarded(() => this.fill(this.point!, other));
      if (anew || other) void guarded(() => skill(this.contents, this.name, variable, () => this.variable === variable));
    } finally {
      clearTimeout(later);
      if (turn === this.asked) by("wait").hidden = true;
    }
  }

  /** Everything around the map that says what is on it. */
  private say(anew: boolean): void {
    const { product, lead } = this, entry = this.contents.variables[this.variable], unit = words.units(entry);
    const when = product.times[lead];
    const depth = this.deep ? words.depth(product.depths[this.level]) : "";
    by("subtitle").textContent = `${this.contents.region} · forecast of ${words.day(product.times[0])}`;
    by("map-title").textContent = entry.title;
    by("map-when").textContent = [depth && (this.level ? `at ${depth}` : "at the surface"), `valid ${words.moment(when)}`].filter(Boolean).join(" · ");
    by("day-word").textContent = lead === 0 ? "0, the start" : `${lead}, ${words.day(when)}`;
    const day = by<HTMLInputElement>("day"), level = by<HTMLInputElement>("depth");
    day.value = String(lead);
    day.setAttribute("aria-valuetext", `Day ${lead}, ${words.day(when)}`);
    by("depth-field").hidden = !this.deep;
    level.max = String(Math.max(0, product.depths.length - 1));
    level.value = String(this.level);
    by("depth-word").textContent = depth;
    level.setAttribute("aria-valuetext", depth);
    for (const radio of document.querySelectorAll<HTMLElement>("#variables [role=radio], #products [role=radio]")) {
      const on = radio.dataset.name === (radio.parentElement!.id === "products" ? this.name : this.variable);
      if (on && radio.getAttribute("aria-checked") !== "true") inSight(radio);
      radio.setAttribute("aria-checked", String(on));
      radio.tabIndex = on ? 0 : -1;
    }
    by("map").setAttribute("aria-label", `Map of ${entry.title}${depth ? `, ${depth}` : ""}, day ${lead}`);
    const old = this.contents.cycles.some((item) => item.cycle > this.manifest.cycle);
    const hash = new URLSearchParams({ ...(old ? { cycle: this.manifest.cycle } : {}), product: this.name, variable: this.variable, ...(this.deep ? { depth: String(product.depths[this.level]) } : {}), day: String(lead),
      ...(this.place ? { point: this.place.join(",") } : {}) });
    if (!this.playing) history.replaceState(null, "", `#${hash}`);
    if (!anew) return;
    const { colours } = this, bar = by("bar");
    bar.style.background = colours!.css;
    bar.setAttribute("aria-label", `Colours from ${words.figure(colours!.low, 3)} to ${words.value(colours!.high, entry, 3)}`);
    by("limits").textContent = colours!.words;
    by("ticks").replaceChildren(...colours!.ticks.map((at) => {
      const tick = element("span", "", round(at));
      tick.style.left = `${100 * colours!.place(at)}%`;
      return tick;
    }));
    by("unit").textContent = unit;
  }

  private choices(): void {
    const fill = (id: string, items: [string, string, string][], pick: (name: string) => void) => {
      const buttons = items.map(([name, text, title]) => {
        const made = element("button", "", text) as HTMLButtonElement;
        made.type = "button";
        made.title = title;
        made.dataset.name = name;
        made.setAttribute("role", "radio");
        made.setAttribute("aria-checked", "false");
        if (title !== text) made.setAttribute("aria-label", `${text}: ${title}`);
        made.tabIndex = -1;
        made.addEventListener("click", () => pick(name));
        return made;
      });
      buttons.forEach((made, index) => made.addEventListener("keydown", (event) => {
        const by_ = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (!by_) return;
        event.preventDefault();
        const next = buttons[(index + by_ + buttons.length) % buttons.length];
        pick(next.dataset.name!);
        document.querySelector<HTMLElement>(`#${id} [data-name="${next.dataset.name}"]`)?.focus();
      }));
      const focused = document.activeElement instanceof HTMLElement && document.activeElement.parentElement?.id === id ? document.activeElement.dataset.name : null;
      by(id).replaceChildren(...buttons);
      if (focused) by(id).querySelector<HTMLElement>(`[data-name="${focused}"]`)?.focus();
    };
    const shortly = (name: string) => name[0].toUpperCase() + name.slice(1);
    fill("products", Object.entries(this.offered()).map(([name, title]) => [name, shortly(name), title]), (name) => { this.stop(); void guarded(() => this.open(name)); });
    const entries = Object.entries(this.contents.variables).filter(([name]) => this.product.variables.includes(name));
    fill("variables", entries.map(([name, entry]) => [name, brief(entry.title), entry.title]), (name) => { this.stop(); void guarded(() => this.go({ variable: name })); });
  }

  /** Latitude and longitude of the chosen point. */
  private get place(): number[] | null {
    return this.point && [this.product.latitude[this.point.row], this.product.longitude[this.point.column]];
  }

  /** The product's cell around a place; `null` where the place is outside of it. */
  private covering(latitude: number, longitude: number): Cell | null {
    const within = (axis: Float64Array, far: (at: number) => number) => {
      const best = axis.reduce((best, at, index) => (far(at) < far(axis[best]) ? index : best), 0);
      return far(axis[best]) <= 0.501 * Math.abs(axis[1] - axis[0]) ? best : null;
    };
    const row = within(this.product.latitude, (at) => Math.abs(at - latitude));
    const column = within(this.product.longitude, (at) => Math.abs(((at - longitude + 540) % 360 + 360) % 360 - 180));
    return row === null || column === null ? null : { row, column };
  }

  /** The value under the crosshair or the pointer. */
  private read(cell: Cell, aloud: boolean): void {
    if (!this.field) return;
    const entry = this.contents.variables[this.variable];
    const value = this.field[cell.row * this.product.longitude.length + cell.column];
    const where = words.place(this.product.latitude[cell.row], this.product.longitude[cell.column]);
    const what = Number.isNaN(value) ? "land, or no value" : words.value(value, entry, this.digits);
    const out = by("readout");
    out.replaceChildren(element("b", "", what), element("span", "", where));
    Object.assign(out.dataset, { value: String(value), latitude: String(this.product.latitude[cell.row]), longitude: String(this.product.longitude[cell.column]) });
    if (aloud) announce(`${where}: ${what}`);
  }

  private async choose(cell: Cell): Promise<void> {
    this.read(cell, true);
    this.point = cell;
    this.map.marked = cell;
    this.map.cursor = cell;
    this.map.draw();
    this.say(false);
    await guarded(() => this.fill(cell, true));
  }

  /** The series and the profile at the point; `anew`: not only another day. */
  private async fill(cell: Cell, anew: boolean): Promise<void> {
    const { product, variable, level, lead, deep, digits, field } = this;
    if (!field) return; // of a product that was just opened: when it is drawn, its point is filled
    const turn = anew ? ++this.askedPoint : this.askedPoint;
    const spot = { product, variable, level, lead, deep, digits, cell, field, entry: this.contents.variables[variable] };
    const current = () => turn === this.askedPoint && product === this.product && variable === this.variable && level === this.level;
    if (!point.begin(spot)) return;
    const running = this.playing > 0; // its days go by: the profile stays that of the day it names
    const found = await point.read(spot, deep && !running, current).catch((error: unknown) => {
      if (current()) point.clear();
      throw error;
    });
    if (!current() || lead !== this.lead) return;
    const said = point.show(spot, found, !running);
    if (running) return;
    by("point").dataset.ready = `${this.name}/${variable}/${level}/${lead}/${cell.row}/${cell.column}`;
    if (anew) announce(said);
  }

  /** Runs through the days, at the pace of what can be read; where motion is unwanted, goes on by one day. */
  private play(): void {
    const next = () => (this.lead + 1) % this.product.times.length;
    if (still.matches) return void guarded(() => this.go({ lead: next() }));
    if (this.playing) return this.stop();
    this.playing = 1;
    by("play-icon").textContent = "❚❚";
    by("play-word").textContent = "Pause";
    const { product, variable, level } = this;
    void fewAtATime(product.times.map((_, day) => (day + this.lead) % product.times.length), 3, async (day) => {
      if (this.playing && variable === this.variable && product === this.product) await product.field(variable, day, level);
    }).catch(() => this.stop());
    const turn = async () => {
      if (!this.playing) return;
      await guarded(() => this.go({ lead: next() }));
      if (this.playing) this.playing = window.setTimeout(turn, this.lead === 0 ? 3 * STEP_MS : STEP_MS);
    };
    void turn();
  }

  private stop(): void {
    const was = this.playing;
    clearTimeout(this.playing);
    this.playing = 0;
    by("play-icon").textContent = still.matches ? "▷" : "▶";
    by("play-word").textContent = still.matches ? "Next day" : "Play";
    if (!was) return;
    this.say(false);
    if (this.point) void guarded(() => this.fill(this.point!, false));
  }
}

function brief(title: string): string {
  const known: [RegExp, string][] = [[/temperature/i, "Temperature"], [/salinity/i, "Salinity"], [/eastward.*velocity/i, "Eastward current"], [/northward.*velocity/i, "Northward current"],
    [/surface height/i, "Sea level"], [/significant height/i, "Wave height"], [/wave period/i, "Wave period"], [/wave direction/i, "Wave direction"], [/mixed layer/i, "Mixed layer"], [/total chlorophyll/i, "Chlorophyll"]];
  return known.find(([pattern]) => pattern.test(title))?.[1] ?? title.replace(/ expressed as chlorophyll| concentration/i, "").replace(/^Dissolved iron/, "Iron");
}

/** Moves a row of choices sideways until this one is seen. */
function inSight(choice: HTMLElement): void {
  const row = choice.parentElement!, left = choice.offsetLeft - row.offsetLeft;
  if (left < row.scrollLeft || left + choice.offsetWidth > row.scrollLeft + row.clientWidth) row.scrollLeft = left - 24;
}

let saying = 0;
function announce(text: string): void {
  clearTimeout(saying);
  saying = window.setTimeout(() => { by("announce").textContent = text; }, 120);
}

let first = true;
/** Notes when a map was drawn: the first one is what a reader waits for. */
function drawn(lead: number, variable: string): void {
  by("map").dataset.drawn = `${variable}/${lead}`;
  if (!first) return;
  first = false;
  requestAnimationFrame(() => performance.mark("first-map"));
}

/** Does it, and says on the page what went wrong. */
async function guarded(what: () => Promise<void>): Promise<void> {
  try {
    await what();
  } catch (error) {
    const text = error instanceof Error ? [error.message, error.cause instanceof Error ? error.cause.message : ""].filter(Boolean).join(": ") : String(error);
    by("banners").append(element("div", "banner failed", element("strong", "", "This could not be read. "), text));
    by("wait").hidden = true;
    announce(`This could not be read: ${text}`);
  }
}

void guarded(async () => {
  const [known, latest, status] = await Promise.all([
    contents(), document_<Latest>("latest.json"), document_<Status>("status.json"),
  ]);
  if (known === null || latest === null) throw new Error("nothing is published here yet");
  const wished = new URLSearchParams(location.hash.slice(1)).get("cycle");
  const edition = known.cycles.find((item) => item.cycle === wished) ?? latest;
  const missed = wished && wished !== edition.cycle ? wished : null;
  const manifest = await document_<Manifest>(`cycles/${edition.cycle}/r${edition.revision}/manifest.json`);
  if (manifest === null) throw new Error(`the forecast ${edition.cycle} r${edition.revision} is not there`);
  await new Page(known, manifest, status, missed).begin();
});
