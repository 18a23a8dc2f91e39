// Who did what in a space, the newest first. For admins.
import { queryText, readList } from "../../api/lists";
import type { AuditEntry } from "../../api/model";
import { paths } from "../../app/paths";
import { setQuery, useLocation } from "../../app/router";
import type { PageProps } from "../../app/routes";
import { GrowingRows } from "../../components/GrowingRows";
import { Blank } from "../../components/Load";
import { PageHead } from "../../components/PageHead";
import { QueryChoice } from "../../components/QueryChoice";
import { Time } from "../../components/Time";
import { useGrowingList } from "../../data/growing";
import { useTeams } from "../../data/teams";
import { useMembers } from "../people/members";
import { type Names, actionText, actions, detailsText, viaTexts } from "./words";

const PAGE = 50;

export default function AuditPage({ slug }: PageProps) {
  const { query } = useLocation();
  const filter = { action: query.get("action"), target_id: query.get("target_id") };
  const path = `/spaces/${slug}/audit`;
  const list = useGrowingList<AuditEntry>(`${path}?${queryText(filter)}`, PAGE, ({ cursor, page }, signal) =>
    readList(path, { ...filter, size: PAGE, ...(cursor ? { cursor } : { page }) }, signal),
  );
  return (
    <div class="page">
      <PageHead title="Audit log">
        <p class="second">Every change that somebody made in this space.</p>
      </PageHead>
      <div class="filter-row">
        <QueryChoice
          label="Action"
          name="action"
          options={[["", "Any action"], ...actions.map((one): [string, string] => [one, actionText(one)])]}
        />
        {filter.target_id && (
          <button type="button" class="button button-chosen" onClick={() => setQuery({ target_id: null })}>
            One target only: show all
          </button>
        )}
      </div>
      <div class="panel panel-scroll">
        <GrowingRows list={list} what="the audit log" lines={8} empty={<Blank title="No entry to show" />}>
          <Entries slug={slug} rows={list.rows} />
        </GrowingRows>
      </div>
    </div>
  );
}

/** The people and teams of the space, by the ids that entries name them with. */
function useNames(slug: string): Names {
  const members = useMembers(slug).data ?? [];
  const teams = useTeams(slug).data ?? [];
  return new Map([
    ...members.map(({ user }) => [user.id, user.name] as const),
    ...teams.map(({ id, name }) => [id, name] as const),
  ]);
}

function Entries({ slug, rows }: { slug: string; rows: AuditEntry[] }) {
  const names = useNames(slug);
  return (
    <table class="table audit cards">
      <thead>
        <tr>
          <th class="col-at">When</th>
          <th class="col-who">Who</th>
          <th>What</th>
          <th class="col-via">Via</th>
        </tr>
      </thead>
      <tbody>
        {rows.map((entry) => (
          <tr key={entry.id}>
            <td class="col-at" data-label="When">
              <Time at={entry.at} as="second" />
            </td>
            <td class="col-who clip" data-label="Who">
              {entry.actor?.name ?? <span class="quiet">The operator</span>}
            </td>
            <td class="cell-title">
              <Target slug={slug} entry={entry} />
              {entry.target_type === "user" &&
                names.has(entry.target_id) &&
                `: ${names.get(entry.target_id)}`}
              <div class="quiet small">{detailsText(entry.action, entry.details, names)}</div>
            </td>
            <td class="col-via quiet" data-label="Via">
              {viaTexts[entry.via] ?? entry.via}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Target({ slug, entry }: { slug: string; entry: AuditEntry }) {
  const text = actionText(entry.action);
  if (entry.target_type === "pipeline") return <a href={paths.pipeline(slug, entry.target_id)}>{text}</a>;
  const isDeleted = entry.action === "connector.deleted";
  if (entry.target_type === "connector" && !isDeleted)
    return <a href={paths.connector(slug, entry.target_id)}>{text}</a>;
  return <>{text}</>;
}
