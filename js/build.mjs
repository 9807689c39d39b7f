// Bundles the front end into the Python package.  `--serve` serves the development page (dev/) instead.
import { stat } from "node:fs/promises";
import { basename, extname } from "node:path";
import { fileURLToPath } from "node:url";
import * as esbuild from "esbuild";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const LIMIT_KB = 115; // the bundle is copied into every saved notebook

const shared = {
  bundle: true,
  format: "esm",
  target: ["es2022", "chrome120", "firefox117", "safari17.2"],
  charset: "utf8",
  legalComments: "none",
};

// Two widgets, each with a bundle of its own: a notebook holds only those of the widgets in it.
const WIDGETS = {
  widget: ["src/lab/index.ts", "src/lab/lab.css"],
  steer: ["src/steer/index.ts", "src/steer/steer.css"],
};

async function build(outdir) {
  for (const [name, sources] of Object.entries(WIDGETS)) {
    let total = 0;
    for (const source of sources) {
      const outfile = `${outdir}/${name}${extname(source).replace("ts", "js")}`;
      await esbuild.build({ ...shared, entryPoints: [here(source)], outfile, minify: true });
      const kb = (await stat(outfile)).size / 1000;
      console.log(`${basename(outfile)} ${kb.toFixed(1)} kB`);
      total += kb;
    }
    if (total > LIMIT_KB) throw new Error(`The bundle is ${total.toFixed(1)} kB; the limit is ${LIMIT_KB} kB.`);
  }
}

async function serve() {
  const context = await esbuild.context({
    ...shared,
    entryPoints: {
      dev: here("dev/dev.ts"),
      widget: here("src/lab/lab.css"),
      "steer-page": here("dev/steer.ts"),
      steer: here("src/steer/steer.css"),
    },
    outdir: here("dev/built"),
    sourcemap: "inline",
    write: false,
  });
  const { port } = await context.serve({
    servedir: here("dev"),
    host: "127.0.0.1",
    port: Number(process.env.PORT ?? 8770),
  });
  console.log(`http://127.0.0.1:${port}/`);
}

if (process.argv.includes("--serve")) await serve();
else await build(here("../patchwidget/widget/static"));
