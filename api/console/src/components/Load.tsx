// The states of a page or panel beside its data: loading, failed, no right, empty.
import type { ComponentChildren } from "preact";
import type { Failure } from "../api/failure";
import type { Resource } from "../data/resource";
import { Alert } from "./Alert";
import { Icon } from "./Icon";

interface LoadProps<T> {
  resource: Resource<T>;
  /** What is loaded, in words for a sentence: `the runs`. */
  what: string;
  lines?: number;
  children: (data: T) => ComponentChildren;
}

/** Shows the data, or why there is none. A failed refresh keeps the data and adds a note, if no banner says why. */
export function Load<T>({ resource, what, lines = 6, children }: LoadProps<T>) {
  const { data, failure } = resource;
  if (data === undefined) {
    return failure ? (
      <FailureBlank failure={failure} what={what} retry={resource.refresh} />
    ) : (
      <Skeleton lines={lines} what={what} />
    );
  }
  return (
    <>
      {failure && !failure.isOutage && <NotRead failure={failure} what={what} retry={resource.refresh} />}
      {children(data)}
    </>
  );
}

interface NotReadProps {
  failure: Failure;
  what: string;
  retry(): void;
}

/** Stands beside data that was read before. */
export function NotRead({ failure, what, retry }: NotReadProps) {
  return (
    <Alert>
      This may be out of date, because {what} could not be read again: {failure.message}{" "}
      <button type="button" class="link-button" onClick={retry}>
        Try again
      </button>
    </Alert>
  );
}

export function Skeleton({ lines, what }: { lines: number; what: string }) {
  return (
    <div class="skeleton" role="status">
      <b class="hidden-visually">Loading {what}…</b>
      {Array.from({ length: lines }, (_, index) => (
        <span key={index} />
      ))}
    </div>
  );
}

function sentence(failure: Failure, what: string): [string, string] {
  switch (failure.kind) {
    case "unreachable":
      return ["The API does not answer", `As soon as it does, ${what} will appear here.`];
    case "busy":
      return [
        "Too many requests",
        `You have reached the limit of requests. ${capital(what)} will be read again shortly.`,
      ];
    case "forbidden":
      return ["Your role does not allow this", failure.message];
    case "missing":
      return [
        "Not found",
        `There is nothing at this address, or you have no access to it. (${failure.message})`,
      ];
    case "signed-out":
      return ["You are signed out", failure.message];
    default:
      return [`${capital(what)} could not be read`, failure.message];
  }
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

export function FailureBlank({
  failure,
  what,
  retry,
}: {
  failure: Failure;
  what: string;
  retry?: () => void;
}) {
  const [title, text] = sentence(failure, what);
  return (
    <div class="blank" role="alert">
      <Icon name={failure.kind === "forbidden" ? "lock" : "alert"} />
      <strong>{title}</strong>
      <p>{text}</p>
      {retry && failure.kind !== "forbidden" && failure.kind !== "missing" && (
        <button type="button" class="button" onClick={retry}>
          Try again
        </button>
      )}
    </div>
  );
}

/** Says that there is nothing, and what the reader can do about it. */
export function Blank({ title, children }: { title: string; children?: ComponentChildren }) {
  return (
    <div class="blank">
      <strong>{title}</strong>
      {children}
    </div>
  );
}
