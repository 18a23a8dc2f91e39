import { expect, test } from "vitest";
import type { Parameter } from "../../../api/model";
import { confOf, confOfText, covers, paramsOf } from "./trigger_params";

function parameter(name: string, value: unknown, schema: Record<string, unknown> = {}): Parameter {
  return { name, value, schema, description: null, is_redacted: false };
}

const parameters: Parameter[] = [
  { ...parameter("region", "eu", { type: "string", enum: ["eu", "us"] }), description: "Where" },
  parameter("limit", 10, { type: "integer", minimum: 1, maximum: 100, title: "Limit" }),
  parameter("dry_run", true, { type: "boolean" }),
  parameter("day", "2026-01-01", { type: "string", format: "date" }),
  parameter("note", null, { type: ["null", "string"] }),
  parameter("tables", ["a"], { type: "array" }),
  parameter("plain", 3),
  parameter("untyped", "text"),
];
const params = paramsOf(parameters);

test("kinds come from the schema, else from the value", () => {
  expect(params.map((param) => [param.name, param.kind])).toEqual([
    ["region", "choice"],
    ["limit", "integer"],
    ["dry_run", "boolean"],
    ["day", "date"],
    ["note", "text"],
    ["tables", "json"],
    ["plain", "number"],
    ["untyped", "text"],
  ]);
  expect(params[0]?.description).toBe("Where");
  expect(params[1]?.title).toBe("Limit");
});

test("untouched fields send the defaults with their types", () => {
  expect(confOf(params, new Map()).conf).toEqual({
    region: "eu",
    limit: 10,
    dry_run: true,
    day: "2026-01-01",
    note: null,
    tables: ["a"],
    plain: 3,
    untyped: "text",
  });
});

test("each faulty field is named", () => {
  const texts = new Map([
    ["limit", "1000"],
    ["plain", "x"],
    ["tables", "["],
    ["day", ""],
  ]);
  const { faults } = confOf(params, texts);
  expect([...(faults?.keys() ?? [])].sort()).toEqual(["day", "limit", "plain", "tables"]);
  expect(faults?.get("limit")).toBe("Enter at most 100.");
  expect(confOf(params, new Map([["limit", "1.5"]])).faults?.get("limit")).toBe("Enter a whole number.");
});

test("texts, times and JSON are checked against their schemas", () => {
  const checked = paramsOf([
    parameter("name", "", { type: "string", minLength: 1 }),
    parameter("code", "abc", { type: "string", maxLength: 2 }),
    parameter("at", "2026-01-31", { type: "string", format: "date-time" }),
    parameter("list", { a: 1 }, { type: "array" }),
    parameter("either", null, { type: ["array", "null"] }),
    parameter("several", 3, { type: ["integer", "string"] }),
  ]);
  const { faults } = confOf(checked, new Map([["either", ""]]));
  expect(Object.fromEntries(faults ?? [])).toEqual({
    name: "Enter a text.",
    code: "Enter at most 2 characters.",
    at: "Enter a time like 2026-01-31T05:00:00Z.",
    list: "Enter JSON of the type array.",
  });
});

test("a secret default is left to the provider unless another value is written", () => {
  const [secret] = paramsOf([{ ...parameter("token", null, { type: "string" }), is_redacted: true }]);
  const all = secret === undefined ? [] : [secret];
  expect(confOf(all, new Map())).toEqual({ conf: {} });
  expect(confOf(all, new Map([["token", "x"]]))).toEqual({ conf: { token: "x" } });
});

test("an earlier configuration fills the form, if the parameters say all of it", () => {
  const earlier = { region: "us", limit: 5 };
  const { conf } = confOf(paramsOf(parameters, earlier), new Map());
  expect([conf?.region, conf?.limit, conf?.plain]).toEqual(["us", 5, 3]);
  expect(covers(parameters, earlier)).toBe(true);
  expect(covers(parameters, { ...earlier, other: 1 })).toBe(false);
  // What is secret in it was replaced, and is not sent.
  const secret = [{ ...parameter("token", null, { type: "string" }), is_redacted: true }];
  expect(confOf(paramsOf(secret, { token: "***" }), new Map())).toEqual({ conf: {} });
});

test("a value that is not among the choices stays one of them", () => {
  const [region] = paramsOf([parameter("region", null, { enum: ["eu"] })]);
  expect(region?.choices).toEqual([null, "eu"]);
  expect(region?.text).toBe("null");
});

test("a configuration is an object, or nothing", () => {
  expect(confOfText(" \n")).toEqual({ conf: {} });
  expect(confOfText('{"a": 1}')).toEqual({ conf: { a: 1 } });
  expect(confOfText("[1]").fault).toContain("JSON object");
  expect(confOfText('{\n  "a": x}').fault).toContain("not valid JSON");
});
