// Server-Sent Events as they arrive on the body of a `fetch`: `EventSource` cannot tell an end from a failure.

export interface ServerEvent {
  event: string;
  data: string;
}

export interface ParsedEvents {
  events: ServerEvent[];
  lastId: string | null;
  retryMillis: number | null;
}

/** A parser of one stream: give it each piece of text, it returns the events that the piece completes. */
export function eventParser(): (piece: string) => ParsedEvents {
  let rest = "";
  let name = "";
  let data: string[] = [];
  return (piece) => {
    const parsed: ParsedEvents = { events: [], lastId: null, retryMillis: null };
    const lines = (rest + piece).split(/\r?\n/);
    rest = lines.pop() ?? "";
    for (const line of lines) {
      if (line === "") {
        if (data.length > 0) parsed.events.push({ event: name || "message", data: data.join("\n") });
        name = "";
        data = [];
        continue;
      }
      const colon = line.indexOf(":");
      if (colon === 0) continue;
      const field = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (field === "event") name = value;
      else if (field === "data") data.push(value);
      else if (field === "id") parsed.lastId = value;
      else if (field === "retry") parsed.retryMillis = Number(value) || null;
    }
    return parsed;
  };
}
