import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, describe, expect, it } from "vitest";

const SCRIPT = join(import.meta.dirname, "../scripts/cycles.mjs");

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "helios-cycles-"));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

function check(modules: Record<string, string>): { status: number | null; errors: string } {
  for (const [name, text] of Object.entries(modules)) writeFileSync(join(folder, name), text);
  const { status, stderr } = spawnSync(process.execPath, [SCRIPT, folder], { encoding: "utf8" });
  return { status, errors: stderr };
}

describe("the check for import cycles", () => {
  it("names the modules of a cycle, whatever form the imports have", () => {
    const modules = {
      "a.ts": 'import type { B } from "@/b";',
      "b.tsx": 'export { c } from "./c";',
      "c.ts": 'void import("./a");',
    };

    expect(check(modules)).toEqual({ status: 1, errors: "import cycle: a.ts -> b.tsx -> c.ts -> a.ts\n" });
  });

  it("takes modules that share one", () => {
    const modules = { "a.ts": 'import "./b"; import "./c";', "b.ts": 'import "./c";', "c.ts": 'import "react";' };

    expect(check(modules)).toEqual({ status: 0, errors: "" });
  });
});
