// The map: a field as pixels, degrees around it, a crosshair that pointer and keys move.
import { pixel, type Scale } from "./colours";
import type { Field } from "./source";

export interface Cell { row: number; column: number }
interface Events { moved(cell: Cell, byKeys: boolean): void; chosen(cell: Cell): void }

const MOST_ZOOM = 12;

/** A map of one grid. Columns are drawn from the seam on where the grid goes round the globe. */
export class WorldMap {
  private picture = document.createElement("canvas");
  private coast = new Path2D();
  private rows = 0;
  private columns = 0;
  private first = 0;
  private latitude: Float64Array = new Float64Array();
  private longitude: Float64Array = new Float64Array();
  private zoom = 1;
  private left = 0;
  private top = 0;
  private pointers = new Map<number, { x: number; y: number }>();
  private dragged = false;
  private pinched = 0;
  cursor: Cell | null = null;
  marked: Cell | null = null;
  periodic = false;

  constructor(private readonly canvas: HTMLCanvasElement, private readonly frame: HTMLElement,
              private readonly land: string, private readonly seam: number, private readonly events: Events) {
    new ResizeObserver(() => this.draw()).observe(canvas);
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    canvas.addEventListener("pointerup", (event) => this.up(event));
    canvas.addEventListener("pointercancel", (event) => { this.pointers.delete(event.pointerId); });
    canvas.addEventListener("focus", () => this.draw());
    canvas.addEventListener("blur", () => this.draw());
  }

  /** The grid's coordinates; the crosshair goes to its middle. */
  grid(latitude: Float64Array, longitude: Float64Array): void {
    const step = (longitude[longitude.length - 1] - longitude[0]) / (longitude.length - 1);
    this.periodic = Math.abs(longitude.length * step - 360) < step / 2;
    this.first = this.periodic ? Math.max(0, longitude.findIndex((east) => east >= this.seam)) : 0;
    [this.latitude, this.longitude] = [latitude, longitude];
    [this.rows, this.columns] = [latitude.length, longitude.length];
    [this.picture.width, this.picture.height] = [this.columns, this.rows];
    const tall = (latitude[this.rows - 1] - latitude[0]) * (1 + 1 / (this.rows - 1));
    const wide = step * this.columns;
    const middle = (latitude[0] + latitude[this.rows - 1]) / 2;
    const aspect = (wide * (wide > 180 ? 1 : Math.cos((middle * Math.PI) / 180))) / tall;
    this.frame.style.setProperty("--aspect", aspect.toFixed(4));
    [this.zoom, this.left, this.top] = [1, 0, 0];
    this.cursor = { row: Math.floor(this.rows / 2), column: (this.first + Math.floor(this.columns / 2)) % this.columns };
    this.marked = null;
    this.canvas.style.touchAction = "pan-y";
  }

  /** Where a cell's middle lies, in CSS pixels of the canvas. */
  at(cell: Cell): { x: number; y: number } {
    const drawn = (cell.column - this.first + this.columns) % this.columns;
    const { width, height } = this.size;
    return {
      x: ((drawn + 0.5) / this.columns - this.left) * this.zoom * width,
      y: ((this.rows - 1 - cell.row + 0.5) / this.rows - this.top) * this.zoom * height,
    };
  }

  paint(field: Field, scale: Scale): void {
    const image = new ImageData(this.columns, this.rows);
    const pixels = new Uint32Array(image.data.buffer);
    const land = pixel(this.land);
    for (let row = 0; row < this.rows; row++) {
      const line = (this.rows - 1 - row) * this.columns;
      for (let column = 0; column < this.columns; column++) {
        const value = field[row * this.columns + column];
        const drawn = column - this.first + (column < this.first ? this.columns : 0);
        const place = Math.round(255 * scale.place(value));
        pixels[line + drawn] = Number.isNaN(value) ? land : scale.pixels[place > 255 ? 255 : place > 0 ? place : 0];
      }
    }
    this.picture.getContext("2d")!.putImageData(image, 0, 0);
    this.coast = this.outline(pixels, land);
    this.draw();
  }

  zoomBy(factor: number, x = 0.5, y = 0.5): void {
    const wanted = Math.min(MOST_ZOOM, Math.max(1, this.zoom * factor));
    this.left += x / this.zoom - x / wanted;
    this.top += y / this.zoom - y / wanted;
    this.zoom = wanted;
    this.canvas.style.touchAction = wanted > 1 ? "none" : "pan-y";
    this.keepInside();
    this.draw();
  }

