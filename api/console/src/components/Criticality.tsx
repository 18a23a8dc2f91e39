import type { Criticality as CriticalityWord } from "../api/model";

export const criticalities: CriticalityWord[] = ["critical", "high", "medium", "low"];
export const criticalityLabels: Record<CriticalityWord, string> = {
  critical: "Critical",
  high: "High",
  medium: "Medium",
  low: "Low",
};

/** The criticality as one to four bars and a word. */
export function Criticality({ value }: { value: CriticalityWord | null }) {
  if (!value) return <span class="quiet">–</span>;
  const filled = 4 - criticalities.indexOf(value);
  return (
    <span class="criticality">
      <svg class="criticality-bars" viewBox="0 0 14 12" aria-hidden="true">
        {[0, 1, 2, 3].map((bar) => (
          <rect
            key={bar}
            x={bar * 3.6}
            y={9 - bar * 3}
            width="2.6"
            height={3 + bar * 3}
            class={bar < filled ? "criticality-on" : "criticality-off"}
          />
        ))}
      </svg>
      {criticalityLabels[value]}
    </span>
  );
}
