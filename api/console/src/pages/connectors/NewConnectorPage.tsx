import { send } from "../../api/client";
import type { Connector } from "../../api/model";
import { paths } from "../../app/paths";
import { navigate } from "../../app/router";
import type { PageProps } from "../../app/routes";
import { Blank } from "../../components/Load";
import { PageHead } from "../../components/PageHead";
import { toast } from "../../components/Toasts";
import { may } from "../../data/session";
import { ConnectorForm } from "./ConnectorForm";

export default function NewConnectorPage({ slug }: PageProps) {
  const save = async (body: Record<string, unknown>) => {
    const created = await send<Connector>("POST", `/catalog/spaces/${slug}/connectors`, body);
    toast(
      created.config.schedule
        ? `${created.name} is created; its schedule begins the first sync`
        : `${created.name} is created; it has no schedule, so request its first sync`,
    );
    navigate(paths.connector(slug, created.id));
  };
  const crumbs = [{ label: "Connectors", to: paths.connectors(slug) }];
  return (
    <div class="page">
      <PageHead title="New connector" crumbs={crumbs} />
      {may(slug, "editor") ? (
        <ConnectorForm connector={null} save={save} cancel={() => navigate(paths.connectors(slug))} />
      ) : (
        <div class="panel">
          <Blank title="Your role does not allow this">
            <p>An editor of this space can create connectors.</p>
          </Blank>
        </div>
      )}
    </div>
  );
}
