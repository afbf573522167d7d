import { afterEach, beforeEach, expect, test } from "vitest";

import type { Message } from "@/live/protocol";
import { LiveSocket, retryDelay, TIMING, type SocketState } from "@/live/socket";

import { eventually } from "./support/eventually";
import { frames } from "./support/frames";
import { TestServer } from "./support/server";

const QUICK = { pingMs: 60, timeoutMs: 3000, minDelayMs: 20, maxDelayMs: 80 };

let server: TestServer;
let socket: LiveSocket;
let states: SocketState[];
let messages: Message[];

const phases = (): string[] => states.map(({ phase }) => phase);

beforeEach(async () => {
  server = await TestServer.start();
  states = [];
  messages = [];
  socket = new LiveSocket(
    () => Promise.resolve(server.wsUrl),
    { onState: (state) => states.push(state), onMessage: (message) => messages.push(message) },
    QUICK,
  );
});

afterEach(async () => {
  socket.close();
  await server.stop();
});

test("a connection pings at once and regularly, and delivers messages", async () => {
  server.outbox.publish(...frames(1, 7));
  socket.open();

  await eventually(() => {
    expect(server.received.length).toBeGreaterThan(1);
  });
  server.publish(...frames(8, 9));
  await eventually(() => {
    expect(messages.map(({ type }) => type)).toContain("frames");
  });
  expect(messages.slice(0, 2)).toEqual([
    { type: "hello", position: 7 },
    { type: "pong", position: 7 },
  ]);
  expect(server.received[0]).toBe('{"type":"ping"}');
  expect(phases()).toEqual(["connecting", "open"]);
});

test("a lost connection reports the next attempt, and reconnects", async () => {
  socket.open();
  await eventually(() => {
    expect(phases()).toContain("open");
  });
  server.kick();

  await eventually(() => {
    expect(phases()).toEqual(["connecting", "open", "waiting", "connecting", "open"]);
  });
});

test("the delay grows while the server is unavailable", async () => {
  await server.stop();
  socket.open();
  await eventually(() => {
    expect(phases().filter((phase) => phase === "waiting").length).toBeGreaterThan(3);
  });
  const delays = states.flatMap((state) => (state.phase === "waiting" ? [state.delay] : []));
  expect(delays[3]).toBeGreaterThan(delays[0] ?? Infinity);

  await server.start();
  await eventually(() => {
    expect(phases().at(-1)).toBe("open");
  });
});

test("a silent connection is replaced", async () => {
  server.greets = server.answersPings = false;
  socket.open();

  await eventually(() => {
    expect(phases()).toContain("waiting");
  });
});

test("unknown messages are ignored", async () => {
  socket.open();
  await eventually(() => {
    expect(messages.length).toBeGreaterThanOrEqual(2);
  });
  for (const odd of [null, 1, {}, { message: "Forbidden" }, { type: "frames" }, { type: "hello" }]) server.send(odd);
  server.publish(...frames(1, 1));
  await eventually(() => {
    expect(messages.map(({ type }) => type)).toContain("frames");
  });
  expect(new Set(messages.map(({ type }) => type))).toEqual(new Set(["hello", "pong", "frames"]));
});

test("a frame that is too large for a message is delivered as its position", async () => {
  socket.open();
  await eventually(() => {
    expect(messages.length).toBeGreaterThanOrEqual(2);
  });
  server.send({ type: "position", position: 8 });
  await eventually(() => {
    expect(messages).toContainEqual({ type: "position", position: 8 });
  });
});

test("waking checks the connection at once", async () => {
  socket.close();
  socket = new LiveSocket(
    () => Promise.resolve(server.wsUrl),
    { onState: (state) => states.push(state), onMessage: (message) => messages.push(message) },
    { ...QUICK, pingMs: 60_000 },
  );
  socket.open();
  await eventually(() => {
    expect(messages).toHaveLength(2);
  });
  server.answersPings = false; // as after a long sleep: the connection looks open, and nobody is there
  socket.wake();
  await eventually(() => {
    expect(phases()).toContain("waiting");
  });
});

test("a closed socket stays closed", async () => {
  socket.open();
  await eventually(() => {
    expect(phases()).toContain("open");
  });
  socket.close();
  server.kick();
  await new Promise((resolve) => setTimeout(resolve, 3 * QUICK.maxDelayMs));
  expect(phases()).toEqual(["connecting", "open"]);
});

test("the delay doubles up to a limit, and its upper half is random", () => {
  expect([0, 1, 2, 20].map((attempt) => retryDelay(attempt, TIMING, () => 1))).toEqual([500, 1000, 2000, 30_000]);
  expect(retryDelay(0, TIMING, () => 0)).toBe(250);
});
