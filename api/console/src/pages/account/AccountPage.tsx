// One's own spaces, keys and sessions.
import { paths } from "../../app/paths";
import { PageHead } from "../../components/PageHead";
import { session } from "../../data/session";
import { useStore } from "../../data/store";
import { Keys } from "./Keys";
import { Sessions } from "./Sessions";

export default function AccountPage() {
  const state = useStore(session);
  if (state.step !== "in") return null;
  const { user, spaces } = state.me;
  return (
    <div class="page">
      <PageHead title={user.name}>
        <p class="second">{user.email}</p>
      </PageHead>
      <div class="columns">
        <section class="panel" aria-label="Spaces">
          <div class="panel-head">
            <h2>Spaces</h2>
          </div>
          {spaces.length === 0 ? (
            <p class="panel-body quiet">
              You are a member of no space yet. Ask an admin of one to add you, by your e-mail address.
            </p>
          ) : (
            <ul class="lines">
              {spaces.map((space) => (
                <li key={space.slug} class="line">
                  <span class="line-text">
                    <a class="name-link" href={paths.space(space.slug)}>
                      {space.name}
                    </a>
                  </span>
                  <span class="line-end quiet">
                    {space.role.charAt(0).toUpperCase() + space.role.slice(1)}
                  </span>
                </li>
              ))}
            </ul>
          )}
        </section>
        <section class="panel" aria-label="You">
          <div class="panel-head">
            <h2>You</h2>
          </div>
          <dl class="facts panel-body">
            <dt>User id</dt>
            <dd>
              <code>{user.id}</code>
            </dd>
          </dl>
        </section>
      </div>
      <Keys />
      <Sessions />
    </div>
  );
}
