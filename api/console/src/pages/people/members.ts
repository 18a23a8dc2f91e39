import { readList } from "../../api/lists";
import type { Member, Role } from "../../api/model";
import { type Resource, useResource } from "../../data/resource";

/** The members of a space: everybody who may be in one of its teams. */
export function useMembers(slug: string): Resource<Member[]> {
  const path = `/spaces/${slug}/members`;
  return useResource(path, async (signal) => (await readList<Member>(path, { size: 500 }, signal)).rows);
}

export const roles: Role[] = ["viewer", "editor", "admin"];

export const roleTexts: Record<Role, string> = {
  viewer: "Viewer: reads",
  editor: "Editor: also comments, triggers and changes",
  admin: "Admin: also manages people and deletes",
};

export function roleName(role: Role): string {
  return role.charAt(0).toUpperCase() + role.slice(1);
}
