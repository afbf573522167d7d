import { expect, test } from "vitest";

import { asCurl } from "@/features/event-details/api";
import { points, STEP_SECONDS } from "@/features/charts/throughput-data";
import { addUp } from "@/features/stats/api";
import { partLines, sourceLines, streamLine } from "@/features/health/wording";
import { csvLine, csvRows } from "@/lib/csv";
import { age, amount, duration, percent, span, tick } from "@/lib/format";
import { indent, member } from "@/lib/json-text";
import { sources } from "@/lib/sources";
import { WINDOW_SECONDS, Throughput } from "@/live/throughput";

const perSource = <T,>(make: () => T): Record<string, T> => Object.fromEntries(sources().map(({ name }) => [name, make()]));

test("an amount keeps all its digits", () => {
  expect(["0.10", "1234567.80", "-1000", "123456789012345678901234.5678", "1E+3"].map(amount)).toEqual([
    "0.10",
    "1,234,567.80",
    "-1,000",
    "123,456,789,012,345,678,901,234.5678",
    "1E+3",
  ]);
});

test("times use the unit that fits", () => {
  const ages = [-5, 900, 59_000, 60_000, 7_200_000, 200_000_000].map(age);
  expect(ages).toEqual(["now", "now", "59 s", "1 min", "2 h", "2 d"]);
  expect([3.4, 999, 1500, 61_000].map(duration)).toEqual(["3 ms", "999 ms", "1.5 s", "1 min"]);
  expect([900, 59_600, 64_000, 120_000, 7_200_000].map(span)).toEqual(["900 ms", "59.6 s", "1 min 4 s", "2 min", "2 h"]);
  expect(percent(1, 0)).toBe("–");
});

test("the ticks of an axis differ at any rate", () => {
  expect([0, 0.035, 0.07, 0.105].map(tick)).toEqual(["0", "0.035", "0.07", "0.105"]);
  expect([0, 450, 900, 1350].map(tick)).toEqual(["0", "450", "900", "1.35K"]);
});

test("JSON is indented without a change to its values", () => {
  const text = '{"b":10.00,"a":[1,{"c":"x, {y}: \\"z\\""}],"n":12345678901234567890,"e":{},"f":[]}';
  expect(indent(text)).toBe(
    [
      "{",
      '  "b": 10.00,',
      '  "a": [',
      "    1,",
      "    {",
      '      "c": "x, {y}: \\"z\\""',
      "    }",
      "  ],",
      '  "n": 12345678901234567890,',
      '  "e": {},',
      '  "f": []',
      "}",
    ].join("\n"),
  );
});

test("only a top-level member is found, with its original text", () => {
  const text = '{"x":{"data":1},"data": {"amount":10.00, "s":"}"} ,"y":"data"}';
  expect(member(text, "data")).toBe('{"amount":10.00, "s":"}"}');
  expect(member(text, "y")).toBe('"data"');
  expect(member(text, "none")).toBeNull();
  expect(member('{"data":[1,2]}', "data")).toBe("[1,2]");
});

test("a curl command escapes quotes in an ID", () => {
  expect(asCurl("http://a/it's")).toBe("curl --fail-with-body 'http://a/it'\\''s'");
});

const NONE = { duplicate: 0, contradictory: 0, rejected: 0 };

test("the ring buffer drops seconds older than 15 minutes", () => {
  const throughput = new Throughput();
  throughput.add(1000, "aws", 3);
  throughput.add(1000 + WINDOW_SECONDS, "gcp", 5);
  throughput.add(1000, "aws", 9); // older than the window
  const series = throughput.series(1000 + WINDOW_SECONDS, 0);
  expect(series.aws?.reduce((sum, value) => sum + value)).toBe(0);
  expect(series.gcp?.at(-1)).toBe(5);
  expect(series.gcp).toHaveLength(WINDOW_SECONDS);
});

test("an unwatched second has the mean of its minute, and every minute has the sum that the API reports", () => {
  const throughput = new Throughput();
  const watched = 6030; // half a minute into its minute
  const at = (second: number): string => new Date(second * 1000).toISOString();
  const minute = (start: number, stored: number) => ({ minute: at(start), source: "aws" as const, stored, ...NONE });
  throughput.add(watched, "aws", 4);
  throughput.add(watched + 29, "aws", 6);
  throughput.add(watched + 35, "aws", 5); // after the request for the minutes, in the next minute
  expect(throughput.knownSince(watched)).toBe(watched);
  throughput.setMinutes({ since: at(5100), until: at(watched + 33), minutes: [minute(5940, 120), minute(6000, 100)] });

  const { aws = [] } = throughput.series(watched + 40, watched);
  const from = (second: number, seconds: number): number[] => aws.slice(-41).slice(second).slice(0, seconds);
  expect(throughput.knownSince(watched)).toBe(5100);
  expect(from(0, 1)).toEqual([4]);
  expect(from(35, 1)).toEqual([5]);
  const before = aws.slice(0, -41);
  expect(before.slice(-30)).toEqual(Array.from({ length: 30 }, () => 3));
  expect(before.slice(-90, -30)).toEqual(Array.from({ length: 60 }, () => 2));
  expect(before.slice(0, -90).every((value) => value === 0)).toBe(true);
});

test("minute counts from before the first frame leave the time in between unknown", () => {
  const throughput = new Throughput();
  const at = (second: number): string => new Date(second * 1000).toISOString();
  throughput.setMinutes({ since: at(5100), until: at(6000), minutes: [] });
  expect(throughput.knownSince(6001)).toBe(6001);
});

