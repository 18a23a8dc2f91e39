import { useNow } from "../data/clock";
import { duration, elapsed, exact, moment, relative, second, utc, zoned } from "../data/format";

interface TimeProps {
  at: string | null | undefined;
  /**
   * `relative` counts from now; `moment` is the local time to the minute, `second` to the second, `zoned` with the zone
   * too, `exact` with the day.
   */
  as?: "relative" | "moment" | "second" | "zoned" | "exact";
  none?: string;
}

/** A time in the reader's zone, with the exact time and UTC on hover. */
export function Time({ at, as = "moment", none = "–" }: TimeProps) {
  const now = useNow(as === "relative" ? 10 : 0);
  if (!at) return <span class="quiet">{none}</span>;
  const texts = {
    relative: () => relative(at, now),
    moment: () => moment(at),
    second: () => second(at),
    zoned: () => zoned(at),
    exact: () => exact(at),
  };
  return (
    <time dateTime={at} title={`${exact(at)}\n${utc(at)}`} class="nowrap">
      {texts[as]()}
    </time>
  );
}

/** How long something took, or has been running for. */
export function Elapsed({
  from,
  to,
  seconds,
}: {
  from: string | null;
  to: string | null;
  seconds?: number | null;
}) {
  const open = seconds === null || seconds === undefined ? from !== null && to === null : false;
  const now = useNow(open ? 1 : 0);
  return <span class="nowrap">{duration(seconds ?? elapsed(from, to, now))}</span>;
}
