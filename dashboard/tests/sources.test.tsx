import { render, screen } from "@testing-library/react";
import { afterEach, expect, test } from "vitest";

import { dashesOf } from "@/features/charts/styles";
import { isCloud, isSource, setSources, sourceName, sources, type SourceInfo } from "@/lib/sources";
import { colorsOf, SourceBadge } from "@/ui/source-mark";

const CLOUDS = sources();
const DECLARED: SourceInfo[] = [
  { name: "stripe", label: "Stripe", colour: "pink", shape: "square", built_in: false },
  { name: "warehouse-eu", label: "Warehouse in the EU", colour: "blue", shape: "hexagon", built_in: false },
];

afterEach(() => {
  setSources(CLOUDS);
});

test("a source has its label, its colour and its shape", () => {
  setSources([...CLOUDS, ...DECLARED]);
  const { container } = render(<SourceBadge source="warehouse-eu" />);

  expect(screen.getByText("Warehouse in the EU")).toBeVisible();
  expect(colorsOf("warehouse-eu").fill).toBe("var(--color-blue)");
  expect(container.querySelector("svg path")).not.toBeNull();
});

test("a source that is no longer declared keeps its name, in grey", () => {
  render(<SourceBadge source="paypal" />);

  expect(screen.getByText("paypal")).toBeVisible();
  expect(colorsOf("paypal").line).toBe("var(--color-slate-line)");
});

test("every source has a stroke of its own in the charts", () => {
  setSources([...CLOUDS, ...DECLARED]);
  const dashes = sources().map(({ name }) => dashesOf(name));

  expect(new Set(dashes).size).toBe(5);
});

test("names of sources are recognised, and only clouds have a topic", () => {
  expect(["aws", "stripe", "warehouse-eu", "unknown", "No name", null].map(isSource)).toEqual([true, true, true, false, false, false]);
  expect(["aws", "stripe", null].map(isCloud)).toEqual([true, false, false]);
  expect([sourceName("gcp"), sourceName("paypal"), sourceName(null)]).toEqual(["GCP", "paypal", "any source"]);
});
