import { expect, test } from "vitest";
import { queryText } from "../../api/lists";
import { runsQuery } from "./filters";

const NOW = Date.parse("2026-01-02T12:00:30Z");

test("a period counts back from the minute, by the start or by the end of the runs", () => {
  const started = runsQuery(new URLSearchParams("last=24h"), NOW);
  expect(queryText(started)).toBe("is_active=any&started_from=2026-01-01T12%3A00%3A00Z");
  const ended = runsQuery(new URLSearchParams("last=ended-1h&status=failed"), NOW);
  expect(queryText(ended)).toBe("is_active=any&status=failed&ended_from=2026-01-02T11%3A00%3A00Z");
});
