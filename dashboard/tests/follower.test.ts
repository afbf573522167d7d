import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { Follower } from "@/live/follower";
import type { FramePage } from "@/live/protocol";

import { eventually } from "./support/eventually";
import { frame, frames, Outbox } from "./support/frames";
import { TestServer } from "./support/server";

let outbox: Outbox;
let failing: boolean;
let asked: number[];
let seen: number[];
let live: number[];
let gaps: (number | null)[];
let begun: boolean[];
let follower: Follower;

beforeEach(() => {
  outbox = new Outbox();
  failing = false;
  asked = [];
  seen = [];
  live = [];
  gaps = [];
  begun = [];
  follower = new Follower(
    (after, limit) => {
      asked.push(after);
      return failing ? Promise.reject(new Error("away")) : Promise.resolve(outbox.page(after, limit));
    },
    {
      onBegin: (complete) => begun.push(complete),
      onFrames: (more, isLive) => {
        seen.push(...more.map(({ position }) => position));
        if (isLive) live.push(...more.map(({ position }) => position));
      },
      onGap: (missing) => gaps.push(missing),
      onCatchingUp: () => undefined,
    },
  );
});

afterEach(() => {
  vi.useRealTimers();
  follower.stop();
});

const upTo = (last: number, first = 1): number[] =>
  Array.from({ length: last - first + 1 }, (_, index) => first + index);

async function settled(last: number): Promise<void> {
  await eventually(() => {
    expect(seen.at(-1)).toBe(last);
  });
}

/** Follow a stream of ten frames from its beginning. */
async function begin(): Promise<void> {
  outbox.publish(...frames(1, 10));
  follower.receivePosition(10);
  await settled(10);
}

test("a page that was just opened looks back a little, and then follows", async () => {
  outbox.publish(...frames(1, 2000));
  follower.receivePosition(2000);
  await settled(2000);
  expect(seen).toEqual(upTo(2000, 1501));
  expect(begun).toEqual([false]);

  outbox.publish(frame(2001));
  follower.receiveFrames([frame(2001)]);
  expect(seen.at(-1)).toBe(2001);
  expect(live).toEqual([2001]);
  expect(gaps).toEqual([]);
});

test("frames that come before the position is known are not lost", async () => {
  outbox.publish(...frames(1, 4));
  follower.receiveFrames([frame(4)]);
  await settled(4);
  expect(seen).toEqual(upTo(4));
  expect(begun).toEqual([true]);
});

test("every position comes once and in order, however often and in whatever order it is sent", async () => {
  await begin();
  outbox.publish(...frames(11, 15));
  follower.receiveFrames([frame(12), frame(11), frame(10), frame(12)]);
  follower.receiveFrames([frame(14), frame(13), frame(11)]);
  follower.receiveFrames([frame(15), frame(14)]);
  await settled(15);
  expect(seen).toEqual(upTo(15));
});

test("a hole is filled from the API", async () => {
  await begin();
  outbox.publish(...frames(11, 20));
  follower.receiveFrames(frames(16, 20));
  await settled(20);
  expect(seen).toEqual(upTo(20));
  expect(asked.at(-1)).toBe(10);
});

test("what was missed while away is fetched after the next word from the server", async () => {
  await begin();
  outbox.publish(...frames(11, 1300));
  follower.receivePosition(1300);
  await settled(1300);
  expect(seen).toEqual(upTo(1300));
  expect(live).toEqual([]);
});

test("a page that was hidden for minutes of a busy stream catches up without a gap", async () => {
  const server = await TestServer.start();
  follower = new Follower(
    async (after, limit, signal) => {
      const answer = await fetch(`${server.url}/api/v1/frames?after=${after}&limit=${limit}`, { signal });
      return (await answer.json()) as FramePage;
    },
    {
      onBegin: () => undefined,
      onFrames: (more) => seen.push(...more.map(({ position }) => position)),
      onGap: (missing) => gaps.push(missing),
      onCatchingUp: () => undefined,
    },
  );
  server.outbox.publish(...frames(1, 10));
  follower.receivePosition(10);
  await settled(10);
  server.outbox.publish(...frames(11, 25_000));
  follower.receivePosition(25_000);
  await settled(25_000);
  expect(gaps).toEqual([]);
  expect(seen).toEqual(upTo(25_000));
  await server.stop();
});

test("frames that are kept no longer are told as a gap of their number", async () => {
  await begin();
  outbox.publish(...frames(11, 50));
  outbox.forgetBefore(31);
  follower.receivePosition(50);
  await settled(50);
  expect(gaps).toEqual([20]);
  expect(seen).toEqual([...upTo(10), ...upTo(50, 31)]);
});

test("a gap is told too when nothing at all is kept", async () => {
  await begin();
  outbox.publish(...frames(11, 50));
  outbox.forgetBefore(51);
  follower.receivePosition(50);
  await eventually(() => {
    expect(gaps).toEqual([40]);
  });
  outbox.publish(frame(51));
  follower.receiveFrames([frame(51)]);
  expect(seen.at(-1)).toBe(51);
});

test("a stream that began anew is followed from its own positions", async () => {
  await begin();
  outbox = new Outbox();
  outbox.publish(...frames(1, 3));
  follower.receivePosition(3);
  await eventually(() => {
    expect(gaps).toEqual([null]);
  });
  await settled(3);
  expect(seen).toEqual([...upTo(10), ...upTo(3)]);
});

test("a position that is only behind the times changes nothing", async () => {
  await begin();
  follower.receivePosition(7);
  await eventually(() => {
    expect(asked.at(-1)).toBe(10);
  });
  outbox.publish(frame(11));
  follower.receiveFrames([frame(11)]);
  await settled(11);
  expect(gaps).toEqual([]);
  expect(seen).toEqual(upTo(11));
});

test("an API that is away is asked again until it answers", async () => {
  await begin();
  vi.useFakeTimers();
  failing = true;
  outbox.publish(...frames(11, 12));
  follower.receiveFrames([frame(12)]);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(seen.at(-1)).toBe(10);

  failing = false;
  await vi.advanceTimersByTimeAsync(20_000);
  expect(seen).toEqual(upTo(12));
});

test("frames that the API does not know do not keep us waiting for ever", async () => {
  await begin();
  vi.useFakeTimers();
  follower.receiveFrames([frame(900)]);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(gaps).toEqual([null]);
  outbox.publish(frame(11));
  follower.receiveFrames([frame(11)]);
  expect(seen.at(-1)).toBe(11);
});

test("what was stopped in mid-question follows on once it is told of more", async () => {
  outbox.publish(...frames(1, 10));
  follower.receivePosition(10);
  follower.stop();
  follower.receivePosition(10);
  await settled(10);
  expect(seen).toEqual(upTo(10));
});

test("a long outage leaves nothing behind at its signal", async () => {
  vi.useFakeTimers();
  const add = vi.spyOn(AbortSignal.prototype, "addEventListener");
  const remove = vi.spyOn(AbortSignal.prototype, "removeEventListener");
  failing = true;
  follower.receivePosition(10);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(add.mock.calls.length).toBeGreaterThan(3);
  expect(add.mock.calls.length - remove.mock.calls.length).toBe(1);
});
