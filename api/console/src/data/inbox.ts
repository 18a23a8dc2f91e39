// The number of unread notifications, which the menu shows.
import { readList } from "../api/lists";
import { store } from "./store";

export const INBOX_PATH = "/me/notifications";

export const unread = store<number>(0);

export async function readUnread(): Promise<void> {
  // Without an answer the number stays; pages say that the API is away.
  const answer = await readList(INBOX_PATH, { unread: true, size: 1 }).catch(() => null);
  if (answer) unread.set(answer.total);
}
