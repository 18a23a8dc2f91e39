import type { Incident } from "../../api/model";
import { Time } from "../../components/Time";
import { useNow } from "../../data/clock";
import { isMuted, statusTexts } from "./words";

/** Whether an incident is open, who takes care of it, and until when it is muted. */
export function IncidentStatus({ incident }: { incident: Incident }) {
  const now = useNow(30);
  const { status, acknowledged, resolved_at, muted_until } = incident;
  return (
    <>
      <b>{statusTexts[status]}</b>
      {acknowledged && status === "acknowledged" && <div class="quiet small">by {acknowledged.by.name}</div>}
      {resolved_at && (
        <div class="quiet small">
          <Time at={resolved_at} as="relative" />
        </div>
      )}
      {muted_until && isMuted(incident, now) && (
        <div class="quiet small">
          Muted until <Time at={muted_until} />
        </div>
      )}
    </>
  );
}
