// Who belongs to a space, by which groups, and its teams.
import { useEffect, useState } from "preact/hooks";
import type { PageProps } from "../../app/routes";
import { PageHead } from "../../components/PageHead";
import { may, signInProviders } from "../../data/session";
import { Groups } from "./Groups";
import { Members } from "./Members";
import { Teams } from "./Teams";

/** Whether people sign in with accounts that have groups. */
function useHasGroups(): boolean {
  const [has, setHas] = useState(false);
  useEffect(() => {
    signInProviders().then(
      (all) => setHas(all.some((provider) => provider.type === "oidc")),
      () => undefined,
    );
  }, []);
  return has;
}

export default function PeoplePage({ slug }: PageProps) {
  const hasGroups = useHasGroups();
  // A change of a group changes the members, too.
  const [turn, setTurn] = useState(0);
  return (
    <div class="page">
      <PageHead title="People" />
      <Members key={turn} slug={slug} />
      {hasGroups && may(slug, "admin") && <Groups slug={slug} changed={() => setTurn(turn + 1)} />}
      <Teams slug={slug} />
    </div>
  );
}
