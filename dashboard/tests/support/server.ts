/** A fake Helios: the API and its live stream on a real port. It can be stopped and restarted. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import { WebSocketServer, type WebSocket } from "ws";

import type { FlowDeclaration, FlowInstance } from "@/api/flows";
import type { Schemas } from "@/api/http";

import { sources, type SourceInfo } from "@/lib/sources";

import { details, summary } from "./flows";
import { Replays } from "./replay";
import { Recoveries } from "./recoveries";
import { Resolutions } from "./resolutions";
import { Rules } from "./rules";
import { Outbox } from "./frames";
import type { Frame } from "@/live/protocol";

export class TestServer {
  readonly outbox = new Outbox();
  readonly received: string[] = [];
  /** The bounds of the last request for flows. */
  flowBounds: (string | null)[] = [];
  events: Schemas["Event"][] = [];
  minutes: Schemas["MinuteCount"][] = [];
  sources: readonly SourceInfo[] = sources();
  stats: Schemas["Stats"] = {
    position: 0,
    total_events: 0,
    events_by_source: { aws: 0, gcp: 0, azure: 0 },
    last_24h: 0,
    duplicates: 0,
    contradictory: 0,
    rejected: 0,
    health: { database: "healthy", redis: "healthy", kafka: "disabled", log: "disabled", projector: "disabled", archive: "disabled" },
  };
  flows: FlowInstance[] = [];
  /** The open incidents; an action answers with the first one, changed as the body says. */
  incidents: Schemas["Incident"][] = [];
  balances: Schemas["Balance"][] = [];
  /** The most rows in a response. */
  page = 50;
  flowSummary = summary();
  declarations: FlowDeclaration[] = [];
  readonly replays = new Replays();
  readonly recoveries = new Recoveries();
  readonly resolutions = new Resolutions();
  workload: Schemas["Workload"][] = [];
  readonly rules = new Rules();
  /** The query strings of all requests for events. */
  readonly eventQueries: string[] = [];
  /** Paths that respond with 503. */
  readonly broken = new Set<string>();
  /** Whether the server sends hello on connect, as the API does; API Gateway does not. */
  greets = true;
  answersPings = true;
  /** The token that the API requires; null: none. */
  token: string | null = null;
  private readonly tickets = new Set<string>();
  port = 0;
  connections = 0;
  private http: Server | null = null;
  private sockets: WebSocketServer | null = null;

  static async start(): Promise<TestServer> {
    const server = new TestServer();
    await server.start();
    return server;
  }

  async start(): Promise<void> {
    const http = createServer((request, response) => {
      void this.answer(request, response);
    });
    this.sockets = new WebSocketServer({ server: http });
    this.sockets.on("connection", (socket, request) => {
      const ticket = new URL(request.url ?? "/", this.url).searchParams.get("ticket");
      if (this.token && !(ticket && this.tickets.delete(ticket))) socket.close(1008);
      else this.greet(socket);
    });
    await new Promise<void>((resolve) => http.listen(this.port, "127.0.0.1", resolve));
    this.http = http;
    this.port = (http.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    this.kick();
    this.sockets?.close();
    this.http?.closeAllConnections();
    await new Promise((resolve) => this.http?.close(resolve));
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get wsUrl(): string {
    return `ws://127.0.0.1:${this.port}/api/v1/ws/events`;
  }

  /** Ends every connection at once, as a killed server does. */
  kick(): void {
    for (const socket of this.sockets?.clients ?? []) socket.terminate();
  }

  send(message: unknown): void {
    for (const socket of this.sockets?.clients ?? []) socket.send(JSON.stringify(message));
  }

  /** Stores frames and sends them to all connections. */
  publish(...frames: Frame[]): void {
    this.outbox.publish(...frames);
    this.send({ type: "frames", frames });
  }

  private greet(socket: WebSocket): void {
    this.connections++;
    if (this.greets) socket.send(JSON.stringify({ type: "hello", position: this.outbox.position }));
    socket.on("message", (data: Buffer) => {
      this.received.push(data.toString());
      if (this.answersPings) socket.send(JSON.stringify({ type: "pong", position: this.outbox.position }));
    });
  }

  private async answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? "/", this.url);
    const allowed = { "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Headers": "authorization, content-type" };
    const open = !this.token || request.method === "OPTIONS" || request.headers.authorization === `Bearer ${this.token}`;
    const body = await textOf(request);
    const [status, payload] = open ? this.route(request.method ?? "", url, body) : [401, { detail: "Unknown token." }];
    response.writeHead(status, { "Content-Type": "application/json", ...allowed });
    response.end(typeof payload === "string" ? payload : JSON.stringify(payload));
  }

  /** The orders of an incident, or the incident after an action. */
  private answerIncident(id: number, what: string | undefined, body: string): [number, unknown] {
    if (what === "instances") return [200, { items: this.flows, next_cursor: null }];
    if (what !== "acknowledge" && what !== "assign") return [404, { detail: "unknown" }];
    const change = what === "assign" ? (JSON.parse(body) as Schemas["Assign"]) : { acknowledged_by: "kim" };
    this.incidents = this.incidents.map((one) => (one.id === id ? { ...one, ...change } : one));
    return [200, this.incidents.find((one) => one.id === id)];
  }

  private route(method: string, url: URL, body: string): [number, unknown] {
    return (
      this.replays.answer(method, url, body) ??
      this.resolutions.answer(method, url, body, this.flows) ??
      this.rules.answer(method, url, body) ??
      this.recoveries.answer(method, url, body, this.flows) ??
      this.find(url, body)
    );
  }

  private find({ pathname, searchParams }: URL, body: string): [number, unknown] {
    if (this.broken.has(pathname)) return [503, { detail: "The database is away" }];
    switch (pathname) {
      case "/api/v1/ws/tickets": {
        const ticket = `ticket-${this.tickets.size}`;
        this.tickets.add(ticket);
        return [201, { ticket, expires_in: 30 }];
      }
      case "/api/v1/flows/workload":
        return [200, this.workload];
      case "/api/v1/sources":
        return [200, this.sources];
      case "/api/v1/stats":
        return [200, this.stats];
      case "/api/v1/health/detailed": {
        const { health } = this.stats;
        return [200, { status: "healthy", ...health, uptime: 60, timestamp: new Date().toISOString(), reasons: {} }];
      }
      case "/api/v1/counts":
        return [200, { since: searchParams.get("since"), until: new Date().toISOString(), minutes: this.minutes }];
      case "/api/v1/frames":
        return [200, this.outbox.page(Number(searchParams.get("after")), Number(searchParams.get("limit")))];
      case "/api/v1/events": {
        const order = searchParams.get("order_id");
        this.eventQueries.push(searchParams.toString());
        return [200, { items: this.events.filter((one) => !order || one.order_id === order), next_cursor: null }];
      }
      case "/api/v1/flows":
        return [200, this.findFlows(searchParams)];
      case "/api/v1/incidents":
        return [200, { items: this.incidents, next_cursor: null }];
      case "/api/v1/balances": {
        const state = searchParams.get("state");
        return [200, { items: this.balances.filter((each) => !state || each.state === state), next_cursor: null }];
      }
      case "/api/v1/flows/summary":
        return [200, this.flowSummary];
      case "/api/v1/flows/declarations":
        return [200, this.declarations];
      default: {
        const [, incident, what] = /^\/api\/v1\/incidents\/(\d+)\/(\w+)$/.exec(pathname) ?? [];
        if (incident) return this.answerIncident(Number(incident), what, body);
        const flow = this.flows.find((one) => pathname === `/api/v1/flows/${one.flow}/${one.key}`);
        if (flow) return [200, { ...details(flow), events: this.events.filter((one) => one.order_id === flow.key) }];
        const producer = searchParams.get("producer") ?? "";
        const event = this.events.find(
          (one) => pathname === `/api/v1/events/${one.source}/${one.id}` && producer === one.producer,
        );
        return event ? [200, event] : [404, { detail: `No event has this id` }];
      }
    }
  }

  private findFlows(query: URLSearchParams): { items: FlowInstance[]; next_cursor: string | null } {
    const statuses = query.getAll("status");
    this.flowBounds = [query.get("since"), query.get("until")];
    const [issue, key, assignee] = [query.get("issue"), query.get("key"), query.get("assignee")];
    const matches = this.flows.filter(
      (one) =>
        (statuses.length === 0 || statuses.includes(one.status)) &&
        (issue === null || one.issues.some(({ kind }) => kind === issue)) &&
        (key === null || one.key.startsWith(key)) &&
        (assignee === null || one.resolution?.assignee === assignee),
    );
    const start = Number(query.get("after") ?? 0);
    const end = start + this.page;
    return { items: matches.slice(start, end), next_cursor: end < matches.length ? String(end) : null };
  }
}

async function textOf(request: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  for await (const part of request) parts.push(part as Buffer);
  return Buffer.concat(parts).toString();
}
