import { labelOf, shapePath, stateOf, states } from "../drawings/states";

/** The shape of a status. It is decoration beside a word, unless `labelled` says that it stands alone. */
export function StateShape({ status, labelled = false }: { status: string; labelled?: boolean }) {
  const name = stateOf(status);
  const label = labelOf(status);
  return (
    <svg
      class="state-shape"
      viewBox="0 0 14 14"
      data-pulse={name === "running" ? "true" : undefined}
      role={labelled ? "img" : undefined}
      aria-label={labelled ? label : undefined}
      aria-hidden={labelled ? undefined : true}
    >
      {labelled && <title>{label}</title>}
      <path class={`fill-${name}`} fill-rule="evenodd" d={shapePath(states[name].shape, 7, 7, 6)} />
    </svg>
  );
}

/** A status as shape and word. `providerStatus` is the provider's own word, shown on hover where it differs. */
export function StateLabel({ status, providerStatus }: { status: string; providerStatus?: string | null }) {
  const label = labelOf(status);
  const own =
    providerStatus && providerStatus !== status ? `The provider says: ${providerStatus}` : undefined;
  return (
    <span class="state" title={own}>
      <StateShape status={status} />
      {label}
    </span>
  );
}
