// Keys that work on every page: `/` goes to the search, `g` and a letter to a page.
import { useEffect } from "preact/hooks";
import { store } from "../data/store";
import { paths } from "./paths";
import { navigate } from "./router";

/** Whether the list of keys is shown. */
export const helpShown = store(false);

export function isTyping(event: KeyboardEvent): boolean {
  const target = event.target as HTMLElement | null;
  return !!target?.closest("input, textarea, select, [contenteditable]") || !!target?.closest("dialog");
}

export function useShortcuts(slug: string | null): void {
  useEffect(() => {
    let leader = 0;
    const listen = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event)) return;
      if (event.key === "/") {
        const search = document.querySelector<HTMLInputElement>("[data-search]");
        if (!search) return;
        event.preventDefault();
        search.focus();
        search.select();
      } else if (event.key === "?") {
        helpShown.set(true);
      } else if (event.key === "g") {
        leader = event.timeStamp;
      } else if (slug && event.timeStamp - leader < 1200) {
        leader = 0;
        const to = pageOf(slug, event.key);
        if (to) navigate(to);
      }
    };
    document.addEventListener("keydown", listen);
    return () => document.removeEventListener("keydown", listen);
  }, [slug]);
}

function pageOf(slug: string, key: string): string | null {
  const pages: Record<string, string> = {
    n: paths.space(slug),
    p: paths.pipelines(slug),
    r: paths.runs(slug),
    c: paths.connectors(slug),
    i: paths.incidents(slug),
  };
  return pages[key] ?? null;
}

/** `j` and `k` move the focus between the rows of a list: elements with `data-row` below the container. */
export function useRowKeys(): void {
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event)) return;
      if (event.key !== "j" && event.key !== "k") return;
      const rows = [...document.querySelectorAll<HTMLElement>("[data-row]")];
      const here = rows.findIndex(
        (row) => row === document.activeElement || row.contains(document.activeElement),
      );
      const next = here < 0 ? 0 : here + (event.key === "j" ? 1 : -1);
      rows[Math.max(0, Math.min(rows.length - 1, next))]?.focus();
      event.preventDefault();
    };
    document.addEventListener("keydown", listen);
    return () => document.removeEventListener("keydown", listen);
  }, []);
}
