// Who is signed in, and what they may do in which space.
import { api, signedOut, take } from "../api/client";
import { asFailure } from "../api/failure";
import type { Me, Role, SignInProvider } from "../api/model";
import { forgetAll } from "./resource";
import { store } from "./store";

export type SessionState =
  | { step: "asking" }
  | { step: "out"; reason: string | null }
  | { step: "unreachable" }
  | { step: "in"; me: Me; readOnly: boolean; signOutUrl: string | null };

export const session = store<SessionState>({ step: "asking" });

const RETRY_MILLIS = 3000;
let retry: number | undefined;

/** Asks who is signed in. While the API does not answer, it is asked again every few seconds. */
export async function readSession(): Promise<void> {
  window.clearTimeout(retry);
  try {
    const [me, own] = await Promise.all([take(api.GET("/api/v1.0/me")), take(api.GET("/api/v1.0/session"))]);
    session.set({ step: "in", me, readOnly: own.read_only, signOutUrl: own.sign_out_url });
  } catch (error) {
    const failure = asFailure(error);
    if (failure.kind === "signed-out") {
      // The watcher below has set the reason if there was a session before.
      if (session.get().step !== "out") session.set({ step: "out", reason: null });
      return;
    }
    // Who is signed in keeps the page, which says that the API does not answer.
    if (session.get().step !== "in") session.set({ step: "unreachable" });
    // A second caller starts no second row of attempts.
    window.clearTimeout(retry);
    retry = window.setTimeout(() => void readSession(), RETRY_MILLIS);
  }
}

const SESSION_ENDED =
  "Your session has ended: its key was revoked, your access was withdrawn, or it has expired.";

// Any request may learn that the session has ended: its key was revoked, say, or it is too old.
signedOut.watch((reason) => {
  if (reason === null) return;
  signedOut.set(null);
  const { step } = session.get();
  // Several requests may learn it at once; the first one gives the reason.
  if (step === "out") return;
  forgetAll();
  session.set({ step: "out", reason: step === "in" ? SESSION_ENDED : null });
});

export async function signIn(key: string): Promise<void> {
  await take(api.POST("/api/v1.0/session", { body: { key } }));
  forgetAll();
  await readSession();
}

/** Ends the session, and then that at the provider of the company's accounts if it began there. */
export async function signOut(): Promise<void> {
  const state = session.get();
  await take(api.DELETE("/api/v1.0/session"));
  forgetAll();
  session.set({ step: "out", reason: null });
  if (state.step === "in" && state.signOutUrl) window.location.assign(state.signOutUrl);
}

export function signInProviders(): Promise<SignInProvider[]> {
  return take(api.GET("/api/v1.0/session/providers"));
}

const ranks: Record<Role, number> = { viewer: 0, editor: 1, admin: 2 };

export function roleIn(slug: string): Role | null {
  const state = session.get();
  if (state.step !== "in") return null;
  return state.me.spaces.find((space) => space.slug === slug)?.role ?? null;
}

/** Whether the role in this space is at least the given one. The API decides; this only hides what it would refuse. */
export function may(slug: string, role: Role): boolean {
  const state = session.get();
  if (state.step === "in" && state.readOnly && role !== "viewer") return false;
  const own = roleIn(slug);
  return own !== null && ranks[own] >= ranks[role];
}

export function myId(): string | null {
  const state = session.get();
  return state.step === "in" ? state.me.user.id : null;
}
