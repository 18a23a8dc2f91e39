import { expect, test } from "vitest";
import { eventParser } from "./event_text";

const text = 'retry: 2741\nid: a\n\nevent: run\ndata: {"id":\ndata: 1}\nid: b\n\n: nothing new\nid: c\n\n';

test("events are read whole, however the text is cut", () => {
  for (let cut = 0; cut <= text.length; cut++) {
    const parse = eventParser();
    const parts = [parse(text.slice(0, cut)), parse(text.slice(cut))];
    expect(parts.flatMap((part) => part.events)).toEqual([{ event: "run", data: '{"id":\n1}' }]);
    expect(
      parts
        .map((part) => part.lastId)
        .filter(Boolean)
        .at(-1),
    ).toBe("c");
    expect(parts.find((part) => part.retryMillis)?.retryMillis).toBe(2741);
  }
});

test("a heartbeat has an id and no event", () => {
  expect(eventParser()(": nothing new\nid: x\n\n")).toEqual({ events: [], lastId: "x", retryMillis: null });
});
