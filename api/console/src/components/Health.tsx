// How a pipeline is, in words: the icon beside them is decoration.
import type { Pipeline } from "../api/model";
import { Icon, type IconName } from "./Icon";

type HealthWord = Pipeline["health"];

const texts: Record<HealthWord, { label: string; icon: IconName }> = {
  ok: { label: "As expected", icon: "check" },
  slow: { label: "Slow", icon: "now" },
  late: { label: "Late", icon: "now" },
  failing: { label: "Failing", icon: "alert" },
  unknown: { label: "Health unknown", icon: "more" },
};

export function healthLabel(health: string): string {
  return texts[health as HealthWord]?.label ?? health;
}

/** Shown where it adds something to the status: not for a pipeline that is as expected. */
export function HealthTag({ health }: { health: HealthWord }) {
  const text = texts[health];
  if (health === "ok" || !text) return null;
  return (
    <span class="tag health" data-health={health}>
      <Icon name={text.icon} />
      {text.label}
    </span>
  );
}
