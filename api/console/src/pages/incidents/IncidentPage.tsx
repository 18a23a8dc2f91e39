// One incident: what is wrong, since when and why, who takes care of it, and what people say about it.
import { send } from "../../api/client";
import type { Incident } from "../../api/model";
import { paths } from "../../app/paths";
import type { PageProps } from "../../app/routes";
import { Load } from "../../components/Load";
import { PageHead } from "../../components/PageHead";
import { Time } from "../../components/Time";
import { Comments } from "../../components/comments/Comments";
import { useConnectors } from "../../data/connectors";
import { count } from "../../data/format";
import { useLiveBatch } from "../../data/live";
import { useResource } from "../../data/resource";
import { may } from "../../data/session";
import { EvidenceList } from "./EvidenceList";
import { IncidentActions } from "./IncidentActions";
import { IncidentStatus } from "./IncidentStatus";
import { kindTexts, subjectOf } from "./words";

export default function IncidentPage({ slug, id }: PageProps) {
  const path = `/spaces/${slug}/orchestration/incidents/${id}`;
  const incident = useResource(path, (signal) => send<Incident>("GET", path, undefined, signal));
  const connectors = useConnectors(slug);
  useLiveBatch((event) => (event.data.id === id ? id : null), incident.refresh);
  return (
    <div class="page">
      <Load resource={incident} what="the incident" lines={8}>
        {(loaded) => (
          <>
            <PageHead
              title={`${kindTexts[loaded.kind]}: ${subjectOf(loaded, connectors.data)}`}
              crumbs={[{ label: "Incidents", to: paths.incidents(slug) }]}
              actions={
                may(slug, "editor") && (
                  <IncidentActions
                    slug={slug}
                    incident={loaded}
                    subject={subjectOf(loaded, connectors.data)}
                    changed={(after) => incident.change(() => after)}
                  />
                )
              }
            >
              <p class="second">{loaded.summary}</p>
            </PageHead>
            <div class="columns">
              <section class="panel incident-facts" aria-label="Details">
                <div class="panel-head">
                  <h2>Details</h2>
                </div>
                <div class="panel-body stack">
                  <Standing slug={slug} incident={loaded} subject={subjectOf(loaded, connectors.data)} />
                  <EvidenceList slug={slug} incident={loaded} />
                </div>
              </section>
              <section class="panel" aria-label="Comments">
                <div class="panel-head">
                  <h2>Comments</h2>
                </div>
                <Comments slug={slug} target={`incidents/${id}`} />
              </section>
            </div>
          </>
        )}
      </Load>
    </div>
  );
}

interface StandingProps {
  slug: string;
  incident: Incident;
  /** The name of the pipeline or connector. */
  subject: string;
}

function Standing({ slug, incident, subject }: StandingProps) {
  const { pipeline_id, connector_id, last_run_id } = incident;
  return (
    <dl class="facts">
      <dt>Status</dt>
      <dd>
        <IncidentStatus incident={incident} />
      </dd>
      <dt>{pipeline_id ? "Pipeline" : "Connector"}</dt>
      <dd>
        <a href={pipeline_id ? paths.pipeline(slug, pipeline_id) : paths.connector(slug, connector_id)}>
          {subject}
        </a>
      </dd>
      <dt>Opened</dt>
      <dd>
        <Time at={incident.opened_at} as="zoned" />
      </dd>
      {incident.kind !== "failing" && (
        <>
          <dt>Count</dt>
          <dd>{count(incident.count)}</dd>
        </>
      )}
      {last_run_id && (
        <>
          <dt>Latest run</dt>
          <dd>
            <a href={paths.run(slug, last_run_id)}>Open the run</a>
          </dd>
        </>
      )}
    </dl>
  );
}
