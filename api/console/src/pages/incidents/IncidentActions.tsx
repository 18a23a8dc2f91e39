import { send } from "../../api/client";
import type { Incident } from "../../api/model";
import { Menu } from "../../components/Menu";
import { toast, toastFailure } from "../../components/Toasts";

const HOUR_MILLIS = 3_600_000;
const mutes: [label: string, hours: number | null][] = [
  ["For an hour", 1],
  ["For 8 hours", 8],
  ["For a day", 24],
  ["For a week", 168],
  ["No longer", null],
];

interface IncidentActionsProps {
  slug: string;
  incident: Incident;
  changed(incident: Incident): void;
}

/** For editors: acknowledges an incident that is not resolved, or mutes it for a while. */
export function IncidentActions({ slug, incident, changed }: IncidentActionsProps) {
  if (incident.status === "resolved") return null;
  const path = `/spaces/${slug}/orchestration/incidents/${incident.id}`;
  const apply = (request: Promise<Incident>, text: string) =>
    void request.then((after) => {
      toast(text);
      changed(after);
    }, toastFailure);
  const mute = (hours: number | null) => {
    const until = hours === null ? null : new Date(Date.now() + hours * HOUR_MILLIS).toISOString();
    apply(send("POST", `${path}/mute`, { until }), hours === null ? "It is no longer muted" : "It is muted");
  };
  return (
    <div class="row">
      {incident.status === "open" && (
        <button
          type="button"
          class="button"
          onClick={() => apply(send("POST", `${path}/acknowledge`), "You take care of it")}
        >
          Acknowledge
        </button>
      )}
      <Menu label="Mute" align="end" name={`Mute the incident of ${incident.pipeline_name ?? "a connector"}`}>
        {(close) =>
          mutes.map(([label, hours]) => (
            <button
              key={label}
              type="button"
              class="menu-item"
              onClick={() => {
                close();
                mute(hours);
              }}
            >
              {label}
            </button>
          ))
        }
      </Menu>
    </div>
  );
}
