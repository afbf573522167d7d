import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { Follower } from "@/live/follower";
import type { FramePage } from "@/live/protocol";

import { eventually } from "./support/eventually";
import { frame, frames, Outbox } from "./support/frames";
import { TestServer } from "./support/server";

let outbox: Outbox;
let failing: boolean;
let requests: number[];
let positions: number[];
let live: number[];
let gaps: (number | null)[];
let begun: boolean[];
let follower: Follower;

beforeEach(() => {
  outbox = new Outbox();
  failing = false;
  requests = [];
  positions = [];
  live = [];
  gaps = [];
  begun = [];
  follower = new Follower(
    (after, limit) => {
      requests.push(after);
      return failing ? Promise.reject(new Error("away")) : Promise.resolve(outbox.page(after, limit));
    },
    {
      onBegin: (complete) => begun.push(complete),
      onFrames: (more, isLive) => {
        positions.push(...more.map(({ position }) => position));
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
    expect(positions.at(-1)).toBe(last);
  });
}

/** Follow a stream of ten frames from its beginning. */
async function begin(): Promise<void> {
  outbox.publish(...frames(1, 10));
  follower.receivePosition(10);
  await settled(10);
}

test("a newly opened page fetches some earlier frames, and then follows", async () => {
  outbox.publish(...frames(1, 2000));
  follower.receivePosition(2000);
  await settled(2000);
  expect(positions).toEqual(upTo(2000, 1501));
  expect(begun).toEqual([false]);

  outbox.publish(frame(2001));
  follower.receiveFrames([frame(2001)]);
  expect(positions.at(-1)).toBe(2001);
  expect(live).toEqual([2001]);
  expect(gaps).toEqual([]);
});

test("frames that arrive before the position is known are not lost", async () => {
  outbox.publish(...frames(1, 4));
  follower.receiveFrames([frame(4)]);
  await settled(4);
  expect(positions).toEqual(upTo(4));
  expect(begun).toEqual([true]);
});

test("every position is delivered once and in order, whatever the order of arrival", async () => {
  await begin();
  outbox.publish(...frames(11, 15));
  follower.receiveFrames([frame(12), frame(11), frame(10), frame(12)]);
  follower.receiveFrames([frame(14), frame(13), frame(11)]);
  follower.receiveFrames([frame(15), frame(14)]);
  await settled(15);
  expect(positions).toEqual(upTo(15));
});

test("the follower fetches missing frames from the API", async () => {
  await begin();
  outbox.publish(...frames(11, 20));
  follower.receiveFrames(frames(16, 20));
  await settled(20);
  expect(positions).toEqual(upTo(20));
  expect(requests.at(-1)).toBe(10);
});

test("frames that were missed while disconnected are fetched after the server's next position", async () => {
  await begin();
  outbox.publish(...frames(11, 1300));
  follower.receivePosition(1300);
  await settled(1300);
  expect(positions).toEqual(upTo(1300));
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
      onFrames: (more) => positions.push(...more.map(({ position }) => position)),
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
  expect(positions).toEqual(upTo(25_000));
  await server.stop();
});

test("frames that the API no longer has are reported as a gap of their number", async () => {
  await begin();
  outbox.publish(...frames(11, 50));
  outbox.deleteBefore(31);
  follower.receivePosition(50);
  await settled(50);
  expect(gaps).toEqual([20]);
  expect(positions).toEqual([...upTo(10), ...upTo(50, 31)]);
});

test("a gap is reported even if the API has no frames at all", async () => {
  await begin();
  outbox.publish(...frames(11, 50));
  outbox.deleteBefore(51);
  follower.receivePosition(50);
  await eventually(() => {
    expect(gaps).toEqual([40]);
  });
  outbox.publish(frame(51));
  follower.receiveFrames([frame(51)]);
  expect(positions.at(-1)).toBe(51);
});

test("a restarted stream is followed from its own positions", async () => {
  await begin();
  outbox = new Outbox();
  outbox.publish(...frames(1, 3));
  follower.receivePosition(3);
  await eventually(() => {
    expect(gaps).toEqual([null]);
  });
  await settled(3);
  expect(positions).toEqual([...upTo(10), ...upTo(3)]);
});

test("an outdated position changes nothing", async () => {
  await begin();
  follower.receivePosition(7);
  await eventually(() => {
    expect(requests.at(-1)).toBe(10);
  });
  outbox.publish(frame(11));
  follower.receiveFrames([frame(11)]);
  await settled(11);
  expect(gaps).toEqual([]);
  expect(positions).toEqual(upTo(11));
});

test("the follower retries an unavailable API until it responds", async () => {
  await begin();
  vi.useFakeTimers();
  failing = true;
  outbox.publish(...frames(11, 12));
  follower.receiveFrames([frame(12)]);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(positions.at(-1)).toBe(10);

  failing = false;
  await vi.advanceTimersByTimeAsync(20_000);
  expect(positions).toEqual(upTo(12));
});

test("the follower does not wait forever for frames that the API does not know", async () => {
  await begin();
  vi.useFakeTimers();
  follower.receiveFrames([frame(900)]);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(gaps).toEqual([null]);
  outbox.publish(frame(11));
  follower.receiveFrames([frame(11)]);
  expect(positions.at(-1)).toBe(11);
});

test("a follower that was stopped during a request resumes with the next position", async () => {
  outbox.publish(...frames(1, 10));
  follower.receivePosition(10);
  follower.stop();
  follower.receivePosition(10);
  await settled(10);
  expect(positions).toEqual(upTo(10));
});

test("a long outage leaves no listener on its signal", async () => {
  vi.useFakeTimers();
  const add = vi.spyOn(AbortSignal.prototype, "addEventListener");
  const remove = vi.spyOn(AbortSignal.prototype, "removeEventListener");
  failing = true;
  follower.receivePosition(10);
  await vi.advanceTimersByTimeAsync(60_000);
  expect(add.mock.calls.length).toBeGreaterThan(3);
  expect(add.mock.calls.length - remove.mock.calls.length).toBe(1);
});
