// Signing in: with a key, pasted once and exchanged for a session cookie, or with the company's account.
import { useEffect, useState } from "preact/hooks";
import { asFailure } from "../../api/failure";
import type { SignInProvider } from "../../api/model";
import { paths } from "../../app/paths";
import { useLocation } from "../../app/router";
import { session, signIn, signInProviders } from "../../data/session";
import { useStore } from "../../data/store";
import { problemText } from "./problems";

export function SignIn() {
  const state = useStore(session);
  const { query } = useLocation();
  const problem = query.get("problem");
  const reason = problem ? problemText(problem) : state.step === "out" ? state.reason : null;
  useEffect(() => {
    document.title = "Sign in · Orchestration";
  }, []);
  return (
    <main class="centre-page">
      <div class="sign-in panel">
        <div class="sign-in-head">
          <img src="/icon.svg" alt="" width="40" height="40" />
          <h1>Sign in to Orchestration</h1>
          <p class="second">What ran, what failed, and who owns it.</p>
        </div>
        {reason && (
          <p class="notice" role="alert">
            {reason}
          </p>
        )}
        <Providers />
        <KeyForm />
      </div>
    </main>
  );
}

/** The page that was asked for, to be shown after the way to the provider and back. */
function asked(path: string, query: URLSearchParams): string {
  if (path === paths.signIn) return "/";
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

function Providers() {
  const { path, query } = useLocation();
  const [providers, setProviders] = useState<SignInProvider[]>([]);
  useEffect(() => {
    // Without this list the key still works, so a failure is not shown.
    signInProviders().then(setProviders, () => undefined);
  }, []);
  const links = providers.filter((provider) => provider.url && provider.type !== "key");
  if (links.length === 0) return null;
  const returnTo = new URLSearchParams({ return_to: asked(path, query) }).toString();
  return (
    <div class="stack">
      {links.map((provider) => (
        <a key={provider.url} class="button button-primary" href={`${provider.url}?${returnTo}`}>
          Continue with {provider.name}
        </a>
      ))}
      <p class="sign-in-or quiet small">or with an API key</p>
    </div>
  );
}

function KeyForm() {
  const [key, setKey] = useState("");
  const [fault, setFault] = useState<string | null>(null);
  const [busy, setBusy] = useState(false);
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    setBusy(true);
    setFault(null);
    try {
      await signIn(key.trim());
    } catch (error) {
      const failure = asFailure(error);
      setFault(
        failure.kind === "signed-out"
          ? "This key is not valid. It may have been revoked or have expired."
          : failure.message,
      );
    } finally {
      setBusy(false);
    }
  };
  return (
    <form class="stack" onSubmit={submit}>
      <div class="field">
        <label for="key">API key</label>
        <input
          id="key"
          class="input"
          type="password"
          autoComplete="off"
          spellcheck={false}
          required
          autoFocus
          placeholder="qk_…"
          value={key}
          aria-invalid={fault ? "true" : undefined}
          aria-describedby="key-help"
          onInput={(event) => setKey(event.currentTarget.value)}
        />
        {fault && (
          <p class="field-fault" role="alert">
            {fault}
          </p>
        )}
        <p class="field-help" id="key-help">
          It is exchanged for a session cookie and not stored in this browser.
        </p>
      </div>
      <button class="button button-primary" disabled={busy || key.trim() === ""}>
        {busy ? "Signing in…" : "Sign in"}
      </button>
    </form>
  );
}
