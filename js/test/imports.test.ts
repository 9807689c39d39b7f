// @vitest-environment node
/** Imports go one way, make no circles, and keep the widgets apart: the rules in biome.json, on a tree that breaks them. */
import { spawnSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";

const BIOME = join(import.meta.dirname, "../node_modules/.bin/biome");
const RULES = join(import.meta.dirname, "../biome.json");

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "imports-"));
  cpSync(RULES, join(root, "biome.json"));
});
afterEach(() => rmSync(root, { recursive: true }));

function plant(file: string, text: string) {
  mkdirSync(dirname(join(root, "src", file)), { recursive: true });
  writeFileSync(join(root, "src", file), text);
}

function lint() {
  const done = spawnSync(BIOME, ["lint", "--reporter=json", "src"], { cwd: root, encoding: "utf8" });
  const { diagnostics } = JSON.parse(done.stdout) as { diagnostics: { category: string; severity: string }[] };
  return diagnostics.filter(({ severity }) => severity === "error").map(({ category }) => category.split("/").at(-1));
}

it.each([
  ["transport/a.ts", "../dom/b"],
  ["transport/a.ts", "../grid/b"],
  ["transport/a.ts", "../lab/b"],
  ["transport/a.ts", "../steer/view/b"],
  ["text/a.ts", "../dom/b"],
  ["dom/a.ts", "../lab/b"],
  ["grid/a.ts", "../steer/b"],
  ["export/a.ts", "../lab/b"],
  ["lab/view/a.ts", "../../steer/b"],
  ["steer/a.ts", "../lab/b"],
  ["steer/view/a.ts", "../../lab/view/b"],
])("%s does not import %s", (file, path) => {
  plant(file, `import type { B } from "${path}";\nexport type A = B;\n`);
  expect(lint()).toEqual(["noRestrictedImports"]);
});

it.each([
  ["lab/view/a.ts", "../../dom/b"],
  ["steer/a.ts", "../transport/b"],
  ["grid/a.ts", "./lab"],
])("%s may import %s", (file, path) => {
  plant(file, `import type { B } from "${path}";\nexport type A = B;\n`);
  expect(lint()).toEqual([]);
});

it("a circle is an error, of types too", () => {
  plant("lab/a.ts", 'import type { B } from "./b";\nexport type A = B | 1;\n');
  plant("lab/b.ts", 'import type { A } from "./a";\nexport type B = A | 2;\n');
  expect(lint()).toEqual(["noImportCycles", "noImportCycles"]);
});

it("every folder of src has its rule", () => {
  const { overrides } = JSON.parse(readFileSync(RULES, "utf8")) as { overrides: { includes: string[] }[] };
  const folders = readdirSync(join(import.meta.dirname, "../src")).map((folder) => `src/${folder}/**`);
  expect(overrides.flatMap(({ includes }) => includes).sort()).toEqual(folders.sort());
});
