// What is wrong in a space: incidents, acknowledged and muted by editors.
import { queryText, readList } from "../../api/lists";
import type { Incident } from "../../api/model";
import { useRowKeys } from "../../app/keyboard";
import { setQuery, useLocation } from "../../app/router";
import type { PageProps } from "../../app/routes";
import { Chips, toggled } from "../../components/Chips";
import { criticalities, criticalityLabels } from "../../components/Criticality";
import { GrowingRows } from "../../components/GrowingRows";
import { Blank } from "../../components/Load";
import { PageHead } from "../../components/PageHead";
import { QueryChoice } from "../../components/QueryChoice";
import { totalText } from "../../data/format";
import { useGrowingList } from "../../data/growing";
import { useLiveBatch } from "../../data/live";
import { useTeams } from "../../data/teams";
import { incidentsQuery } from "./filters";
import { IncidentTable } from "./IncidentTable";
import { kindTexts, kinds, statusTexts, statuses } from "./words";

const PAGE = 50;

export default function IncidentsPage({ slug }: PageProps) {
  const { query } = useLocation();
  const path = `/spaces/${slug}/orchestration/incidents`;
  const filter = incidentsQuery(query);
  const isFiltered = [...query.keys()].length > 0;
  const list = useGrowingList<Incident>(`${path}?${queryText(filter)}`, PAGE, ({ cursor, page }, signal) =>
    readList(path, { ...filter, size: PAGE, ...(cursor ? { cursor } : { page }) }, signal),
  );
  // Rows that were read on stay; a refresh would put the reader back to the first page.
  useLiveBatch(
    (event) => (event.type === "incident" ? event.data.id : null),
    () => list.rows.length <= PAGE && list.refresh(),
    2000,
  );
  useRowKeys();
  return (
    <div class="page">
      <PageHead title="Incidents">
        <p class="second">{totalText(list, "incident", "incidents")}</p>
      </PageHead>
      <div class="filters">
        <QueryChips
          name="status"
          label="Status"
          values={statuses}
          chosen={filter.status}
          text={(one) => statusTexts[one]}
        />
        <QueryChips
          name="kind"
          label="Kind"
          values={kinds}
          chosen={filter.kind}
          text={(one) => kindTexts[one]}
        />
        <div class="row row-wrap">
          <TeamChoice slug={slug} />
          <QueryChips
            name="criticality"
            label="Criticality"
            values={criticalities}
            chosen={filter.criticality}
            text={(one) => criticalityLabels[one]}
          />
        </div>
        {filter.pipeline_id && (
          <button type="button" class="button button-chosen" onClick={() => setQuery({ pipeline_id: null })}>
            One pipeline only: show all
          </button>
        )}
      </div>
      <div class="panel panel-scroll">
        <GrowingRows
          list={list}
          what="the incidents"
          lines={8}
          empty={
            <Blank title={isFiltered ? "No incident matches" : "No incident"}>
              <p>
                {isFiltered
                  ? "Remove a filter to see more."
                  : "Every pipeline and connector of this space is as expected."}
              </p>
            </Blank>
          }
        >
          <IncidentTable slug={slug} rows={list.rows} changed={(one) => list.replace([one])} />
        </GrowingRows>
      </div>
    </div>
  );
}

function TeamChoice({ slug }: { slug: string }) {
  const teams = useTeams(slug);
  const named = (teams.data ?? []).map((team): [string, string] => [team.id, team.name]);
  return (
    <QueryChoice label="Team" name="team_id" options={[["", "Any team"], ["none", "No team"], ...named]} />
  );
}

interface QueryChipsProps<T extends string> {
  /** The parameter in the address. */
  name: string;
  label: string;
  values: T[];
  chosen: string[];
  text(value: T): string;
}

function QueryChips<T extends string>({ name, label, values, chosen, text }: QueryChipsProps<T>) {
  return (
    <Chips
      label={label}
      values={values}
      isChosen={(value) => chosen.includes(value)}
      toggle={(value) => setQuery({ [name]: toggled(chosen, value) })}
      text={text}
    />
  );
}
