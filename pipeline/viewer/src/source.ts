// What is published, read from where it lies: documents whole, fields by ranges of bytes of their shard.
import * as zarr from "zarrita";
import type { AbsolutePath, AsyncReadable, RangeQuery } from "@zarrita/storage";

export interface Variable {
  title: string;
  units: string;
  colour_map: string;
  logarithmic: boolean;
  circular: boolean;
  diverging: boolean;
  never_negative: boolean;
}
export interface Edition { cycle: string; start: string; revision: number; created: string; degraded: boolean; scores: string[] }
export interface Contents {
  system: string; title: string; region: string; real_ocean: boolean;
  products: { name: string; title: string }[];
  /** In the registry's order. */
  variables: Record<string, Variable>;
  colour_maps: Record<string, string>;
  seam_east: number; land: string;
  cycles: Edition[];
}
export interface Latest { cycle: string; revision: number; prefix: string }
export interface Input { kind: string; variables: string[]; source: string; age_hours: number; valid_time: string | null; degraded: string | null; note: string }
export interface Manifest {
  cycle: string; revision: number; lead_days: number; created: string; real_ocean: boolean; future_forcing: string;
  degraded: boolean; degraded_reasons: string[];
  facts: { forecaster: string; trained_on: string; code_version: string; checkpoint_sha256: string; inputs: Input[];
           left_out: Record<string, string>; superseding: string;
           publisher: { name: string; institution: string; licence: string; url: string } };
  products: Record<string, { path: string; degraded: boolean; degraded_reasons: string[] }>;
  objects: { path: string; size_bytes: number }[];
}
export interface Standing { cycle: string; start: string; verdict: string; words: string; alarm: boolean; deadline: string | null; published: string | null; revision: number | null; degraded: boolean | null }
export interface Status { as_of: string; well: boolean; cycles: Standing[] }
export interface Row { variable: string; units: string; lead_day: number; rmse: number | null; persistence: number | null; climatology: number | null; bicubic: number | null; damped?: number | null; acc: number | null }

/** What the page must know, with its variables by name. */
export async function contents(): Promise<Contents | null> {
  const found = await document_<Omit<Contents, "variables"> & { variables: (Variable & { name: string })[] }>("view/contents.json");
  return found && { ...found, variables: Object.fromEntries(found.variables.map((item) => [item.name, item])) };
}

