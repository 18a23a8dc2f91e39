import { send } from "../../api/client";
import type { Incident } from "../../api/model";
import { Menu } from "../../components/Menu";
import { toast, toastFailure } from "../../components/Toasts";
import { useNow } from "../../data/clock";
import { isMuted } from "./words";

const HOUR_MILLIS = 3_600_000;
const mutes: [label: string, hours: number][] = [
  ["For an hour", 1],
  ["For 8 hours", 8],
  ["For a day", 24],
  ["For a week", 168],
];

interface IncidentActionsProps {
  slug: string;
  incident: Incident;
  /** The name of what the incident is about. */
  subject: string;
  changed(incident: Incident): void;
}

/** For editors: acknowledges an incident that is not resolved, or mutes it for a while. */
export function IncidentActions({ slug, incident, subject, changed }: IncidentActionsProps) {
  const now = useNow(30);
  if (incident.status === "resolved") return null;
  const path = `/spaces/${slug}/orchestration/incidents/${incident.id}`;
  const apply = (request: Promise<Incident>, text: string) =>
    void request.then((after) => {
      toast(text);
      changed(after);
    }, toastFailure);
  const mute = (hours: number | null) => {
    const until = hours === null ? null : new Date(Date.now() + hours * HOUR_MILLIS).toISOString();
    apply(send("POST", `${path}/mute`, { until }), hours === null ? "No longer muted" : "Muted");
  };
  return (
    <div class="row">
      {incident.status === "open" && (
        <button
          type="button"
          class="button"
          onClick={() => apply(send("POST", `${path}/acknowledge`), "Acknowledged")}
        >
          Acknowledge
        </button>
      )}
      <Menu label="Mute" align="end" name={`Mute the incident of ${subject}`}>
        {(close) =>
          [...mutes, ...(isMuted(incident, now) ? [["Unmute", null] as const] : [])].map(([label, hours]) => (
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
