import { send } from "../../api/client";
import { readList } from "../../api/lists";
import type { BrowserSession } from "../../api/model";
import { ActionsHead, ListPanel } from "../../components/ListPanel";
import { Blank } from "../../components/Load";
import { Time } from "../../components/Time";
import { toast, toastFailure } from "../../components/Toasts";
import { useResource } from "../../data/resource";
import { signOut } from "../../data/session";
import { browserName } from "./browsers";

export function Sessions() {
  const sessions = useResource(
    "/sessions",
    async (signal) => (await readList<BrowserSession>("/sessions", { size: 500 }, signal)).rows,
  );
  const end = (one: BrowserSession) => {
    const request = one.is_current ? signOut() : send("DELETE", `/sessions/${one.id}`);
    request.then(() => {
      if (one.is_current) return;
      toast("The session is ended");
      sessions.refresh();
    }, toastFailure);
  };
  return (
    <ListPanel
      title="Sessions"
      resource={sessions}
      what="your sessions"
      lines={2}
      className="cards"
      empty={<Blank title="No browser is signed in" />}
      head={
        <>
          <th>Browser</th>
          <th class="col-right">Signed in with</th>
          <th class="col-used">Last used</th>
          <th class="col-until">Ends</th>
          <ActionsHead className="col-end" />
        </>
      }
      row={(one) => <SessionRow key={one.id} session={one} end={() => end(one)} />}
    />
  );
}

function SessionRow({ session, end }: { session: BrowserSession; end(): void }) {
  return (
    <tr>
      <td>
        <span class="row row-wrap">
          {browserName(session.user_agent)}
          {session.is_current && <span class="tag">This browser</span>}
        </span>
      </td>
      <td class="col-right" data-label="Signed in with">
        {session.key_label ? `API key: ${session.key_label}` : "Company account"}
        {session.read_only && " (read-only)"}
      </td>
      <td class="col-used" data-label="Last used">
        <Time at={session.last_used_at} as="relative" />
      </td>
      <td class="col-until" data-label="Ends">
        <Time at={session.expires_at} />
      </td>
      <td class="col-end cell-corner">
        <button type="button" class="button" onClick={end}>
          {session.is_current ? "Sign out" : "End"}
        </button>
      </td>
    </tr>
  );
}
