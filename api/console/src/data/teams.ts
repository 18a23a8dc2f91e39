// The teams of a space, which lists filter by and forms offer.
import { readAll } from "../api/lists";
import type { Team } from "../api/model";
import { type Resource, useResource } from "./resource";

/** All of them; nothing is read unless they are wanted. */
export function useTeams(slug: string, isWanted = true): Resource<Team[]> {
  const path = `/spaces/${encodeURIComponent(slug)}/teams`;
  return useResource(isWanted ? path : null, (signal) => readAll<Team>(path, signal));
}
