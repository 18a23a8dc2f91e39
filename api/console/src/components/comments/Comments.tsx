import { useEffect, useId, useState } from "preact/hooks";
import { send } from "../../api/client";
import { readList } from "../../api/lists";
import type { LiveEvent } from "../../api/live";
import type { Comment } from "../../api/model";
import { Load } from "../Load";
import { toastFailure } from "../Toasts";
import { count } from "../../data/format";
import { useLiveBatch } from "../../data/live";
import { useResource } from "../../data/resource";
import { may } from "../../data/session";
import { CommentItem } from "./CommentItem";
import { PAGE, readNewest } from "./newest";
import "./comments.css";

/** How many pages are shown at first: the last one may have a single comment. */
const FIRST_PAGES = 2;
export const MOST_CHARACTERS = 10_000;

interface CommentsProps {
  slug: string;
  /** `runs/{id}`, `task-runs/{id}` or `incidents/{id}`. */
  target: string;
  /** Tells how many comments there are. */
  counted?: (count: number) => void;
}

/** The newest comments on a run, task run or incident, the oldest of them first, and a field for another. */
export function Comments({ slug, target, counted }: CommentsProps) {
  const base = `/spaces/${encodeURIComponent(slug)}/orchestration`;
  const path = `${base}/${target}/comments`;
  const [pages, setPages] = useState(FIRST_PAGES);
  const comments = useResource(`comments ${slug} ${target}`, (signal) =>
    readNewest((page) => readList<Comment>(path, { size: PAGE, page }, signal), pages),
  );
  const showEarlier = () => {
    setPages(pages + 1);
    comments.refresh();
  };
  useLiveBatch((event) => (isOn(target, event) ? event.data.id : null), comments.refresh);
  const total = comments.data?.total;
  useEffect(() => {
    if (total !== undefined) counted?.(total);
  }, [total]);
  return (
    <>
      <Load resource={comments} what="the comments" lines={2}>
        {({ rows, earlier }) => (
          <>
            {earlier > 0 && (
              <p class="comments-note">
                <button type="button" class="button" onClick={showEarlier}>
                  Show earlier comments ({count(earlier)})
                </button>
              </p>
            )}
            {rows.length > 0 && (
              <ol class="comments">
                {rows.map((comment) => (
                  <CommentItem
                    key={comment.id}
                    comment={comment}
                    path={`${base}/comments/${comment.id}`}
                    canDelete={may(slug, "admin")}
                    canEdit={may(slug, "editor")}
                    changed={comments.refresh}
                  />
                ))}
              </ol>
            )}
            {rows.length === 0 && !may(slug, "editor") && <p class="quiet comments-note">No comments yet.</p>}
          </>
        )}
      </Load>
      {may(slug, "editor") && <NewComment path={path} added={comments.refresh} />}
    </>
  );
}

/** Whether an event is of a comment on this run, task run or incident. */
function isOn(target: string, { type, data }: LiveEvent): boolean {
  const [kind, id] = target.split("/");
  if (type !== "comment") return false;
  if (kind === "incidents") return data.incident_id === id;
  return kind === "task-runs" ? data.task_run_id === id : data.run_id === id && !data.task_run_id;
}

function NewComment({ path, added }: { path: string; added: () => void }) {
  const id = useId();
  const [text, setText] = useState("");
  const [busy, setBusy] = useState(false);
  const add = async (event: Event) => {
    event.preventDefault();
    if (text.trim() === "" || busy) return;
    setBusy(true);
    try {
      await send("POST", path, { content: text });
      setText("");
      added();
    } catch (error) {
      toastFailure(error);
    }
    setBusy(false);
  };
  const keys = (event: KeyboardEvent) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) void add(event);
  };
  return (
    <form class="comment-form" onSubmit={(event) => void add(event)}>
      <label class="hidden-visually" for={id}>
        New comment
      </label>
      <textarea
        id={id}
        class="textarea"
        rows={2}
        maxLength={MOST_CHARACTERS}
        placeholder="Write a comment"
        value={text}
        onInput={({ currentTarget }) => setText(currentTarget.value)}
        onKeyDown={keys}
      />
      <button type="submit" class="button" disabled={busy || text.trim() === ""}>
        Comment
      </button>
    </form>
  );
}
