// The list of pipelines: filters in the address, rows in view only, changes as they happen.
import { useRef, useState } from "preact/hooks";
import { send } from "../../api/client";
import { queryText, readList } from "../../api/lists";
import type { Facets, Pipeline } from "../../api/model";
import { setQuery, useLocation } from "../../app/router";
import type { PageProps } from "../../app/routes";
import { Blank, FailureBlank, Skeleton } from "../../components/Load";
import { PageHead } from "../../components/PageHead";
import { toastFailure } from "../../components/Toasts";
import { totalText } from "../../data/format";
import { useLiveBatch } from "../../data/live";
import { PAGE_SIZE, type PagedList, usePages } from "../../data/pages";
import { useResource } from "../../data/resource";
import { may } from "../../data/session";
import { BulkBar } from "./BulkBar";
import { Days, FilterBar } from "./FilterBar";
import { activeFilters, clearedFilters, filterQuery } from "./filters";
import { PipelineTable } from "./PipelineTable";

const RUNS_IN_STRIP = 25;
/** How many ids one read takes. */
const BATCH = 200;
const COUNT_MILLIS = 10_000;

export default function PipelinesPage({ slug }: PageProps) {
  const { query } = useLocation();
  const base = `/spaces/${slug}/orchestration/pipelines`;
  const filter = filterQuery(query);
  const sort = query.get("sort") ?? "name";
  const key = `${base}?${queryText({ ...filter, sort })}`;
  const list = usePages<Pipeline>(key, (page, signal) =>
    readList(base, { ...filter, sort, page, size: PAGE_SIZE, recent_runs: RUNS_IN_STRIP }, signal),
  );
  const facetsKey = `${base}/facets?${queryText(filter)}`;
  const facets = useResource(facetsKey, (signal) => send<Facets>("GET", facetsKey, undefined, signal), {
    keepPrevious: true,
    everySeconds: 60,
  });
  const countedAt = useRef(0);
  // The first pipelines of a space appear by themselves.
  const isEmptySpace = list.total === 0 && activeFilters(query) === 0;
  const [chosen, setChosen] = useState<Set<string>>(new Set());

  useLiveBatch(
    (event) => {
      const id =
        event.type === "pipeline" || event.type === "governance"
          ? (event.data.pipeline_id ?? event.data.id)
          : event.data.pipeline_id;
      return id && (isEmptySpace || list.has(id)) ? id : null;
    },
    (ids) => {
      if (ids === null || isEmptySpace) return list.refresh();
      const days = query.get("days");
      const read = {
        id: ids.slice(0, BATCH),
        is_active: "any",
        days,
        recent_runs: RUNS_IN_STRIP,
        size: BATCH,
      };
      readList<Pipeline>(base, read).then(
        ({ rows }) => list.replace(rows),
        () => undefined,
      );
      // The counts are of the whole list and cost more than the rows.
      if (Date.now() - countedAt.current < COUNT_MILLIS) return;
      countedAt.current = Date.now();
      facets.refresh();
    },
  );
  const choose = (ids: string[], isChosen: boolean) =>
    setChosen((before) => {
      const next = new Set(before);
      for (const id of ids) isChosen ? next.add(id) : next.delete(id);
      return next;
    });
  const watch = (pipeline: Pipeline) => {
    list.replace([{ ...pipeline, watched: !pipeline.watched }]);
    send(pipeline.watched ? "DELETE" : "PUT", `${base}/${pipeline.id}/watch`).catch((error: unknown) => {
      list.replace([pipeline]);
      toastFailure(error);
    });
  };
  const mayEdit = may(slug, "editor");
  return (
    <div class="page">
      <PageHead title="Pipelines" actions={<Days query={query} />}>
        <p class="second">{total(list)}</p>
      </PageHead>
      <FilterBar query={query} facets={facets.data} />
      {list.total === null || list.total === 0 ? (
        <Nothing list={list} query={query} slug={slug} />
      ) : (
        <PipelineTable
          slug={slug}
          list={list}
          sort={sort}
          chosen={mayEdit ? chosen : null}
          choose={choose}
          watch={watch}
        />
      )}
      {chosen.size > 0 && (
        <BulkBar slug={slug} ids={[...chosen]} clear={() => setChosen(new Set())} changed={list.refresh} />
      )}
    </div>
  );
}

function total(list: PagedList<Pipeline>): string {
  return `${list.isBound ? "At least " : ""}${totalText(list, "pipeline", "pipelines")}`;
}

interface NothingProps {
  list: ReturnType<typeof usePages<Pipeline>>;
  query: URLSearchParams;
  slug: string;
}

function Nothing({ list, query, slug }: NothingProps) {
  if (list.failure) {
    return (
      <div class="panel">
        <FailureBlank failure={list.failure} what="the pipelines" retry={list.refresh} />
      </div>
    );
  }
  if (list.total === null)
    return (
      <div class="panel">
        <Skeleton lines={10} what="the pipelines" />
      </div>
    );
  if (activeFilters(query) > 0) {
    return (
      <div class="panel">
        <Blank title="No pipeline matches these filters">
          <button type="button" class="button" onClick={() => setQuery(clearedFilters)}>
            Clear the filters
          </button>
        </Blank>
      </div>
    );
  }
  return (
    <div class="panel">
      <Blank title="This space has no pipelines yet">
        <p>They appear after the first sync of a connector.</p>
        <p>
          <a href={`/s/${slug}/connectors`}>Go to the connectors</a>
        </p>
      </Blank>
    </div>
  );
}
