// What concerns every page: the API does not answer, or the mirror is behind its source.
import { useEffect, useState } from "preact/hooks";
import { checkReachable, reachable } from "../api/client";
import { liveState } from "../api/live";
import { Icon } from "../components/Icon";
import { useNow } from "../data/clock";
import { isStale, useConnectors } from "../data/connectors";
import { relative } from "../data/format";
import { readSession } from "../data/session";
import { useStore } from "../data/store";
import { paths } from "./paths";

const PROBE_MILLIS = 3000;

/** `slug` is null where no space is shown. */
export function Banners({ slug }: { slug: string | null }) {
  const isReachable = useStore(reachable);
  const live = useStore(liveState);
  useEffect(() => {
    // The stream has ended for want of access: the session tells whether that is the key or the space.
    if (live === "lost") void readSession();
  }, [live]);
  useEffect(() => {
    if (isReachable) return;
    const timer = window.setInterval(() => void checkReachable(), PROBE_MILLIS);
    return () => window.clearInterval(timer);
  }, [isReachable]);
  if (isReachable) {
    if (slug === null) return null;
    return (
      <>
        <StaleBanner slug={slug} />
        {live !== "live" && <LiveBanner />}
      </>
    );
  }
  return (
    <div class="banner banner-danger" role="alert">
      <Icon name="alert" />
      <span>The API does not answer. What you see may be out of date; the page continues by itself.</span>
    </div>
  );
}

/** A page that opens its stream waits for a moment, too. */
const LIVE_MILLIS = 10_000;

function LiveBanner() {
  const [isLate, setLate] = useState(false);
  useEffect(() => {
    const timer = window.setTimeout(() => setLate(true), LIVE_MILLIS);
    return () => window.clearTimeout(timer);
  }, []);
  if (!isLate) return null;
  return (
    <div class="banner" role="status">
      <Icon name="alert" />
      <span>
        Live updates are interrupted. What changes meanwhile appears when they continue, or when you load the
        page again.
      </span>
    </div>
  );
}

function StaleBanner({ slug }: { slug: string }) {
  const { data } = useConnectors(slug);
  const now = useNow(30);
  const stale = (data ?? []).filter((connector) => isStale(connector, now));
  const first = stale[0];
  if (!first) return null;
  const since = first.last_synced_at
    ? `was last read ${relative(first.last_synced_at, now)}`
    : "was never read";
  return (
    <div class="banner" role="status">
      <Icon name="alert" />
      <span>
        {stale.length === 1 ? "" : `${stale.length} connectors are behind. `}
        <a href={paths.connector(slug, first.id)}>{first.name}</a> {since}: what you see of it may have
        changed since.
      </span>
    </div>
  );
}
