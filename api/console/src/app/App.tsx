import { useEffect } from "preact/hooks";
import { session } from "../data/session";
import { useStore } from "../data/store";
import { Blank, Skeleton } from "../components/Load";
import { SignIn } from "../pages/sign-in/SignIn";
import { Toasts } from "../components/Toasts";
import { paths } from "./paths";
import { consoleLink, followLinks, navigate, useLocation } from "./router";
import { Routes, preloadPage } from "./routes";

export function App() {
  const state = useStore(session);
  const { path } = useLocation();
  const isSignInPage = path === paths.signIn;
  useEffect(() => {
    // The page that was asked for is shown after the sign-in, unless that was asked for itself.
    if (state.step === "in" && (isSignInPage || path === "/")) navigate(home(), { replace: true });
  }, [state.step, isSignInPage, path]);
  return (
    // Links inside the console are followed without loading the document again.
    <div onClick={followLinks} onPointerOver={preload} onFocusIn={preload}>
      <Content state={state.step} path={path} />
      <Toasts />
    </div>
  );
}

/** The script of a page is fetched when its link is pointed at. */
function preload(event: Event): void {
  const link = consoleLink(event);
  if (link) preloadPage(link.pathname);
}

function home(): string {
  const state = session.get();
  const last = localStorage.getItem("console.space");
  const spaces = state.step === "in" ? state.me.spaces : [];
  const space = spaces.find((one) => one.slug === last) ?? spaces[0];
  return space ? paths.space(space.slug) : paths.account;
}

/** Whether the reader has been in this space: its page then loads while the session is still asked for. */
function isInLastSpace(path: string): boolean {
  const last = localStorage.getItem("console.space");
  return last !== null && `${path}/`.startsWith(`${paths.space(last)}/`);
}

function Content({ state, path }: { state: "asking" | "out" | "unreachable" | "in"; path: string }) {
  if (state === "in" || (state === "asking" && isInLastSpace(path))) return <Routes />;
  if (state === "out") return <SignIn />;
  return (
    <main class="centre-page">
      {state === "asking" ? (
        <Skeleton lines={2} what="your session" />
      ) : (
        <Blank title="The API does not answer">
          <p>This page tries again every few seconds and continues by itself.</p>
        </Blank>
      )}
    </main>
  );
}
