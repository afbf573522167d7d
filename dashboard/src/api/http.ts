/** The HTTP client of the API, and its error type. */
import { API_URL } from "@/config";

import { useAccess } from "./access";
import type { components } from "./schema";

export type Schemas = components["schemas"];
type FieldError = Omit<Schemas["FieldError"], "line"> & { line?: number | null };

const TIMEOUT_MS = 10_000;

/** A failed request, with a message that a viewer can act on. */
export class ApiError extends Error {
  override name = "ApiError";

  /**
   * @param status the HTTP status, or null when the API did not respond.
   * @param errors the fields of the request that the API refused.
   */
  constructor(
    message: string,
    readonly status: number | null,
    readonly errors: readonly FieldError[] = [],
  ) {
    super(message);
  }
}

type Value = string | number | null | undefined;
export type Query = Record<string, Value | readonly Value[]>;

/** The URL of an API path. Empty parameters are left out, and a list repeats its parameter. */
export function apiUrl(path: string, query: Query = {}): string {
  const parameters = Object.entries(query)
    .flatMap(([name, values]) => [values].flat().map((value) => [name, value] as const))
    .filter(([, value]) => value !== null && value !== undefined && value !== "");
  const search = new URLSearchParams(parameters.map(([name, value]) => [name, String(value)])).toString();
  return `${API_URL}${path}${search && `?${search}`}`;
}

/**
 * GET as text.
 *
 * @param accept error statuses whose body is a regular response.
 * @throws ApiError
 */
export function getText(url: string, signal?: AbortSignal, accept: readonly number[] = []): Promise<string> {
  return send("GET", url, signal, accept);
}

/** POST with a JSON body or without a body; throws the same errors as `getText`. */
export async function post<T>(url: string, signal?: AbortSignal, body?: unknown): Promise<T> {
  return JSON.parse(await send("POST", url, signal, [], body)) as T;
}

async function send(
  method: string,
  url: string,
  signal: AbortSignal | undefined,
  accept: readonly number[],
  body?: unknown,
): Promise<string> {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  const { token, requestToken } = useAccess.getState();
  const init: RequestInit = {
    method,
    headers: {
      ...(token && { Authorization: `Bearer ${token}` }),
      ...(body !== undefined && { "Content-Type": "application/json" }),
    },
    body: body === undefined ? null : JSON.stringify(body),
    signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
  };
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch (error) {
    if (signal?.aborted) throw error;
    const reason = timeout.aborted ? `did not answer within ${TIMEOUT_MS / 1000} s` : "is not reachable";
    throw new ApiError(`The API at ${API_URL} ${reason}.`, null);
  }
  const text = await response.text();
  if (!response.ok && !accept.includes(response.status)) {
    const problem = problemOf(text);
    const message = problem.detail ?? `The API returned status ${response.status}.`;
    // The viewer may have entered a new token while this request was running. Its old token is no reason to ask again.
    if (response.status === 401 && token === useAccess.getState().token) requestToken(message);
    throw new ApiError(message, response.status, problem.errors);
  }
  return text;
}

/** GET as JSON; throws the same errors as `getText`. */
export async function get<T>(url: string, signal?: AbortSignal, accept: readonly number[] = []): Promise<T> {
  return JSON.parse(await getText(url, signal, accept)) as T;
}

/** An RFC 9457 problem; empty if the text is none. */
function problemOf(text: string): Partial<Schemas["Problem"]> {
  try {
    return JSON.parse(text) as Partial<Schemas["Problem"]>;
  } catch {
    return {};
  }
}