/** The system's folder: the page lies in `<system>/view/`. */
export const SYSTEM = new URL("../", location.href.split(/[?#]/)[0]);

/** A JSON document of the system's folder, asked anew each time; `null` where there is none. */
export async function document_<T>(path: string): Promise<T | null> {
  const answer = await fetch(new URL(path, SYSTEM), { cache: "no-cache" });
  if (answer.status === 404 || answer.status === 403) return null;
  if (!answer.ok) throw new Error(`${path}: the store answered ${answer.status} ${answer.statusText}`);
  return (await answer.json()) as T;
}

/** The objects of one product: only those that the manifest names, of the size it says. */
class Objects implements AsyncReadable {
  private whole = new Map<string, Promise<Uint8Array>>();
  constructor(private readonly base: URL, private readonly sizes: Map<string, number>) {}

  async get(key: AbsolutePath): Promise<Uint8Array | undefined> {
    if (!this.sizes.has(key)) return undefined;
    return this.whole.get(key) ?? this.read(key);
  }

  async getRange(key: AbsolutePath, range: RangeQuery): Promise<Uint8Array | undefined> {
    const size = this.sizes.get(key);
    if (size === undefined) return undefined;
    const first = "suffixLength" in range ? size - range.suffixLength : range.offset;
    const end = "suffixLength" in range ? size : range.offset + range.length;
    const whole = this.whole.get(key);
    return whole ? (await whole).subarray(first, end) : this.read(key, first, end);
  }

  /** Reads an object whole while `use` lasts: one request instead of one a chunk. */
  async together<T>(key: string, use: () => Promise<T>): Promise<T> {
    if (!this.whole.has(key)) this.whole.set(key, this.read(key));
    try {
      return await use();
    } finally {
      this.whole.delete(key);
    }
  }

  private async read(key: string, first?: number, end?: number): Promise<Uint8Array> {
    const headers: HeadersInit = first === undefined ? {} : { Range: `bytes=${first}-${end! - 1}` };
    const answer = await fetch(new URL(`.${key}`, this.base), { headers });
    if (!answer.ok) throw new Error(`${key}: the store answered ${answer.status} ${answer.statusText}`);
    const bytes = new Uint8Array(await answer.arrayBuffer());
    const data = first !== undefined && answer.status === 200 ? bytes.subarray(first, end) : bytes;
    const wanted = first === undefined ? this.sizes.get(key)! : end! - first;
    if (data.length !== wanted) throw new Error(`${key}: ${wanted} bytes were published and ${data.length} came`);
    return data;
  }
}

type Numbers = zarr.Array<zarr.NumberDataType, AsyncReadable>;
type Group = zarr.Group<AsyncReadable>;
export type Field = Float32Array;
const KEPT_BYTES = 256e6;
const BLOCKS_KEPT = 24;

/** What a cell holds: every lead day at one level, every level of one lead day. */
export interface Column { series: number[]; profile: number[] }
/** Where the column of a cell is read: laid out for it, or from the maps, where an edition has nothing else. */
export type Layout = "series" | "maps";

/** The objects below one folder of an edition, those that its manifest names; `null` where it names none. */
function below(path: string, folder: URL, manifest: Manifest): Objects | null {
  const own = manifest.objects.filter((item) => item.path.startsWith(`${path}/`));
  const sizes = new Map(own.map((item) => [item.path.slice(path.length), item.size_bytes]));
  return own.length ? new Objects(new URL(`${path}/`, folder), sizes) : null;
}

/** One product of one edition. Fields that were read are kept, the least recently used go first. */
export class Product {
  private arrays = new Map<string, Promise<Numbers>>();
  private fields = new Map<string, Promise<Field>>();
  private places = new Map<string, Promise<Numbers>>();
  private blocks = new Map<string, Promise<zarr.Chunk<zarr.NumberDataType>>>();
  private constructor(
    readonly name: string,
    readonly address: URL,
    private readonly objects: Objects,
    private readonly root: Group,
    private readonly laidOut: Objects | null,
    readonly latitude: Float64Array,
    readonly longitude: Float64Array,
    readonly depths: number[],
    readonly times: Date[],
    readonly variables: string[],
  ) {}

  /** Opens it by its consolidated metadata; coordinates are read at once. */
  static async open(name: string, folder: URL, manifest: Manifest): Promise<Product> {
    const path = manifest.products[name].path;
    const objects = below(path, folder, manifest);
    if (objects === null) throw new Error(`${path}: its manifest names no object of it`);
    const store = await zarr.withConsolidatedMetadata(objects, { format: "v3" });
    const root = await zarr.open.v3(zarr.root(store), { kind: "group" });
    const coordinate = async (item: string): Promise<number[]> => {
      const array = (await zarr.open.v3(root.resolve(item), { kind: "array" })) as Numbers;
      const found = await zarr.get(array);
      return typeof found === "object" ? Array.from(found.data as ArrayLike<number>, Number) : [Number(found)];
    };
    const known = store.contents().filter((item) => item.kind === "array").map((item) => item.path.slice(1));
    const [latitude, longitude, hours, depths] = await Promise.all([
      coordinate("latitude"), coordinate("longitude"), coordinate("time"),
      known.includes("depth") ? coordinate("depth") : Promise.resolve([]),
    ]);
    const epoch = Date.UTC(1950, 0, 1);
    return new Product(name, new URL(`${path}/`, folder), objects, root, below(`series/${path}`, folder, manifest), Float64Array.from(latitude), Float64Array.from(longitude), depths,
      hours.map((hour) => new Date(epoch + hour * 3600e3)), known);
  }

  /** A variable's array: metadata alone, nothing is read. */
  array(variable: string): Promise<Numbers> {
    let found = this.arrays.get(variable);
    if (!found) {
      found = zarr.open.v3(this.root.resolve(variable), { kind: "array" }) as Promise<Numbers>;
      this.arrays.set(variable, found);
    }
    return found;
  }

  /** Whether a variable is given at several depths. */
  async isDeep(variable: string): Promise<boolean> {
    return (await this.array(variable)).shape.length === 4;
  }

  /** Significant decimal digits that the bits kept on disk stand for. */
  async digits(variable: string): Promise<number> {
    const bits = Number((await this.array(variable)).attrs["mantissa_bits_kept"] ?? 23);
    return Math.max(3, Math.min(8, Math.round((bits + 1) * Math.log10(2))));
  }

  /**
   * One level of one lead day, latitude by latitude from the south: the shard's index and one chunk of it, or the
   * whole shard where there is but one chunk in it.
   */
  field(variable: string, lead: number, level: number): Promise<Field> {
    const most = Math.max(40, Math.floor(KEPT_BYTES / (4 * this.latitude.length * this.longitude.length)));
    return kept(this.fields, `${variable}/${lead}/${level}`, most, () => this.read(variable, lead, level));
  }

  /** Which layout `column` reads. */
  get layout(): Layout {
    return this.laidOut ? "series" : "maps";
  }

  /**
   * What a cell holds. `told` hears of each lead day that is read apart; `deep`: whether the profile is wanted, which
   * costs a request of its own where the layout is that of maps.
   */
  async column(variable: string, lead: number, level: number, cell: number, deep: boolean, told: () => void): Promise<Column> {
    const leads = this.times.map((_, index) => index);
    if (this.laidOut) {
      const [at, levels] = [await this.place(variable, cell), deep ? this.depths : []];
      return { series: leads.map((day) => at(day, level)), profile: levels.map((_, index) => at(lead, index)) };
    }
    const series: number[] = leads.map(() => NaN);
    const profiling = deep ? this.profile(variable, lead, cell) : Promise.resolve<number[]>([]);
    await fewAtATime(leads, 4, async (day) => {
      series[day] = (await this.field(variable, day, level))[cell];
      told();
    });
    return { series, profile: await profiling };
  }

  /** The values of a cell by lead day and level, from the one chunk that has them all and those of its neighbours. */
  private async place(variable: string, cell: number): Promise<(lead: number, level: number) => number> {
    const array = await kept(this.places, variable, Infinity, () => this.series(variable));
    const spot = [Math.floor(cell / this.longitude.length), cell % this.longitude.length];
    const [rows, columns] = array.chunks.slice(-2);
    const corner = [...array.shape.slice(0, -2).map(() => 0), Math.floor(spot[0] / rows), Math.floor(spot[1] / columns)];
    const { data, stride } = await kept(this.blocks, `${variable}/${corner}`, BLOCKS_KEPT, () => array.getChunk(corner));
    const inside = (spot[0] % rows) * stride[stride.length - 2] + (spot[1] % columns) * stride[stride.length - 1];
    return (lead, level) => data[lead * stride[0] + (stride.length === 4 ? level * stride[1] : 0) + inside];
  }

  /** A variable's array in the layout for series. */
  private async series(variable: string): Promise<Numbers> {
    const array = (await zarr.open.v3(zarr.root(this.laidOut!).resolve(variable), { kind: "array" })) as Numbers;
    const maps = await this.array(variable), [time, levels] = array.shape.map((size, axis) => size === array.chunks[axis]);
    if (`${array.shape}` !== `${maps.shape}` || !time || (array.shape.length === 4 && !levels))
      throw new Error(`series of ${variable}: laid out as ${array.shape} in chunks of ${array.chunks}, the map is ${maps.shape}`);
    return array;
  }

  /** Every level of one lead day at a cell: the shard in one request, unless its levels are known. */
  private async profile(variable: string, lead: number, cell: number): Promise<number[]> {
    const levels = this.depths.map((_, level) => level);
    const take = () => Promise.all(levels.map(async (level) => (await this.field(variable, lead, level))[cell]));
    const known = levels.filter((level) => this.fields.has(`${variable}/${lead}/${level}`)).length;
    return known > levels.length / 2 ? take() : this.objects.together(`/${variable}/c/${lead}/0/0/0`, take);
  }

  private async read(variable: string, lead: number, level: number): Promise<Field> {
    const array = await this.array(variable);
    const deep = array.shape.length === 4;
    const where = (deep ? [lead, level, null, null] : [lead, null, null]) as (number | null)[];
    const take = async () => (await zarr.get(array, where)).data as Field;
    return deep ? take() : this.objects.together(`/${variable}/c/${lead}/0/0`, take);
  }
}

/** What is kept under a name, else made and kept; the least recently used go first, and what failed is not kept. */
function kept<T>(all: Map<string, Promise<T>>, name: string, most: number, make: () => Promise<T>): Promise<T> {
  const there = all.get(name), found = there ?? make();
  if (there) all.delete(name);
  else found.catch(() => all.delete(name));
  all.set(name, found);
  for (const oldest of all.keys()) {
    if (all.size <= most) break;
    all.delete(oldest);
  }
  return found;
}

/** Does `what` for every item, a few at a time. */
export async function fewAtATime<T>(items: T[], most: number, what: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  const worker = async () => {
    while (next < items.length) await what(items[next++]);
  };
  await Promise.all(Array.from({ length: Math.min(most, items.length) }, worker));
}
