// The typed client of the API. The browser adds the session cookie and revalidates by `ETag` itself.
import createClient from "openapi-fetch";
import { store } from "../data/store";
import { Failure, asFailure, failureOf } from "./failure";
import type { paths } from "./schema";

export const BASE = "/api/v1.0";

/** Whether the API answers. Pages keep what they show while it does not. */
export const reachable = store(true);
/** Whether the session has ended, and in which words. */
export const signedOut = store<string | null>(null);

/** Lists repeat their parameters: `status=failed&status=running`. */
export const api = createClient<paths>({
  baseUrl: "",
  querySerializer: { array: { style: "form", explode: true } },
  fetch: (request: Request) => observedFetch(request),
});

export async function observedFetch(request: Request): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(request);
  } catch (error) {
    if (!request.signal.aborted) reachable.set(false);
    throw error;
  }
  if (!(response.status === 503 || response.status === 502)) reachable.set(true);
  return response;
}

/** Finds out whether the API answers, without waiting for the next request of a page. */
export async function checkReachable(): Promise<void> {
  // Needs no key, and is routed wherever the API is; `/readyz` may not be.
  const response = await fetch(`${BASE}/session/providers`).catch(() => null);
  reachable.set(response?.ok ?? false);
}

interface Answer<T> {
  data?: T;
  error?: unknown;
  response: Response;
}

/** Returns the body of a successful answer; throws a {@link Failure} otherwise. */
export async function take<T>(request: Promise<Answer<T>>): Promise<T> {
  return (await takeWithHeaders(request)).body;
}

export async function takeWithHeaders<T>(
  request: Promise<Answer<T>>,
): Promise<{ body: T; headers: Headers }> {
  let answer: Answer<T>;
  try {
    answer = await request;
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw asFailure(error);
  }
  const { response, data, error } = answer;
  if (response.ok) return { body: data as T, headers: response.headers };
  const failure = failureOf(response, error);
  if (failure.isOutage) reachable.set(false);
  if (response.status === 401) signedOut.set(failure.message);
  throw failure;
}

/** A request to an endpoint that takes any path: for what the generated types do not name. */
export async function send<T>(
  method: string,
  path: string,
  body?: unknown,
  signal?: AbortSignal,
): Promise<T> {
  const headers: Record<string, string> = body === undefined ? {} : { "content-type": "application/json" };
  const init: RequestInit = { method, headers, signal: signal ?? null };
  if (body !== undefined) init.body = JSON.stringify(body);
  const request = async (): Promise<Answer<T>> => {
    const response = await observedFetch(new Request(new URL(BASE + path, window.location.href), init));
    const text = await response.text();
    const parsed: unknown = text ? JSON.parse(text) : undefined;
    return response.ok ? { data: parsed as T, response } : { error: parsed, response };
  };
  return take(request());
}

export { Failure };
