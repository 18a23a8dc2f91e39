import { expect, test } from "vitest";
import { faultsByField } from "./failure";

test("faults stand at the field that they name, those of items at their list", () => {
  const faults = [
    { loc: ["body", "config", "schedule"], msg: "never comes", type: "value_error" },
    { loc: ["body", "config", "to", "1"], msg: "invalid e-mail address", type: "value_error.email" },
  ];
  expect(faultsByField(faults)).toEqual({ schedule: "never comes", to: "invalid e-mail address" });
});
