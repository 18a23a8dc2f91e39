import { send } from "../../api/client";
import type { Member, Role } from "../../api/model";
import { RemoveButton } from "../../components/IconButton";
import { ActionsHead, ListPanel } from "../../components/ListPanel";
import { Blank } from "../../components/Load";
import { Time } from "../../components/Time";
import { toast, toastFailure } from "../../components/Toasts";
import { may, myId, readSession } from "../../data/session";
import { AddMember } from "./AddMember";
import { RoleSelect } from "./RoleSelect";
import { roleName, useMembers } from "./members";

const articles: Record<Role, string> = { viewer: "a viewer", editor: "an editor", admin: "an admin" };

export function Members({ slug }: { slug: string }) {
  const members = useMembers(slug);
  const isAdmin = may(slug, "admin");
  const path = (member: Member) => `/spaces/${slug}/members/${member.user.id}`;
  const afterChange = (member: Member, text: string) => {
    toast(text);
    members.refresh();
    if (member.user.id === myId()) void readSession();
  };
  const setRole = (member: Member, role: Role) =>
    send("PUT", path(member), { role })
      .then(() => afterChange(member, `${member.user.name} is ${articles[role]} now`))
      .catch((error: unknown) => {
        toastFailure(error);
        members.refresh();
      });
  const remove = (member: Member) =>
    send("DELETE", path(member)).then(
      () => afterChange(member, `${member.user.name} is no longer a member`),
      toastFailure,
    );
  return (
    <ListPanel
      title="Members"
      resource={members}
      what="the members"
      lines={4}
      className="members cards"
      add={
        isAdmin
          ? {
              label: "Add a member",
              dialog: (close) => <AddMember slug={slug} close={close} added={members.refresh} />,
            }
          : null
      }
      empty={<Blank title="No members" />}
      head={
        <>
          <th>Name</th>
          <th class="col-role">Role</th>
          <th class="col-since">Since</th>
          {isAdmin && <ActionsHead className="col-open" />}
        </>
      }
      row={(member) => (
        <MemberRow
          key={member.user.id}
          member={member}
          isAdmin={isAdmin}
          setRole={(role) => void setRole(member, role)}
          remove={() => void remove(member)}
        />
      )}
    />
  );
}

interface MemberRowProps {
  member: Member;
  isAdmin: boolean;
  setRole(role: Role): void;
  remove(): void;
}

function MemberRow({ member, isAdmin, setRole, remove }: MemberRowProps) {
  const { id, name, email } = member.user;
  return (
    <tr>
      <td>
        <div class="clip">
          <b>{name}</b>
          {id === myId() && <span class="quiet"> (you)</span>}
        </div>
        {email && <div class="quiet small clip">{email}</div>}
      </td>
      <td class="col-role" data-label="Role">
        {isAdmin ? <RoleSelect of={name} role={member.role} change={setRole} /> : roleName(member.role)}
      </td>
      <td class="col-since" data-label="Since">
        <Time at={member.since} />
      </td>
      {isAdmin && (
        <td class="col-open cell-corner">
          <RemoveButton action="Remove" name={name} remove={remove}>
            <p>They will see nothing of this space any more within a few seconds. Their comments stay.</p>
          </RemoveButton>
        </td>
      )}
    </tr>
  );
}
