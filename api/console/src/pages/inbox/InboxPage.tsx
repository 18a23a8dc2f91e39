// One's own notifications of all spaces: what happened to the pipelines one watches and the runs one triggered.
import { useEffect, useRef } from "preact/hooks";
import { send } from "../../api/client";
import { readList } from "../../api/lists";
import type { Notification } from "../../api/model";
import { useRowKeys } from "../../app/keyboard";
import { paths } from "../../app/paths";
import { setQuery, useLocation } from "../../app/router";
import { GrowingRows } from "../../components/GrowingRows";
import { Blank } from "../../components/Load";
import { PageHead } from "../../components/PageHead";
import { Time } from "../../components/Time";
import { toastFailure } from "../../components/Toasts";
import { useGrowingList } from "../../data/growing";
import { INBOX_PATH, readUnread, unread as unreadCount } from "../../data/inbox";
import { useStore } from "../../data/store";

const PAGE = 50;

export default function InboxPage() {
  const { query } = useLocation();
  const unread = query.get("unread") === "true";
  const list = useGrowingList<Notification>(`${INBOX_PATH} ${unread}`, PAGE, ({ cursor, page }, signal) =>
    readList(INBOX_PATH, { unread, size: PAGE, ...(cursor ? { cursor } : { page }) }, signal),
  );
  useRowKeys();
  const count = useStore(unreadCount);
  const counted = useRef(count);
  useEffect(() => {
    // Rows that were read on stay; a refresh would put the reader back to the first page.
    if (counted.current !== count && list.rows.length <= PAGE) list.refresh();
    counted.current = count;
  }, [count]);
  const mark = (body: { ids: string[] } | { until: string }, marked: Notification[]) => {
    const read_at = new Date().toISOString();
    void send("PUT", `${INBOX_PATH}/read`, body).then(() => {
      list.replace(marked.map((one) => ({ ...one, read_at })));
      void readUnread();
    }, toastFailure);
  };
  const newest = list.rows[0]?.created_at;
  return (
    <div class="page">
      <PageHead
        title="Inbox"
        actions={
          <button
            type="button"
            class="button"
            disabled={!newest || list.rows.every((one) => one.read_at !== null)}
            // What arrives meanwhile stays unread.
            onClick={() => newest && mark({ until: newest }, list.rows)}
          >
            Mark all as read
          </button>
        }
      >
        <p class="second">What happened to the pipelines you watch and the runs you triggered.</p>
      </PageHead>
      <div class="filter-row">
        <button
          type="button"
          class={unread ? "button switch button-chosen" : "button switch"}
          aria-pressed={unread}
          onClick={() => setQuery({ unread: unread ? null : "true" })}
        >
          Unread only
        </button>
      </div>
      <div class="panel">
        <GrowingRows
          list={list}
          what="your inbox"
          lines={6}
          empty={
            <Blank title={unread ? "You have read everything" : "Your inbox is empty"}>
              {!unread && <p>Watch a pipeline to be told here when something is wrong with it.</p>}
            </Blank>
          }
        >
          <ul class="lines inbox">
            {list.rows.map((one) => (
              <Entry key={one.id} entry={one} read={() => mark({ ids: [one.id] }, [one])} />
            ))}
          </ul>
        </GrowingRows>
      </div>
    </div>
  );
}

function target({ space, run_id, incident_id, pipeline_id }: Notification): string {
  if (run_id) return paths.run(space.slug, run_id);
  if (incident_id) return paths.incident(space.slug, incident_id);
  return pipeline_id ? paths.pipeline(space.slug, pipeline_id) : paths.space(space.slug);
}

function Entry({ entry, read }: { entry: Notification; read(): void }) {
  return (
    <li class="line">
      <div class="line-text">
        <a
          class={entry.read_at ? "second" : "name-link"}
          data-row
          href={target(entry)}
          // Who opens what an entry is about has read it.
          onClick={() => entry.read_at === null && read()}
        >
          {entry.summary}
        </a>
        <div class="quiet small clip">
          {[entry.space.name, entry.pipeline_name].filter(Boolean).join(" · ")}
        </div>
      </div>
      <div class="line-end">
        <Time at={entry.created_at} as="relative" />
        {entry.read_at === null && (
          <button type="button" class="link-button small" onClick={read}>
            Mark as read
          </button>
        )}
      </div>
    </li>
  );
}
