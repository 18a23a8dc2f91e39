import { useId, useState } from "preact/hooks";
import { send } from "../../api/client";
import type { Comment } from "../../api/model";
import { Confirm } from "../Dialog";
import { Icon } from "../Icon";
import { Time } from "../Time";
import { toastFailure } from "../Toasts";
import { myId } from "../../data/session";
import { MOST_CHARACTERS } from "./Comments";

interface CommentItemProps {
  comment: Comment;
  path: string;
  /** Whether the reader may write comments at all; their own they may then edit and delete. */
  canEdit: boolean;
  /** Whether the reader may delete the comments of others. */
  canDelete: boolean;
  changed: () => void;
}

export function CommentItem({ comment, path, canEdit, canDelete, changed }: CommentItemProps) {
  const [editing, setEditing] = useState(false);
  const [deleting, setDeleting] = useState(false);
  const own = canEdit && comment.author.id === myId();
  const remove = async () => {
    try {
      await send("DELETE", path);
      changed();
    } catch (error) {
      toastFailure(error);
    }
    setDeleting(false);
  };
  return (
    <li class="comment">
      <div class="comment-head">
        <strong>{comment.author.name}</strong>
        <span class="quiet small">
          <Time at={comment.created_at} as="relative" />
          {comment.edited && ", edited"}
        </span>
        {own && !editing && (
          <CommentButton label="Edit the comment" icon="edit" click={() => setEditing(true)} />
        )}
        {(own || canDelete) && !editing && (
          <CommentButton label="Delete the comment" icon="trash" click={() => setDeleting(true)} />
        )}
      </div>
      {editing ? (
        <CommentEditor
          content={comment.content}
          path={path}
          done={() => setEditing(false)}
          saved={() => {
            setEditing(false);
            changed();
          }}
        />
      ) : (
        <p class="comment-text">{comment.content}</p>
      )}
      {deleting && (
        <Confirm
          title="Delete this comment?"
          action="Delete"
          danger
          close={() => setDeleting(false)}
          confirm={() => void remove()}
        >
          <p>It cannot be brought back.</p>
        </Confirm>
      )}
    </li>
  );
}

function CommentButton({ label, icon, click }: { label: string; icon: "edit" | "trash"; click: () => void }) {
  return (
    <button
      type="button"
      class="button button-quiet button-icon comment-button"
      aria-label={label}
      title={label}
      onClick={click}
    >
      <Icon name={icon} />
    </button>
  );
}

interface CommentEditorProps {
  content: string;
  path: string;
  saved: () => void;
  done: () => void;
}

function CommentEditor({ content, path, saved, done }: CommentEditorProps) {
  const id = useId();
  const [text, setText] = useState(content);
  const save = async (event: Event) => {
    event.preventDefault();
    try {
      await send("PATCH", path, { content: text });
      saved();
    } catch (error) {
      toastFailure(error);
    }
  };
  return (
    <form class="comment-edit" onSubmit={(event) => void save(event)}>
      <label class="hidden-visually" for={id}>
        Comment
      </label>
      <textarea
        id={id}
        class="textarea"
        rows={3}
        maxLength={MOST_CHARACTERS}
        value={text}
        onInput={({ currentTarget }) => setText(currentTarget.value)}
      />
      <div class="row">
        <button type="submit" class="button button-primary" disabled={text.trim() === ""}>
          Save
        </button>
        <button type="button" class="button" onClick={done}>
          Cancel
        </button>
      </div>
    </form>
  );
}
