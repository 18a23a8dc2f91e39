// The runs of all pipelines of a space, with a timeline of those in the list.
import { useMemo } from "preact/hooks";
import { queryText, readList } from "../../api/lists";
import type { Run } from "../../api/model";
import { setQuery, useLocation } from "../../app/router";
import type { PageProps } from "../../app/routes";
import { Chips, toggled } from "../../components/Chips";
import { Icon } from "../../components/Icon";
import { Blank, FailureBlank, Skeleton } from "../../components/Load";
import { PageHead } from "../../components/PageHead";
import { QueryChoice } from "../../components/QueryChoice";
import { Search } from "../../components/Search";
import { StateShape } from "../../components/State";
import { count, totalText } from "../../data/format";
import { type GrowingList, useGrowingList } from "../../data/growing";
import { runTypes } from "../../data/run_types";
import { labelOf } from "../../drawings/states";
import { clearedFilters, isFiltered, periods, runStatuses, runsQuery, sorts } from "./filters";
import { useLiveList } from "./live_list";
import { RunsTable } from "./RunsTable";
import { TimelineChart } from "./TimelineChart";

const PAGE = 100;
/** How many runs the timeline shows at most: the first of the list. */
const IN_TIMELINE = 300;

export default function RunsPage({ slug }: PageProps) {
  const { query } = useLocation();
  const text = query.toString();
  const read = useMemo(() => runsQuery(query, Date.now()), [text]);
  const base = `/spaces/${slug}/orchestration/runs`;
  const list = useGrowingList<Run>(`${base}?${queryText(read)}`, PAGE, ({ cursor, page }, signal) =>
    readList(base, { ...read, size: PAGE, ...(cursor ? { cursor } : { page }) }, signal),
  );
  const newer = useLiveList(base, read, list);
  return (
    <div class="page">
      <PageHead title="Runs">
        <p class="second">{atLeast(list)}</p>
      </PageHead>
      <Filters query={query} />
      {newer.count > 0 && (
        <button type="button" class="button newer" onClick={newer.show}>
          <Icon name="refresh" />
          {newer.count === 1
            ? "One run has started or changed"
            : `${count(newer.count)} runs have started or changed`}
          : show
        </button>
      )}
      <Content slug={slug} list={list} filtered={isFiltered(query)} />
    </div>
  );
}

function atLeast(list: GrowingList<Run>): string {
  return `${list.isBound ? "More than " : ""}${totalText(list, "run", "runs")}`;
}

function Content({ slug, list, filtered }: { slug: string; list: GrowingList<Run>; filtered: boolean }) {
  if (list.rows.length === 0) {
    if (list.failure) {
      return (
        <div class="panel">
          <FailureBlank failure={list.failure} what="the runs" retry={list.retry} />
        </div>
      );
    }
    if (list.loading)
      return (
        <div class="panel">
          <Skeleton lines={10} what="the runs" />
        </div>
      );
    return (
      <div class="panel">
        <Blank title={filtered ? "No run matches these filters" : "This space has no runs yet"}>
          {filtered ? (
            <button type="button" class="button" onClick={() => setQuery(clearedFilters)}>
              Clear the filters
            </button>
          ) : (
            <p>They appear after the first sync of a connector.</p>
          )}
        </Blank>
      </div>
    );
  }
  return (
    <>
      <section class="panel" aria-label="Timeline">
        <TimelineChart slug={slug} runs={list.rows.slice(0, IN_TIMELINE)} />
      </section>
      <RunsTable slug={slug} list={list} />
    </>
  );
}

function Filters({ query }: { query: URLSearchParams }) {
  const chosen = query.getAll("status");
  return (
    <div class="filters">
      <div class="filter-row">
        <Search value={query.get("q") ?? ""} label="Search the pipelines of the runs" />
        <QueryChoice
          label="Period"
          name="last"
          options={[["", "Any time"], ...periods.map(([value, label]): [string, string] => [value, label])]}
        />
        <QueryChoice label="Type" name="run_type" options={[["", "Any type"], ...runTypes]} />
        <QueryChoice label="Sort" name="sort" options={sorts} />
        {isFiltered(query) && (
          <button type="button" class="button button-quiet" onClick={() => setQuery(clearedFilters)}>
            <Icon name="close" />
            Clear
          </button>
        )}
      </div>
      <Chips
        label="Status"
        values={runStatuses}
        isChosen={(status) => chosen.includes(status)}
        toggle={(status) => setQuery({ status: toggled(chosen, status) })}
        text={(status) => (
          <>
            <StateShape status={status} />
            {labelOf(status)}
          </>
        )}
      />
      {query.has("pipeline_id") && (
        <button
          type="button"
          class="button button-chosen newer"
          onClick={() => setQuery({ pipeline_id: null })}
        >
          One pipeline only: show all
        </button>
      )}
    </div>
  );
}
