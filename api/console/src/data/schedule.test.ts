import { expect, test } from "vitest";
import { scheduleText } from "./connectors";

test("a schedule is told in words where it has some, else as it is written", () => {
  const texts = ["*/2 * * * * *", "*/20 * * * *", "*/5 * * * *", "0 * * * *"].map(scheduleText);
  expect(texts).toEqual(["Every 2 seconds", "Every 20 minutes", "Every 5 minutes", "Every hour"]);
  // After 57 minutes the next run of the first is three minutes later.
  for (const cron of ["*/19 * * * *", "*/5 0 * * *", "0 6 * * 1"]) expect(scheduleText(cron)).toBe(cron);
  expect(scheduleText(null)).toBe("Manual only");
});
