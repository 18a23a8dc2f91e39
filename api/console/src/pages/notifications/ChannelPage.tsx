// One channel: where it sends, how it is, a test, and the log of its messages.
import { useState } from "preact/hooks";
import { send } from "../../api/client";
import type { Channel, Delivery } from "../../api/model";
import { paths } from "../../app/paths";
import { navigate } from "../../app/router";
import type { PageProps } from "../../app/routes";
import { Load } from "../../components/Load";
import { PageHead } from "../../components/PageHead";
import { Time } from "../../components/Time";
import { toast, toastFailure } from "../../components/Toasts";
import { type Resource, useResource } from "../../data/resource";
import { may } from "../../data/session";
import { ChannelDialog } from "./ChannelDialog";
import { ChannelState } from "./ChannelState";
import { RemoveChannel } from "./Channels";
import { Deliveries } from "./Deliveries";
import { targetText, typeTexts } from "./words";
import "../pipeline/pipeline.css";
import "./notifications.css";

export default function ChannelPage({ slug, id }: PageProps) {
  const path = `/spaces/${slug}/orchestration/notifications/channels`;
  const channel = useResource(
    `${path}/${id}`,
    (signal) => send<Channel>("GET", `${path}/${id}`, undefined, signal),
    { everySeconds: 10 },
  );
  // A test is in the log at once.
  const [turn, setTurn] = useState(0);
  return (
    <div class="page">
      <Load resource={channel} what="the channel" lines={8}>
        {(loaded) => (
          <>
            <PageHead
              title={loaded.name}
              crumbs={[{ label: "Notifications", to: paths.notifications(slug) }]}
              actions={
                may(slug, "admin") && (
                  <Actions
                    slug={slug}
                    path={path}
                    channel={loaded}
                    resource={channel}
                    tested={() => setTurn(turn + 1)}
                  />
                )
              }
            >
              <Facts channel={loaded} />
            </PageHead>
            <Deliveries key={turn} slug={slug} path={`${path}/${id}/deliveries`} />
          </>
        )}
      </Load>
    </div>
  );
}

function Facts({ channel }: { channel: Channel }) {
  const until = channel.config.previous_secret_until;
  return (
    <div class="pipeline-facts">
      <ChannelState channel={channel} />
      <div class="facts-line">
        <span>
          <span class="quiet">Type </span>
          {typeTexts[channel.type]}
        </span>
        <span class="channel-target">
          <span class="quiet">Sends to </span>
          {targetText(channel) || "an address that is not shown"}
        </span>
        {until && Date.parse(until) > Date.now() && (
          <span>
            <span class="quiet">Also signed with the previous secret until </span>
            <Time at={until} />
          </span>
        )}
      </div>
    </div>
  );
}

interface ActionsProps {
  slug: string;
  path: string;
  channel: Channel;
  resource: Resource<Channel>;
  tested(): void;
}

function Actions({ slug, path, channel, resource, tested }: ActionsProps) {
  const [changing, setChanging] = useState(false);
  const own = `${path}/${channel.id}`;
  const test = () =>
    void send<Delivery>("POST", `${own}/test`).then(() => {
      toast("A test message is being sent");
      tested();
    }, toastFailure);
  const turn = () =>
    void send<Channel>("PATCH", own, { is_active: !channel.is_active }).then((after) => {
      toast(after.is_active ? `${after.name} is switched on` : `${after.name} is switched off`);
      resource.refresh();
    }, toastFailure);
  return (
    <>
      <button type="button" class="button" disabled={!channel.is_active} onClick={test}>
        Send a test
      </button>
      <button type="button" class="button" onClick={() => setChanging(true)}>
        Change
      </button>
      <button type="button" class="button" onClick={turn}>
        {channel.is_active ? "Switch off" : "Switch on"}
      </button>
      <RemoveChannel
        path={path}
        channel={channel}
        deleted={() => navigate(paths.notifications(slug), { replace: true })}
      />
      {changing && (
        <ChannelDialog
          path={path}
          channel={channel}
          close={() => setChanging(false)}
          saved={resource.refresh}
        />
      )}
    </>
  );
}
