import { StateLabel } from "../components/State";
import { attentionRank } from "./counts";
import type { StateName } from "./states";
import "./drawings.css";

/** The states that a drawing shows, with their shapes. */
export function Legend({ states }: { states: Iterable<StateName> }) {
  const sorted = [...new Set(states)].sort((a, b) => attentionRank(a) - attentionRank(b));
  return (
    <ul class="legend" aria-label="Legend">
      {sorted.map((state) => (
        <li key={state}>
          <StateLabel status={state} />
        </li>
      ))}
    </ul>
  );
}