  draw(): void {
    const { width, height } = this.size;
    if (!this.rows || !width) return;
    const ratio = window.devicePixelRatio || 1;
    const [wide, tall] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (this.canvas.width !== wide || this.canvas.height !== tall) [this.canvas.width, this.canvas.height] = [wide, tall];
    const pen = this.canvas.getContext("2d")!;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.imageSmoothingEnabled = false;
    const span = 1 / this.zoom;
    pen.drawImage(this.picture, this.left * this.columns, this.top * this.rows, span * this.columns, span * this.rows, 0, 0, width, height);
    const [wider, taller] = [this.zoom * width, this.zoom * height], placed = new Path2D();
    placed.addPath(this.coast, new DOMMatrix([wider / this.columns, 0, 0, taller / this.rows, -this.left * wider, -this.top * taller]));
    [pen.strokeStyle, pen.lineWidth] = ["rgb(60 58 52 / .75)", 0.8];
    pen.stroke(placed);
    this.degrees(pen, width, height);
    if (this.marked) this.mark(pen, this.at(this.marked));
    if (this.cursor && (document.activeElement === this.canvas || this.pointers.size)) this.cross(pen, this.at(this.cursor), width, height);
  }

  /** The edges between cells with and without a value, in cells. */
  private outline(pixels: Uint32Array, land: number): Path2D {
    const path = new Path2D(), { rows, columns } = this;
    for (let row = 0; row < rows; row++)
      for (let column = 0; column < columns; column++) {
        const here = pixels[row * columns + column] === land;
        if (column + 1 < columns && here !== (pixels[row * columns + column + 1] === land)) { path.moveTo(column + 1, row); path.lineTo(column + 1, row + 1); }
        if (row + 1 < rows && here !== (pixels[(row + 1) * columns + column] === land)) { path.moveTo(column, row + 1); path.lineTo(column + 1, row + 1); }
      }
    return path;
  }

  private get size(): { width: number; height: number } {
    return { width: this.canvas.clientWidth, height: this.canvas.clientHeight };
  }

  private degrees(pen: CanvasRenderingContext2D, width: number, height: number): void {
    const step = (this.longitude[this.columns - 1] - this.longitude[0]) / (this.columns - 1);
    const rise = (this.latitude[this.rows - 1] - this.latitude[0]) / (this.rows - 1);
    const west = this.longitude[this.first] - step / 2 + this.left * this.columns * step;
    const east = west + (this.columns * step) / this.zoom;
    const north = this.latitude[this.rows - 1] + rise / 2 - this.top * this.rows * rise;
    const south = north - (this.rows * rise) / this.zoom;
    pen.lineWidth = 1;
    pen.font = "11px system-ui, sans-serif";
    const label = (text: string, x: number, y: number) => {
      [pen.lineWidth, pen.lineJoin] = [3, "round"];
      pen.strokeStyle = "rgb(255 255 255 / .75)";
      pen.strokeText(text, x, y);
      pen.fillStyle = "#22262b";
      pen.fillText(text, x, y);
      pen.lineWidth = 1;
    };
    const sizes = [0.5, 1, 2, 5, 10, 15, 20, 30, 60];
    const pick = (span: number, most: number) => sizes.find((size) => span / size <= most) ?? 60;
    const across = pick(east - west, width / 90), up = pick(north - south, height / 60);
    const lines = (low: number, high: number, size: number) => {
      const first = Math.ceil(low / size);
      return Array.from({ length: Math.max(0, Math.floor(high / size) - first + 1) }, (_, index) => (first + index) * size);
    };
    pen.strokeStyle = "rgb(20 30 40 / .16)";
    for (const at of lines(west, east, across)) {
      const x = ((at - west) / (east - west)) * width;
      pen.beginPath(); pen.moveTo(x, 0); pen.lineTo(x, height); pen.stroke();
    }
    for (const at of lines(south, north, up)) {
      const y = ((north - at) / (north - south)) * height;
      pen.beginPath(); pen.moveTo(0, y); pen.lineTo(width, y); pen.stroke();
    }
    pen.textAlign = "center";
    pen.textBaseline = "bottom";
    for (const at of lines(west, east, across)) {
      const x = ((at - west) / (east - west)) * width, shown = ((at + 180) % 360 + 360) % 360 - 180;
      if (x > 46 && x < width - 20) label(`${Math.abs(shown)}°${shown === 0 || shown === -180 ? "" : shown < 0 ? "W" : "E"}`, x, height - 4);
    }
    pen.textAlign = "left";
    pen.textBaseline = "middle";
    for (const at of lines(south, north, up)) {
      const y = ((north - at) / (north - south)) * height;
      if (y > 12 && y < height - 24) label(`${Math.abs(at)}°${at === 0 ? "" : at < 0 ? "S" : "N"}`, 5, y);
    }
  }

  private mark(pen: CanvasRenderingContext2D, { x, y }: { x: number; y: number }): void {
    for (const [colour, wide] of [["#ffffff", 5], ["#0b2534", 2.5]] as const) {
      [pen.strokeStyle, pen.lineWidth] = [colour, wide];
      pen.beginPath(); pen.arc(x, y, 7, 0, 2 * Math.PI); pen.stroke();
    }
  }

