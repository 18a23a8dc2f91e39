import { expect, test } from "vitest";
import type { Parameter } from "../../../api/model";
import { confOf, confOfText, hiddenFaults, withoutSecrets } from "./trigger_conf";
import { covers, paramsOf, sectionsOf } from "./trigger_params";

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
    ["tables", "lines"],
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
    ["day", ""],
  ]);
  const { faults } = confOf(params, texts);
  expect([...(faults?.keys() ?? [])].sort()).toEqual(["day", "limit", "plain"]);
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
});

test("what is hidden in an earlier configuration begins empty and marked, and is not sent", () => {
  const secret = { ...parameter("token", null, { type: "string" }), is_redacted: true };
  const given = [secret, parameter("db", { user: "a" }, { type: "object" }), parameter("plain", 1)];
  const earlier = paramsOf(given, { token: "***", db: { user: "b", password: "***" }, plain: 2 });
  expect(earlier.map(({ name, hidden }) => [name, hidden])).toEqual([
    ["token", true],
    ["db", true],
    ["plain", false],
  ]);
  expect(earlier[0]?.text).toBe("");
  const { conf } = confOf(earlier, new Map());
  expect(conf).toEqual({ db: { user: "b", password: "***" }, plain: 2 });
  expect([...hiddenFaults(conf ?? {}, false).keys()]).toEqual(["db"]);
  expect(hiddenFaults({ token: "***", plain: 1 }, true).get("")).toContain("token");
  expect(hiddenFaults({ plain: 1 }, true).size).toBe(0);
  expect(withoutSecrets({ token: "canary", plain: 2 }, earlier)).toEqual({ token: "(as entered)", plain: 2 });
  // A default that is known does not take the place of what was hidden.
  const [number] = paramsOf([parameter("limit", 10, { type: "integer" })], { limit: "***" });
  expect([number?.text, number?.hidden]).toEqual(["", true]);
});

test("a value that is not among the choices stays one of them, and none is chosen without a default", () => {
  const [region, level, fixed] = paramsOf([
    parameter("region", "asia", { enum: ["eu", null], values_display: { eu: "Europe" } }),
    parameter("level", null, { type: "integer", enum: [1, 2] }),
    parameter("fixed", 7, { const: 7 }),
  ]);
  expect(region?.choices.map(({ label }) => label)).toEqual(["asia", "Europe", "None"]);
  expect(region?.text).toBe('"asia"');
  expect(level?.choices[0]).toEqual({ text: "", label: "Choose…" });
  expect(fixed?.choices).toEqual([{ text: "7", label: "7" }]);
  const all = [region, level, fixed].filter((param) => param !== undefined);
  expect(confOf(all, new Map()).faults).toEqual(new Map([["level", "Choose a value."]]));
  expect(confOf(all, new Map([["level", "2"]])).conf).toEqual({ region: "asia", level: 2, fixed: 7 });
});

test("a parameter without a default needs a value, unless it may be null", () => {
  const needed = paramsOf([
    parameter("name", null, { type: "string" }),
    parameter("list", null, { type: "array" }),
    parameter("note", null, { type: ["string", "null"] }),
    parameter("any", null),
    parameter("flag", null, { type: "boolean" }),
  ]);
  expect(needed.map(({ kind }) => kind)).toEqual(["text", "lines", "text", "text", "boolean"]);
  const { faults } = confOf(needed, new Map());
  expect([...(faults?.keys() ?? [])]).toEqual(["name", "list"]);
  const texts = new Map([
    ["name", "a"],
    ["list", "x"],
    ["any", "y"],
  ]);
  expect(confOf(needed, texts).conf).toEqual({ name: "a", list: ["x"], note: null, any: "y", flag: false });
});

test("texts of several lines and lists keep their lines", () => {
  const long = paramsOf([
    parameter("query", "select 1\nfrom a", { type: "string" }),
    parameter("notes", "", { type: "string", format: "multiline" }),
    parameter("tables", ["a", "b"], { type: "array", examples: ["a", "b", 3] }),
    parameter("sizes", [1, 2], { type: "array", items: { type: "integer" } }),
  ]);
  expect(long.map(({ kind }) => kind)).toEqual(["multiline", "multiline", "lines", "json"]);
  expect(long[2]?.examples).toEqual(["a", "b", "3"]);
  expect(confOf(long, new Map([["tables", "c\n\nd\n"]])).conf).toEqual({
    query: "select 1\nfrom a",
    notes: "",
    tables: ["c", "d"],
    sizes: [1, 2],
  });
});

test("parameters without a section come before the sections", () => {
  const all = paramsOf([
    parameter("a", 1, { section: "Source" }),
    parameter("b", 1),
    parameter("c", 1, { section: "Source" }),
  ]);
  const names = sectionsOf(all).map(([section, members]) => [section, ...members.map(({ name }) => name)]);
  expect(names).toEqual([
    [null, "b"],
    ["Source", "a", "c"],
  ]);
});

test("a configuration is an object, or nothing", () => {
  expect(confOfText(" \n")).toEqual({ conf: {} });
  expect(confOfText('{"a": 1}')).toEqual({ conf: { a: 1 } });
  expect(confOfText("[1]").fault).toContain("JSON object");
  expect(confOfText('{\n  "a": x}').fault).toContain("not valid JSON");
});
