import type { Channel } from "../../api/model";
import { StateShape } from "../../components/State";
import { Time } from "../../components/Time";
import { useNow } from "../../data/clock";
import { count } from "../../data/format";

/** Whether a channel is sent messages, and what keeps it from them. */
export function ChannelState({ channel }: { channel: Channel }) {
  const now = useNow(10);
  const { is_active, disabled_reason, paused_until, failures } = channel;
  if (!is_active) {
    return (
      <div>
        <span class="state">
          <StateShape status="skipped" />
          Switched off
        </span>
        {disabled_reason && <div class="quiet small">{disabled_reason}</div>}
      </div>
    );
  }
  const isPaused = paused_until !== null && Date.parse(paused_until) > now;
  return (
    <div>
      <span class="state">
        <StateShape status={failures > 0 ? "failed" : "success"} />
        {failures > 0 ? "Failing" : "On"}
      </span>
      {failures > 0 && (
        <div class="quiet small">
          {failures === 1 ? "The last attempt failed" : `The last ${count(failures)} attempts failed`}
        </div>
      )}
      {isPaused && (
        <div class="quiet small">
          Sends again <Time at={paused_until} as="relative" />
        </div>
      )}
    </div>
  );
}
