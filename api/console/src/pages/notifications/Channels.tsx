import { send } from "../../api/client";
import type { Channel } from "../../api/model";
import { paths } from "../../app/paths";
import { navigate } from "../../app/router";
import { RemoveButton } from "../../components/IconButton";
import { ActionsHead, ListPanel } from "../../components/ListPanel";
import { Blank } from "../../components/Load";
import { toast, toastFailure } from "../../components/Toasts";
import type { Resource } from "../../data/resource";
import { may } from "../../data/session";
import { ChannelDialog } from "./ChannelDialog";
import { ChannelState } from "./ChannelState";
import { targetText, typeTexts } from "./words";

interface ChannelsProps {
  slug: string;
  path: string;
  channels: Resource<Channel[]>;
  /** Called after a channel, and its rules with it, is deleted. */
  deleted(): void;
}

export function Channels({ slug, path, channels, deleted }: ChannelsProps) {
  const mayChange = may(slug, "admin");
  const opened = (channel: Channel) => navigate(paths.channel(slug, channel.id));
  return (
    <ListPanel
      title="Channels"
      resource={channels}
      what="the channels"
      className="channels cards"
      add={
        mayChange
          ? {
              label: "New channel",
              dialog: (close) => <ChannelDialog path={path} channel={null} close={close} saved={opened} />,
            }
          : null
      }
      empty={
        <Blank title="This space has no channels yet">
          <p>Incidents are reported to channels: a webhook, Slack, Microsoft Teams, PagerDuty or e-mail.</p>
        </Blank>
      }
      head={
        <>
          <th>Channel</th>
          <th class="col-kind">Type</th>
          <th class="col-channel-state">State</th>
          {mayChange && <ActionsHead className="col-open" />}
        </>
      }
      row={(channel) => (
        <tr key={channel.id}>
          <td>
            <a class="name-link clip" data-row href={paths.channel(slug, channel.id)}>
              {channel.name}
            </a>
            <div class="quiet small clip">{targetText(channel)}</div>
          </td>
          <td class="col-kind" data-label="Type">
            {typeTexts[channel.type]}
          </td>
          <td class="col-channel-state" data-label="State">
            <ChannelState channel={channel} />
          </td>
          {mayChange && (
            <td class="col-open cell-corner">
              <RemoveChannel path={path} channel={channel} deleted={deleted} />
            </td>
          )}
        </tr>
      )}
    />
  );
}

interface RemoveChannelProps {
  path: string;
  channel: Channel;
  deleted(): void;
}

export function RemoveChannel({ path, channel, deleted }: RemoveChannelProps) {
  const remove = () =>
    void send("DELETE", `${path}/${channel.id}`).then(() => {
      toast(`${channel.name} is deleted`);
      deleted();
    }, toastFailure);
  return (
    <RemoveButton action="Delete" name={channel.name} remove={remove}>
      <p>Its rules and the log of its messages are deleted with it.</p>
    </RemoveButton>
  );
}