  private cross(pen: CanvasRenderingContext2D, { x, y }: { x: number; y: number }, width: number, height: number): void {
    for (const [colour, wide] of [["rgb(255 255 255 / .85)", 3], ["#0b2534", 1]] as const) {
      [pen.strokeStyle, pen.lineWidth] = [colour, wide];
      pen.beginPath();
      pen.moveTo(0, y); pen.lineTo(x - 6, y); pen.moveTo(x + 6, y); pen.lineTo(width, y);
      pen.moveTo(x, 0); pen.lineTo(x, y - 6); pen.moveTo(x, y + 6); pen.lineTo(x, height);
      pen.stroke();
    }
  }

  private cell(event: PointerEvent): Cell {
    const { width, height } = this.size, box = this.canvas.getBoundingClientRect();
    const u = this.left + (event.clientX - box.left - this.canvas.clientLeft) / width / this.zoom;
    const v = this.top + (event.clientY - box.top - this.canvas.clientTop) / height / this.zoom;
    const drawn = Math.min(this.columns - 1, Math.max(0, Math.floor(u * this.columns)));
    const down = Math.min(this.rows - 1, Math.max(0, Math.floor(v * this.rows)));
    return { row: this.rows - 1 - down, column: (drawn + this.first) % this.columns };
  }

  private key(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey || !this.cursor) return;
    const moves: Record<string, [number, number]> = { ArrowUp: [1, 0], ArrowDown: [-1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const move = moves[event.key];
    if (move) {
      const far = event.shiftKey ? 10 : 1;
      const column = this.cursor.column + far * move[1];
      const drawn = Math.min(this.columns - 1, Math.max(0, ((this.cursor.column - this.first + this.columns) % this.columns) + far * move[1]));
      this.cursor = {
        row: Math.min(this.rows - 1, Math.max(0, this.cursor.row + far * move[0])),
        column: this.periodic ? (column + this.columns) % this.columns : (drawn + this.first) % this.columns,
      };
      this.follow();
      this.draw();
      this.events.moved(this.cursor, true);
    } else if (event.key === "Enter" || event.key === " ") this.events.chosen(this.cursor);
    else if (event.key === "+" || event.key === "=") this.zoomBy(1.5);
    else if (event.key === "-") this.zoomBy(1 / 1.5);
    else if (event.key === "0") this.zoomBy(1 / MOST_ZOOM);
    else return;
    event.preventDefault();
  }

  private down(event: PointerEvent): void {
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    this.dragged = this.pointers.size > 1;
    this.pinched = this.spread();
    if (this.zoom > 1) this.canvas.setPointerCapture(event.pointerId);
  }

  private move(event: PointerEvent): void {
    if (event.buttons === 0) this.pointers.delete(event.pointerId); // let go outside of the map
    const last = this.pointers.get(event.pointerId);
    if (last && (this.zoom > 1 || this.pointers.size > 1)) {
      const { width, height } = this.size;
      const [across, down] = [event.clientX - last.x, event.clientY - last.y];
      if (this.pointers.size > 1) {
        this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
        const spread = this.spread();
        if (this.pinched > 0) this.zoomBy(spread / this.pinched);
        this.pinched = spread;
      } else if (this.dragged || Math.hypot(across, down) > 4) {
        this.dragged = true;
        this.left -= across / width / this.zoom;
        this.top -= down / height / this.zoom;
        this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
        this.keepInside();
        this.draw();
      }
      return;
    }
    if (event.pointerType === "mouse") this.events.moved(this.cell(event), false);
  }

  private up(event: PointerEvent): void {
    const was = this.pointers.delete(event.pointerId);
    if (!was || this.dragged) return;
    this.cursor = this.cell(event);
    this.draw();
    this.events.chosen(this.cursor);
  }

  private spread(): number {
    const [one, two] = [...this.pointers.values()];
    return two ? Math.hypot(one.x - two.x, one.y - two.y) : 0;
  }

  private keepInside(): void {
    const most = 1 - 1 / this.zoom;
    this.left = Math.min(most, Math.max(0, this.left));
    this.top = Math.min(most, Math.max(0, this.top));
  }

  /** Moves a zoomed map so that the crosshair stays in sight. */
  private follow(): void {
    if (this.zoom === 1 || !this.cursor) return;
    const { x, y } = this.at(this.cursor), { width, height } = this.size;
    const margin = 0.12;
    const past = (at: number, size: number) => (at < margin * size ? at - margin * size : at > (1 - margin) * size ? at - (1 - margin) * size : 0);
    this.left += past(x, width) / width / this.zoom;
    this.top += past(y, height) / height / this.zoom;
    this.keepInside();
  }
}
