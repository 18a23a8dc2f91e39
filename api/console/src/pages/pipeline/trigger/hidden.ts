// What stands in the configuration of an earlier run for values that are secret.

/** The mirror has this in place of the value of a secret key: it is never the value itself. */
export const HIDDEN = "***";

/** Where a value contains hidden ones: `password`, `db.password`, `keys[0].token`. */
export function hiddenPlaces(value: unknown, place = ""): string[] {
  if (value === HIDDEN) return [place];
  if (Array.isArray(value)) return value.flatMap((one, index) => hiddenPlaces(one, `${place}[${index}]`));
  if (typeof value !== "object" || value === null) return [];
  const inside = (name: string) => (place === "" ? name : `${place}.${name}`);
  return Object.entries(value).flatMap(([name, one]) => hiddenPlaces(one, inside(name)));
}

/** Why a configuration with hidden values is not sent. */
export function hiddenFault(places: readonly string[]): string {
  const it = places.length === 1 ? "it" : "them";
  return `*** stands for a secret value that is not known here: ${places.join(", ")}. Enter ${it}, or leave ${it} out.`;
}
