// What the home of a space reads. Each part of it is the beginning of a list, read with the filters of the page that
// shows the list whole: a number leads to as many rows.
import { send } from "../../api/client";
import { type ListAnswer, type QueryValue, readList } from "../../api/lists";
import type { Facets, Incident, Pipeline, Run } from "../../api/model";
import { useLiveBatch } from "../../data/live";
import { type Resource, useResource } from "../../data/resource";
import { queryOf, type Shown } from "./shown";

export const SHOWN = 8;
const REFRESH_MILLIS = 2000;

export interface NowData {
  facets: Resource<Facets>;
  failing: Resource<ListAnswer<Pipeline>>;
  running: Resource<ListAnswer<Run>>;
  failedDay: Resource<ListAnswer<Run>>;
  lastHour: Resource<ListAnswer<Run>>;
  late: Resource<ListAnswer<Incident>>;
}

export function useNowData(slug: string): NowData {
  const base = `/spaces/${slug}/orchestration`;
  const list = <T>(shown: Shown, path: string, more: Record<string, QueryValue>) =>
    useResource(
      `now ${shown} ${slug}`,
      (signal) => readList<T>(base + path, { ...queryOf(shown, Date.now()), ...more }, signal),
      { everySeconds: 60 },
    );
  const data: NowData = {
    facets: useResource(`now facets ${slug}`, (signal) =>
      send<Facets>("GET", `${base}/pipelines/facets`, undefined, signal),
    ),
    failing: list("failing", "/pipelines", { size: SHOWN, recent_runs: 25 }),
    running: list("running", "/runs", { size: SHOWN }),
    failedDay: list("failedDay", "/runs", { size: 1 }),
    lastHour: list("lastHour", "/runs", { size: SHOWN }),
    late: list("late", "/incidents", { size: SHOWN }),
  };
  const refresh = () => Object.values(data).forEach((resource) => resource.refresh());
  useLiveBatch(
    (event) => (["run", "pipeline", "incident"].includes(event.type) ? event.data.id : null),
    refresh,
    REFRESH_MILLIS,
  );
  return data;
}
