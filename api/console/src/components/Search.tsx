// The search field of a list: as one types, after a short pause, the address changes.
import { useEffect, useRef, useState } from "preact/hooks";
import { setQuery } from "../app/router";
import { Icon } from "./Icon";

const TYPING_PAUSE_MILLIS = 200;

export function Search({ value, label }: { value: string; label?: string }) {
  const [text, setText] = useState(value);
  const sent = useRef(value);
  useEffect(() => {
    // Another page of the history, not our own change.
    if (value !== sent.current) setText(value);
    sent.current = value;
  }, [value]);
  useEffect(() => {
    const wanted = text.trim();
    if (wanted === sent.current) return;
    const timer = window.setTimeout(() => {
      sent.current = wanted;
      setQuery({ q: wanted || null });
    }, TYPING_PAUSE_MILLIS);
    return () => window.clearTimeout(timer);
  }, [text]);
  return (
    <div class="search">
      <Icon name="search" />
      <input
        class="input"
        type="search"
        aria-label={label}
        placeholder="Search  ( / )"
        maxLength={200}
        data-search
        value={text}
        onInput={(event) => setText(event.currentTarget.value)}
      />
    </div>
  );
}
