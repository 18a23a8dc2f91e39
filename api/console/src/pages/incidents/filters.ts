// The filters of the incidents of a space, as the address holds them.
import { UNRESOLVED } from "./words";

/** The parameters of a read. Without a status, the incidents that are not resolved. */
export function incidentsQuery(query: URLSearchParams) {
  const statuses = query.getAll("status");
  return {
    status: statuses.length > 0 ? statuses : UNRESOLVED,
    kind: query.getAll("kind"),
    team_id: query.get("team_id"),
    criticality: query.getAll("criticality"),
    pipeline_id: query.get("pipeline_id"),
  };
}
