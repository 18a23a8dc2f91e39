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

/** `live` while events arrive, `waiting` while the stream is being opened, `lost` without access to the space. */
type LiveState = "live" | "waiting" | "lost";

type Message =
  | { kind: "event"; event: LiveEvent }
  | { kind: "position"; id: string }
  | { kind: "state"; state: LiveState }
  /** Of a tab that was opened: the tab that reads answers with its state and position. */
  | { kind: "question" };

export const liveState = store<LiveState>("waiting");

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
  const name = `orchestration.live.${slug}`;
  const channel = isShared() ? new BroadcastChannel(name) : null;
  let position: string | null = null;
  let isReader = false;
  liveState.set("waiting");
  const receive = (message: Message) => {
    if (message.kind === "position") position = message.id;
    else if (message.kind === "state") liveState.set(message.state);
    else if (message.kind === "event") deliver(message.event);
    else if (isReader) answer();
  };
  const answer = () => {
    channel?.postMessage({ kind: "state", state: liveState.get() } satisfies Message);
    if (position !== null) channel?.postMessage({ kind: "position", id: position } satisfies Message);
  };
  const publish = (message: Message) => {
    channel?.postMessage(message);
    receive(message);
  };
  const read = () => {
    isReader = true;
    return readUntilStopped(slug, stop.signal, () => position, publish);
  };
  if (channel) channel.onmessage = (message: MessageEvent<Message>) => receive(message.data);
  channel?.postMessage({ kind: "question" } satisfies Message);
  lead(name, stop.signal, read);
  return () => {
    stop.abort();
    channel?.close();
  };
}

/** Whether the tabs of this browser can agree on one reader. Outside a secure context there are no locks. */
function isShared(): boolean {
  return "locks" in navigator;
}

/** Runs `read` in one tab at a time, or in each tab for itself. */
function lead(name: string, signal: AbortSignal, read: () => Promise<void>): void {
  if (!isShared()) return void read();
  // An aborted request for the lock is no failure.
  navigator.locks.request(name, { signal }, read).catch(() => undefined);
}

/** The access may be given again. */
const LOST_MILLIS = 15_000;

async function readUntilStopped(
  slug: string,
  signal: AbortSignal,
  position: () => string | null,
  publish: (message: Message) => void,
): Promise<void> {
  let retryMillis = 2000;
  const tell = (state: LiveState) => publish({ kind: "state", state });
  tell("waiting");
  while (!signal.aborted) {
    const outcome = await readOnce(slug, signal, position(), publish).catch(() => null);
    if (signal.aborted) return;
    if (outcome === null) void checkReachable();
    retryMillis = outcome?.retryMillis ?? Math.min(retryMillis * 1.5, 20_000);
    tell(outcome?.accessLost ? "lost" : "waiting");
    await pause(outcome?.accessLost ? LOST_MILLIS : retryMillis, signal);
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
    publish({ kind: "state", state: "live" });
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
