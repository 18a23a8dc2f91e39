import { useEffect, useState } from "preact/hooks";

const TYPING_PAUSE_MILLIS = 200;

/** Returns a text after it has not changed for a moment: a search as one types sends few requests. */
export function useSettled(text: string): string {
  const [settled, setSettled] = useState(text);
  useEffect(() => {
    const timer = window.setTimeout(() => setSettled(text), TYPING_PAUSE_MILLIS);
    return () => window.clearTimeout(timer);
  }, [text]);
  return settled;
}
