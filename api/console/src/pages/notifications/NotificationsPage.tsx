// Where the incidents of a space are reported, and which of them: channels and rules, for admins.
import { readAll } from "../../api/lists";
import type { Channel, Rule } from "../../api/model";
import { useRowKeys } from "../../app/keyboard";
import type { PageProps } from "../../app/routes";
import { FailureBlank } from "../../components/Load";
import { PageHead } from "../../components/PageHead";
import { useResource } from "../../data/resource";
import { Channels } from "./Channels";
import { Rules } from "./Rules";
import "./notifications.css";

export default function NotificationsPage({ slug }: PageProps) {
  const base = `/spaces/${slug}/orchestration/notifications`;
  const [channelPath, rulePath] = [`${base}/channels`, `${base}/rules`];
  const channels = useResource(channelPath, (signal) => readAll<Channel>(channelPath, signal), {
    everySeconds: 30,
  });
  const rules = useResource(rulePath, (signal) => readAll<Rule>(rulePath, signal));
  const refresh = () => {
    channels.refresh();
    rules.refresh();
  };
  useRowKeys();
  return (
    <div class="page">
      <PageHead title="Notifications">
        <p class="second">Which incidents of this space are reported, and where.</p>
      </PageHead>
      {channels.failure?.kind === "forbidden" ? (
        <div class="panel">
          <FailureBlank failure={channels.failure} what="the channels" />
        </div>
      ) : (
        <>
          <Channels slug={slug} path={channelPath} channels={channels} deleted={refresh} />
          <Rules slug={slug} path={rulePath} rules={rules} channels={channels.data ?? []} />
        </>
      )}
    </div>
  );
}
