// The forms of what real releases of Airflow say about a DAG with a parameter of every kind. The API passes the
// value and the schema on as they are.
import { expect, test } from "vitest";
import type { Parameter } from "../../../api/model";
import { confOf } from "./trigger_conf";
import { paramsOf, type ParamKind } from "./trigger_params";

type RecordedParams = Record<string, Pick<Parameter, "value" | "schema" | "description">>;

const recorded = import.meta.glob<RecordedParams>(
  "../../../../../../shared/provider/tests/fixtures/airflow-*/scenario_parameters.json",
  { eager: true, import: "params" },
);

const kinds: Record<string, ParamKind> = {
  api_token: "text",
  at: "time",
  day: "date",
  described: "text",
  dry_run: "boolean",
  fixed: "choice",
  needed: "text",
  note: "text",
  options: "json",
  plain_flag: "boolean",
  plain_list: "lines",
  plain_null: "text",
  plain_number: "number",
  plain_object: "json",
  plain_text: "text",
  query: "multiline",
  rate: "number",
  region: "choice",
  rows: "integer",
  sizes: "json",
  table: "text",
  tables: "lines",
};

test("three releases are recorded", () => expect(Object.keys(recorded)).toHaveLength(3));

test.each(Object.entries(recorded))("%s has a field of its kind for each parameter", (_, body) => {
  const parameters = Object.entries(body).map(([name, param]): Parameter => ({
    ...param,
    name,
    is_redacted: false,
  }));
  const params = paramsOf(parameters);
  expect(Object.fromEntries(params.map(({ name, kind }) => [name, kind]))).toEqual(kinds);
  const of = (name: string) => params.find((param) => param.name === name);
  expect([of("day")?.section, of("rows")?.title, of("rows")?.description]).toEqual([
    "Source",
    "Rows",
    "How many rows",
  ]);
  expect(of("described")?.description).toBe("In **Markdown**");
  expect(of("region")?.choices.map(({ label }) => label)).toEqual(["Europe", "America"]);
  expect(of("table")?.examples).toEqual(["orders", "returns"]);
  // What nobody touches is sent as the default; only what has none must be entered.
  expect([...(confOf(params, new Map()).faults?.keys() ?? [])]).toEqual(["needed"]);
  const defaults = Object.fromEntries(parameters.map(({ name, value }) => [name, value]));
  expect(confOf(params, new Map([["needed", "ab"]])).conf).toEqual({ ...defaults, needed: "ab" });
});
