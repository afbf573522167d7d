/** Types and requests for replaying stored events or dead letters. */
import { apiUrl, ApiError, post, type Schemas } from "./http";

export type ReplayJob = Schemas["ReplayJob"];
export type ReplayRequest = Schemas["ReplayRequest"];
export type ReplayTarget = Schemas["Target"];
export type Matching = Schemas["Matching"];

/** The key of all queries for replay jobs. */
export const REPLAYS = ["replays"] as const;

/** What a job would send. This request sends nothing. */
export const preview = (request: ReplayRequest, signal: AbortSignal): Promise<Matching> =>
  post<Matching>(apiUrl("/api/v1/replays"), signal, { ...request, dry_run: true });

export const start = (request: ReplayRequest): Promise<ReplayJob> =>
  post<ReplayJob>(apiUrl("/api/v1/replays"), undefined, request);

export const cancel = (id: number): Promise<ReplayJob> => post<ReplayJob>(apiUrl(`/api/v1/replays/${id}/cancel`));

/** Whether the API would accept the request with another token. */
export const isForbidden = (error: unknown): boolean => error instanceof ApiError && error.status === 403;
