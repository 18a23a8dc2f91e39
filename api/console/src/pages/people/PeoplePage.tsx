// Who belongs to a space, by which groups, and its teams.
import { useState } from "preact/hooks";
import type { PageProps } from "../../app/routes";
import { PageHead } from "../../components/PageHead";
import { useResource } from "../../data/resource";
import { may, signInProviders } from "../../data/session";
import { Groups } from "./Groups";
import { Members } from "./Members";
import { Teams } from "./Teams";

/** Whether people sign in with accounts that have groups. */
function useHasGroups(): boolean {
  const { data } = useResource("the ways to sign in", signInProviders);
  return (data ?? []).some((provider) => provider.type === "oidc");
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
