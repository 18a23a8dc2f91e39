// The lists that begin on the home of a space, as the addresses of the pages that show them whole.
import type { QueryValue } from "../../api/lists";
import { paths } from "../../app/paths";
import { incidentsQuery } from "../incidents/filters";
import { LATE_OR_SLOW } from "../incidents/words";
import { filterQuery } from "../pipelines/filters";
import { runsQuery } from "../runs/filters";

type Read = (query: URLSearchParams, now: number) => Record<string, QueryValue>;
type Address = (slug: string, query: string) => string;

const readPipelines: Read = (query) => ({ ...filterQuery(query), sort: query.get("sort") });

export type Shown = "failing" | "succeeded" | "running" | "failedDay" | "lastHour" | "late";

const lists: Record<Shown, { query: string; read: Read; to: Address }> = {
  failing: { query: "health=failing&sort=-last_run", read: readPipelines, to: paths.pipelines },
  succeeded: { query: "status=success", read: readPipelines, to: paths.pipelines },
  running: { query: "status=running&sort=started_at", read: runsQuery, to: paths.runs },
  failedDay: { query: "status=failed&last=ended-24h", read: runsQuery, to: paths.runs },
  lastHour: { query: "last=ended-1h&sort=-ended_at", read: runsQuery, to: paths.runs },
  late: {
    query: LATE_OR_SLOW.map((kind) => `kind=${kind}`).join("&"),
    read: incidentsQuery,
    to: paths.incidents,
  },
};

/** The parameters with which the list is read, here and on its own page. */
export function queryOf(shown: Shown, now: number): Record<string, QueryValue> {
  return lists[shown].read(new URLSearchParams(lists[shown].query), now);
}

/** The address of the whole list. */
export function addressOf(shown: Shown, slug: string): string {
  return lists[shown].to(slug, lists[shown].query);
}
