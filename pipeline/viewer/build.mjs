// Builds the page: `npm ci && npm run build`. What it writes depends on the sources and the lock file alone.
//   node build.mjs [FOLDER]     the folder to write, else dist/
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = fileURLToPath(new URL(".", import.meta.url));
const out = process.argv[2] ?? join(here, "dist");
process.chdir(here);

/** SHA-256 of every source by name and content: the test that has no node compares it. */
function digest() {
  const sources = ["build.mjs", "index.html", "package-lock.json", "package.json", "style.css", "tsconfig.json"];
  const names = [...sources, ...readdirSync("src").map((name) => `src/${name}`)].sort();
  const hash = createHash("sha256");
  for (const name of names) hash.update(`${name}\0`).update(readFileSync(name)).update("\0");
  return hash.digest("hex");
}

/** Codecs that no product uses are left out of the bundle. */
const unused = {
  name: "unused-codecs",
  setup(made) {
    made.onResolve({ filter: /^numcodecs\/(lz4|zstd)$/ }, (found) => ({ path: found.path, namespace: "unused" }));
    made.onLoad({ filter: /.*/, namespace: "unused" }, (found) => ({
      contents: `export default { fromConfig() { throw new Error("${found.path} is not part of this page"); } };`,
    }));
  },
};

/**
 * The Blosc decoder without `Function`, which a page's policy forbids: Emscripten's embind writes the source of each
 * exported function and has it compiled. What takes its place calls with the same conversions, as embind itself does
 * where it is built without dynamic execution. Another numcodecs may be written otherwise: then the build ends here.
 */
const blosc = {
  name: "blosc-without-eval",
  setup(made) {
    const call = `((types, answers, [refuse, invoke, target, release, result]) => (...given) => {
      if (given.length !== types.length - 2) refuse("function " + m + " called with " + given.length + " arguments");
      const undo = [], wired = given.map((item, index) => types[index + 2].toWireType(undo, item));
      const found = invoke(target, ...wired);
      release(undo);
      if (answers) return result.fromWireType(found);
    })(g, Ia, r);`;
    const changes = [["g = La(Ka).apply(null, r);", `g = ${call}`], ["a = b.apply(c, a);", 'throw new Error("no code is made here");']];
    made.onLoad({ filter: /numcodecs\/dist\/blosc\.js$/ }, (found) => {
      let text = readFileSync(found.path, "utf8");
      for (const [old, changed] of changes) {
        if (text.split(old).length !== 2) throw new Error(`${found.path}: ${old} is not there once; see how embind is built now`);
        text = text.replace(old, () => changed);
      }
      return { contents: text };
    });
  },
};

const result = await build({
  entryPoints: ["src/main.ts", "style.css"],
  outdir: out,
  write: false,
  bundle: true,
  splitting: true,
  minify: true,
  format: "esm",
  target: "es2022",
  entryNames: "[name]-[hash]",
  chunkNames: "[name]-[hash]",
  legalComments: "none",
  metafile: true,
  plugins: [unused, blosc],
});

const files = new Map(result.outputFiles.map((file) => [basename(file.path), file.contents]));
const named = (start, end) => [...files.keys()].find((name) => name.startsWith(start) && name.endsWith(end));
const packages = new Set();
for (const input of Object.keys(result.metafile.inputs)) {
  const found = /^node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(input);
  if (found) packages.add(found[1]);
}
const notices = [...packages].sort().map((name) => {
  const about = JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8"));
  const licence = readdirSync(`node_modules/${name}`).find((file) => /^licen[cs]e/i.test(file));
  const text = licence ? readFileSync(`node_modules/${name}/${licence}`, "utf8").trim() : `${about.license}`;
  return `${name} ${about.version}\n\n${text}\n`;
});
files.set("licences.txt", Buffer.from(notices.join(`\n${"-".repeat(72)}\n\n`)));
const page = readFileSync("index.html", "utf8")
  .replace("{{style}}", named("style-", ".css"))
  .replace("{{main}}", named("main-", ".js"))
  .replace("{{codec}}", named("blosc-", ".js"));
files.set("index.html", Buffer.from(page));
files.set("sources.sha256", Buffer.from(`${digest()}\n`));

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
for (const [name, data] of [...files].sort()) {
  writeFileSync(join(out, name), data);
  console.log(`${String(data.length).padStart(8)} ${name}`);
}
