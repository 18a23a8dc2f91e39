import type { Incident } from "../../api/model";
import { paths } from "../../app/paths";
import { StateShape } from "../../components/State";
import { Time } from "../../components/Time";
import { useConnectors } from "../../data/connectors";
import { count } from "../../data/format";
import { may } from "../../data/session";
import { EvidenceList } from "./EvidenceList";
import { IncidentActions } from "./IncidentActions";
import { IncidentStatus } from "./IncidentStatus";
import { kindTexts, stateOfKind, subjectOf } from "./words";

interface IncidentTableProps {
  slug: string;
  rows: Incident[];
  changed(incident: Incident): void;
}

export function IncidentTable({ slug, rows, changed }: IncidentTableProps) {
  const mayAct = may(slug, "editor");
  const connectors = useConnectors(slug);
  const subject = (incident: Incident) => subjectOf(incident, connectors.data);
  return (
    <table class="table incidents cards">
      <thead>
        <tr>
          <th>Incident</th>
          <th class="col-state">Status</th>
          <th class="col-since">Opened</th>
          <th class="col-count number">Count</th>
          {mayAct && (
            <th class="col-act">
              <span class="hidden-visually">Actions</span>
            </th>
          )}
        </tr>
      </thead>
      <tbody>
        {rows.map((one) => (
          <tr key={one.id}>
            <td>
              <What slug={slug} incident={one} subject={subject(one)} />
            </td>
            <td class="col-state" data-label="Status">
              <IncidentStatus incident={one} />
            </td>
            <td class="col-since" data-label="Opened">
              <Time at={one.opened_at} as="relative" />
            </td>
            <td class="col-count number" data-label="Count">
              {count(one.count)}
            </td>
            {mayAct && (
              <td class="col-act">
                <IncidentActions slug={slug} incident={one} subject={subject(one)} changed={changed} />
              </td>
            )}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function What({ slug, incident, subject }: { slug: string; incident: Incident; subject: string }) {
  const { pipeline_id, connector_id, last_run_id, kind, summary } = incident;
  const to = pipeline_id ? paths.pipeline(slug, pipeline_id) : paths.connector(slug, connector_id);
  return (
    <div class="row row-top">
      <StateShape status={stateOfKind(kind)} />
      <div class="name-lines">
        <span>
          <a class="name-link" data-row href={to}>
            {subject}
          </a>{" "}
          <span class="tag">{kindTexts[kind]}</span>
        </span>
        <span class="second small">{summary}</span>
        <span class="row row-wrap small links">
          <a href={paths.incident(slug, incident.id)}>Details and comments</a>
          {last_run_id && <a href={paths.run(slug, last_run_id)}>The latest run</a>}
        </span>
        <Why slug={slug} incident={incident} />
      </div>
    </div>
  );
}

/** The numbers behind an incident, folded until somebody asks for them. */
function Why({ slug, incident }: { slug: string; incident: Incident }) {
  return (
    <details class="evidence small">
      <summary>Why</summary>
      <EvidenceList slug={slug} incident={incident} />
    </details>
  );
}
