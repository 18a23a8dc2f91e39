// The frame around every page: navigation, space, banners.
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { followSpace } from "../api/live";
import { PageHead } from "../components/PageHead";
import { Icon, type IconName } from "../components/Icon";
import { may, readSession, roleIn, session } from "../data/session";
import { useStore } from "../data/store";
import { Banners } from "./Banners";
import { KeyHelp } from "./KeyHelp";
import { useShortcuts } from "./keyboard";
import { paths } from "./paths";
import { navigate, useLocation } from "./router";
import { UserMenu } from "./UserMenu";

export function Shell({ slug, children }: { slug: string | null; children: ComponentChildren }) {
  const [menuOpen, setMenuOpen] = useState(false);
  const { path } = useLocation();
  const main = useRef<HTMLElement>(null);
  useEffect(() => setMenuOpen(false), [path]);
  const { step } = useStore(session);
  const allowed = slug === null || step === "asking" || roleIn(slug) !== null;
  useEffect(() => {
    if (!slug || !allowed) return;
    localStorage.setItem("console.space", slug);
    return followSpace(slug);
  }, [slug, allowed]);
  useSessionWatch(!slug || !allowed);
  useShortcuts(slug);
  const space = slug ?? localStorage.getItem("console.space");
  return (
    <div class="shell">
      <a
        class="skip-link"
        href="#main"
        onClick={(event) => {
          event.preventDefault();
          main.current?.focus();
        }}
      >
        Skip to the content
      </a>
      <header class="topbar">
        <button
          type="button"
          class="button button-quiet button-icon"
          aria-label="Menu"
          aria-expanded={menuOpen}
          aria-controls="sidebar"
          onClick={() => setMenuOpen(!menuOpen)}
        >
          <Icon name="menu" />
        </button>
        <a class="brand" href="/">
          <img src="/icon.svg" alt="" />
          Orchestration
        </a>
      </header>
      <aside class="sidebar" id="sidebar" aria-label="Menu" data-open={menuOpen}>
        <a class="brand" href="/">
          <img src="/icon.svg" alt="" />
          Orchestration
        </a>
        <SpaceSwitcher slug={space} />
        {space && roleIn(space) && <Navigation slug={space} path={path} />}
        <div class="sidebar-foot">
          <UserMenu />
        </div>
      </aside>
      <KeyHelp />
      <main class="main" id="main" tabIndex={-1} ref={main}>
        <Banners slug={allowed ? slug : null} />
        {allowed ? children : <NoSpace />}
      </main>
    </div>
  );
}

const SESSION_MILLIS = 10_000;

/**
 * Asks again and again who is signed in. The pages of a space need it not: their event stream ends with the key, the
 * access and the API.
 */
function useSessionWatch(isOn: boolean): void {
  useEffect(() => {
    if (!isOn) return;
    const timer = window.setInterval(() => !document.hidden && void readSession(), SESSION_MILLIS);
    return () => window.clearInterval(timer);
  }, [isOn]);
}

function NoSpace() {
  return (
    <div class="page">
      <PageHead title="You have no access to this space" />
      <p>It does not exist, or you are no longer a member of it. An admin of the space can add you.</p>
      <p>
        <a href={paths.account}>Your spaces and keys</a>
      </p>
    </div>
  );
}

function SpaceSwitcher({ slug }: { slug: string | null }) {
  const state = useStore(session);
  const spaces = state.step === "in" ? state.me.spaces : [];
  if (spaces.length === 0) return null;
  const isKnown = spaces.some((space) => space.slug === slug);
  return (
    <label class="field">
      <span class="hidden-visually">Space</span>
      <select
        class="select"
        value={isKnown ? (slug ?? "") : ""}
        onChange={(event) => navigate(paths.space(event.currentTarget.value))}
      >
        {!isKnown && (
          <option value="" disabled hidden>
            Choose a space
          </option>
        )}
        {spaces.map((space) => (
          <option key={space.slug} value={space.slug}>
            {space.name}
          </option>
        ))}
      </select>
    </label>
  );
}

interface NavItem {
  label: string;
  icon: IconName;
  to: string;
  admin?: boolean;
}

function Navigation({ slug, path }: { slug: string; path: string }) {
  const items: NavItem[] = [
    { label: "Now", icon: "now", to: paths.space(slug) },
    { label: "Incidents", icon: "alert", to: paths.incidents(slug) },
    { label: "Pipelines", icon: "pipelines", to: paths.pipelines(slug) },
    { label: "Runs", icon: "runs", to: paths.runs(slug) },
    { label: "Connectors", icon: "connectors", to: paths.connectors(slug) },
    { label: "People", icon: "people", to: paths.people(slug) },
    { label: "Notifications", icon: "send", to: paths.notifications(slug), admin: true },
    { label: "Audit log", icon: "audit", to: paths.audit(slug), admin: true },
  ];
  const isCurrent = (to: string) => path === to || (to !== paths.space(slug) && path.startsWith(`${to}/`));
  return (
    <nav class="nav" aria-label="Space">
      {items
        .filter((item) => !item.admin || may(slug, "admin"))
        .map((item) => (
          <a key={item.to} href={item.to} aria-current={isCurrent(item.to) ? "page" : undefined}>
            <Icon name={item.icon} />
            {item.label}
          </a>
        ))}
    </nav>
  );
}
