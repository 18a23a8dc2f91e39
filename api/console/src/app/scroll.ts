// Where a page was scrolled to, kept in its history entry. The browser restores it too early: a page of the console is
// as long as before only when its data is there.

interface Kept {
  scroll: number;
}

const PATIENCE_MILLIS = 3000;
/** What the reader does to go elsewhere. */
const GESTURES = ["wheel", "pointerdown", "touchmove", "keydown"];

/** Called before the entry is left. */
export function keepScroll(): void {
  const kept: Kept = { scroll: window.scrollY };
  history.replaceState(kept, "");
}

/** Scrolls to where the entry was left, as soon as the page is long enough, unless the reader scrolls first. */
export function restoreScroll(state: unknown): void {
  const target = (state as Kept | null)?.scroll ?? 0;
  if (target === 0) return;
  const until = performance.now() + PATIENCE_MILLIS;
  const gone = new AbortController();
  for (const name of [...GESTURES, "popstate"])
    window.addEventListener(name, () => gone.abort(), { signal: gone.signal, passive: true });
  const attempt = () => {
    if (gone.signal.aborted) return;
    const isReached = document.documentElement.scrollHeight - window.innerHeight >= target;
    if (isReached) window.scrollTo(0, target);
    if (isReached || performance.now() > until) gone.abort();
    else requestAnimationFrame(attempt);
  };
  requestAnimationFrame(attempt);
}
