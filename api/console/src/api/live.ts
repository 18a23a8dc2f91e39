// Live events of a space. All tabs of a browser share one stream: the tab that holds the lock reads it and passes
// the events on. When that tab closes, the next one gets the lock and resumes after the last event.
import { BASE, checkReachable, reachable } from "./client";
import { eventParser } from "./event_text";
import { store } from "../data/store";

export type LiveType = "pipeline" | "run" | "task_run" | "sync" | "governance" | "comment" | "incident";

/** An event as the topics carry it; more fields than these arrive. `reset` means: read everything again. */
export interface LiveEvent {
  type: LiveType | "reset";
  data: {
    id: string;
    version: number;
    pipeline_id?: string | null;
    run_id?: string | null;
    task_run_id?: string | null;
    incident_id?: string | null;
    connector_id?: string;
    status?: string;
  };
}

type Message = { kind: "event"; event: LiveEvent } | { kind: "position"; id: string } | { kind: "lost" };

/** `live` while events arrive, `waiting` while the stream is being opened, `lost` without access to the space. */
export const liveState = store<"live" | "waiting" | "lost">("waiting");

const listeners = new Set<(event: LiveEvent) => void>();

/** Calls the listener with every event of the space that is open. Returns the function that ends it. */
export function onLive(listener: (event: LiveEvent) => void): () => void {
  listeners.add(listener);
  return () => void listeners.delete(listener);
}

function deliver(event: LiveEvent): void {
  for (const listener of [...listeners]) listener(event);
}

/** Follows the events of a space until the returned function is called. */
export function followSpace(slug: string): () => void {
  const stop = new AbortController();
  const channel = new BroadcastChannel(`orchestration.live.${slug}`);
  let position: string | null = null;
  liveState.set("waiting");
  const receive = (message: Message) => {
    if (message.kind === "position") position = message.id;
    else if (message.kind === "event") deliver(message.event);
    liveState.set(message.kind === "lost" ? "lost" : "live");
  };
  channel.onmessage = (message: MessageEvent<Message>) => receive(message.data);
  const publish = (message: Message) => {
    channel.postMessage(message);
    receive(message);
  };
  const read = () => readUntilStopped(slug, stop.signal, () => position, publish);
  lead(`orchestration.live.${slug}`, stop.signal, read);
  return () => {
    stop.abort();
    channel.close();
  };
}

/** Runs `read` in one tab at a time. Outside a secure context there are no locks, and each tab reads for itself. */
function lead(name: string, signal: AbortSignal, read: () => Promise<void>): void {
  if (!("locks" in navigator)) return void read();
  // An aborted request for the lock is no failure.
  navigator.locks.request(name, { signal }, read).catch(() => undefined);
}

async function readUntilStopped(
  slug: string,
  signal: AbortSignal,
  position: () => string | null,
  publish: (message: Message) => void,
): Promise<void> {
  let retryMillis = 2000;
  while (!signal.aborted) {
    const outcome = await readOnce(slug, signal, position(), publish).catch(() => null);
    if (signal.aborted) return;
    if (outcome === null) void checkReachable();
    if (outcome?.accessLost) return publish({ kind: "lost" });
    retryMillis = outcome?.retryMillis ?? Math.min(retryMillis * 1.5, 20_000);
    liveState.set("waiting");
    await pause(retryMillis, signal);
  }
}

interface StreamEnd {
  retryMillis: number | null;
  accessLost: boolean;
}

/** How long a stream may be silent; heartbeats arrive more often. */
const SILENCE_MILLIS = 60_000;

async function readOnce(
  slug: string,
  signal: AbortSignal,
  lastId: string | null,
  publish: (message: Message) => void,
): Promise<StreamEnd> {
  const silent = new AbortController();
  let watchdog = window.setTimeout(() => silent.abort(), SILENCE_MILLIS);
  const headers: Record<string, string> = { accept: "text/event-stream" };
  if (lastId) headers["last-event-id"] = lastId;
  try {
    const url = `${BASE}/spaces/${encodeURIComponent(slug)}/orchestration/events`;
    const response = await fetch(url, { headers, signal: AbortSignal.any([signal, silent.signal]) });
    const end: StreamEnd = {
      retryMillis: null,
      accessLost: response.status === 401 || response.status === 404,
    };
    if (!response.ok || !response.body) return end;
    reachable.set(true);
    liveState.set("live");
    const parse = eventParser();
    const pieces = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { value, done } = await pieces.read();
      if (done) return end;
      window.clearTimeout(watchdog);
      watchdog = window.setTimeout(() => silent.abort(), SILENCE_MILLIS);
      const parsed = parse(value);
      end.retryMillis = parsed.retryMillis ?? end.retryMillis;
      for (const { event, data } of parsed.events) {
        const content: unknown = JSON.parse(data);
        if (event === "end") end.accessLost = (content as { reason?: string }).reason === "access_lost";
        else publish({ kind: "event", event: { type: event, data: content } as LiveEvent });
      }
      if (parsed.lastId !== null) publish({ kind: "position", id: parsed.lastId });
    }
  } finally {
    window.clearTimeout(watchdog);
  }
}

function pause(millis: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = window.setTimeout(resolve, millis);
    signal.addEventListener("abort", () => {
      window.clearTimeout(timer);
      resolve();
    });
  });
}