test("the chart shows rates for whole steps, and nothing where data is missing", () => {
  const second = 90_000 * STEP_SECONDS - 1;
  const pulse = {
    second,
    series: perSource(() => Array.from({ length: WINDOW_SECONDS }, () => 2)),
    since: second + 1 - 3 * STEP_SECONDS,
    sources: perSource(() => ({ lastReceivedAt: null, lag: null, watermark: null, coarse: false })),
    types: [],
  };
  const data = points(pulse);
  expect(data).toHaveLength(WINDOW_SECONDS / STEP_SECONDS);
  expect(data.at(-1)).toEqual({ at: (second + 1) * 1000, rates: { aws: 2, gcp: 2, azure: 2 } });
  expect(data.filter(({ rates }) => rates !== null)).toHaveLength(3);
});

test("the totals are the API's counts plus those of the stream", () => {
  const stats = {
    position: 7,
    total_events: 10,
    events_by_source: { aws: 5, gcp: 3, azure: 2 },
    last_24h: 4,
    duplicates: 1,
    contradictory: 0,
    rejected: 2,
    health: { database: "healthy", redis: "healthy", kafka: "disabled", log: "disabled", projector: "disabled", archive: "disabled" },
  } as const;
  const before = { position: 7, stored: { aws: 100, gcp: 0, azure: 0 }, duplicate: 3, contradictory: 0, rejected: 0 };
  const now = { position: 9, stored: { aws: 101, gcp: 2, azure: 0 }, duplicate: 4, contradictory: 0, rejected: 0 };
  expect(addUp(stats, before, now)).toEqual({
    stored: { aws: 6, gcp: 5, azure: 2 },
    total: 13,
    last24h: 7,
    duplicate: 2,
    contradictory: 0,
    rejected: 2,
  });
});

test("health names each problem and its effect", () => {
  const health = {
    status: "degraded",
    database: "healthy",
    redis: "unhealthy",
    kafka: "disabled",
    log: "disabled",
    projector: "disabled",
    archive: "disabled",
    uptime: 1,
    timestamp: "",
    reasons: { redis: "Connection refused" },
  } as const;
  const [database, redis, kafka] = partLines(health, null);
  expect(database).toMatchObject({ tone: "good", state: "Healthy" });
  expect(redis).toMatchObject({ tone: "warn", state: "Unavailable" });
  expect(redis?.detail).toContain("slower, but as exact. Error: Connection refused");
  expect(kafka).toMatchObject({ tone: "off", state: "Not in use" });
  expect(partLines(health, null)).toHaveLength(3); // no line for a log that is not in use
  const [, , , log] = partLines({ ...health, log: "unhealthy", reasons: { log: "No broker" } }, null);
  expect(log).toMatchObject({ name: "Log", tone: "bad", state: "Unavailable" });
  const [, , , archive] = partLines({ ...health, archive: "unhealthy", reasons: { archive: "51 hours ago" } }, null);
  expect(archive).toMatchObject({ name: "Archive", tone: "warn", state: "Unavailable" });
  expect(partLines(undefined, new Error("not reachable"))).toMatchObject([{ name: "API", detail: "not reachable" }]);
});

test("a disconnected stream shows when it reconnects", () => {
  expect(streamLine({ phase: "waiting", retryAt: 12_300 }, 10_000).detail).toContain("Next attempt in 3 s");
});

test("a silent source is reported after a minute", () => {
  const lag = (p50: number): { p50: number; p95: number; p99: number } => ({ p50, p95: 2 * p50, p99: 4 * p50 });
  const pulses = {
    ...perSource(() => ({ lastReceivedAt: 1_000_000, lag: lag(320), watermark: 999_680, coarse: false })),
    aws: { lastReceivedAt: 1_000_000, lag: lag(320), watermark: 999_000, coarse: true },
    azure: { lastReceivedAt: 800_000, lag: lag(20), watermark: 799_980, coarse: false },
  };
  const pulse = { second: 1000, series: perSource(() => []), since: 0, sources: pulses, types: [] };
  expect(sourceLines(pulse, 1_001_000).map(({ state }) => state)).toEqual([
    "less than 1 s behind",
    "320 ms behind",
    "Silent for 3 min",
  ]);
  expect(sourceLines(pulse, 1_001_000).map(({ detail }) => detail)).toEqual([
    expect.stringMatching(/^p95 less than 1 s, p99 1\.3 s; events up to \d\d:16:39$/),
    expect.stringMatching(/^p95 640 ms, p99 1\.3 s; events up to \d\d:16:39$/),
    expect.stringMatching(/^Its last events were 20 ms behind; p95 40 ms, p99 80 ms; events up to \d\d:13:19\.$/),
  ]);
  expect(sourceLines(null, 0).map(({ state }) => state)).toEqual(Array(3).fill("No events"));
});

test("a line of CSV has quotes where it needs them, and no cell that a spreadsheet evaluates", () => {
  expect(csvLine(["a", null, 1, "-2.50", "say, \"x\"", "two\nlines"])).toBe('a,,1,-2.50,"say, ""x""","two\nlines"\n');
  expect(csvLine(["=1+1", "+x", "-x", "@x", "\tx", "\rx"])).toBe("'=1+1,'+x,'-x,'@x,'\tx,\"'\rx\"\n");
});

test("the rows of a CSV file have the values that were written, and the line on which each begins", () => {
  const written = [["a", "", "1"], ["say, \"x\"", "two\nlines", "=1+1"], ["-2.50", "'quoted'", "x"]];
  expect(csvRows(written.map(csvLine).join("")).map(({ values }) => values)).toEqual(written);
  expect(csvRows('\uFEFFa,b\r\n"1\n2",\r\n\r\nc,d')).toEqual([
    { line: 1, values: ["a", "b"] },
    { line: 2, values: ["1\n2", ""] },
    { line: 5, values: ["c", "d"] },
  ]);
  expect(csvRows("")).toEqual([]);
});
