import { useEffect, useState } from "preact/hooks";
import { Icon } from "../components/Icon";
import { toastFailure } from "../components/Toasts";
import { count, readerZone } from "../data/format";
import { readUnread, unread } from "../data/inbox";
import { session, signOut } from "../data/session";
import { useStore } from "../data/store";
import { paths } from "./paths";
import { useLocation } from "./router";
import { type Theme, chooseTheme, chosenTheme } from "./theme";

const UNREAD_MILLIS = 60_000;

export function UserMenu() {
  const state = useStore(session);
  const [theme, setTheme] = useState(chosenTheme);
  const waiting = useStore(unread);
  const { path } = useLocation();
  const current = (to: string) => (path === to ? "page" : undefined);
  useEffect(() => {
    void readUnread();
    const timer = window.setInterval(() => !document.hidden && void readUnread(), UNREAD_MILLIS);
    return () => window.clearInterval(timer);
  }, []);
  if (state.step !== "in") return null;
  const choose = (chosen: Theme) => {
    chooseTheme(chosen);
    setTheme(chosen);
  };
  return (
    <>
      <label class="row small">
        <Icon name="sun" />
        <span class="hidden-visually">Colours</span>
        <select class="select" value={theme} onChange={(event) => choose(event.currentTarget.value as Theme)}>
          <option value="system">As the system</option>
          <option value="light">Light</option>
          <option value="dark">Dark</option>
        </select>
      </label>
      <p class="quiet small">Times in {readerZone()}</p>
      <nav class="nav" aria-label="You">
        <a href={paths.inbox} aria-current={current(paths.inbox)}>
          <Icon name="comment" />
          Inbox
          {waiting > 0 && <span class="push tag">{count(waiting)} unread</span>}
        </a>
        <a href={paths.account} aria-current={current(paths.account)}>
          <Icon name="key" />
          <span class="clip">{state.me.user.name}</span>
        </a>
      </nav>
      <button type="button" class="button" onClick={() => signOut().catch(toastFailure)}>
        Sign out
      </button>
    </>
  );
}
