// The routes on the History API: a path selects the page, the query holds what the page shows (filters, sort, days).
import { useEffect, useState } from "preact/hooks";
import { keepScroll, restoreScroll } from "./scroll";

export interface Location {
  path: string;
  query: URLSearchParams;
}

const listeners = new Set<() => void>();

export function currentLocation(): Location {
  return { path: window.location.pathname, query: new URLSearchParams(window.location.search) };
}

function announce(): void {
  for (const listener of listeners) listener();
}

window.addEventListener("popstate", (event) => {
  announce();
  restoreScroll(event.state);
});

/** Goes to a path of the console. With `replace` the current history entry is overwritten. */
export function navigate(to: string, options: { replace?: boolean } = {}): void {
  const here = window.location.pathname + window.location.search;
  if (to === here) return;
  const samePage = to.split("?")[0] === window.location.pathname;
  if (options.replace) history.replaceState(null, "", to);
  else {
    keepScroll();
    history.pushState(null, "", to);
  }
  if (!samePage) window.scrollTo(0, 0);
  announce();
}

/** Writes parameters of the query; `null`, an empty text and an empty list remove one. */
export function setQuery(
  change: Record<string, string | string[] | null>,
  options: { replace?: boolean } = { replace: true },
): void {
  const { path, query } = currentLocation();
  for (const [name, value] of Object.entries(change)) {
    query.delete(name);
    for (const one of Array.isArray(value) ? value : [value]) if (one) query.append(name, one);
  }
  const text = query.toString();
  navigate(text ? `${path}?${text}` : path, options);
}

export function useLocation(): Location {
  const [location, setLocation] = useState(currentLocation);
  useEffect(() => {
    const update = () => setLocation(currentLocation());
    listeners.add(update);
    update();
    return () => void listeners.delete(update);
  }, []);
  return location;
}

/** Returns the parameters of a path that matches the pattern (`/s/:slug/runs/:id`), else `null`. */
export function match(pattern: string, path: string): Record<string, string> | null {
  const wanted = pattern.split("/");
  const given = path.replace(/\/+$/, "").split("/");
  if (given.length === 1) given.push("");
  if (wanted.length !== given.length) return null;
  const found: Record<string, string> = {};
  for (const [index, part] of wanted.entries()) {
    const value = given[index] ?? "";
    if (!part.startsWith(":")) {
      if (part !== value) return null;
    } else if (value === "") return null;
    else found[part.slice(1)] = decode(value);
  }
  return found;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Returns the link to a page of the console that an event is about. */
export function consoleLink(event: Event): HTMLAnchorElement | null {
  const link = (event.target as Element | null)?.closest?.("a");
  if (!link || link.target || link.hasAttribute("download") || link.origin !== window.location.origin)
    return null;
  return isConsolePath(link.pathname) ? link : null;
}

/** A click on a plain link inside the console changes the page without loading the document again. */
export function followLinks(event: MouseEvent): void {
  if (event.defaultPrevented || event.button !== 0) return;
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const link = consoleLink(event);
  if (!link) return;
  event.preventDefault();
  const to = link.pathname + link.search;
  link.dataset.followed = "true";
  afterPaint(() => {
    delete link.dataset.followed;
    navigate(to);
  });
}

const LONGEST_FRAME_MILLIS = 100;

/** Calls after the next frame is painted, so that a page that takes long to draw does not delay the feedback of a click. */
function afterPaint(call: () => void): void {
  let isCalled = false;
  const once = () => {
    if (!isCalled) call();
    isCalled = true;
  };
  requestAnimationFrame(() => window.setTimeout(once));
  // A page in the background has no frames.
  window.setTimeout(once, LONGEST_FRAME_MILLIS);
}

function isConsolePath(path: string): boolean {
  return ["/", "/sign-in", "/account", "/inbox"].includes(path) || path.startsWith("/s/");
}
