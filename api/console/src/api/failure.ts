// What can go wrong with a request, as pages show it.

export interface FieldFault {
  loc: string[];
  msg: string;
  type: string;
}

export type FailureKind =
  "unreachable" | "signed-out" | "forbidden" | "missing" | "invalid" | "busy" | "other";

/** An answer other than 2xx, or none at all. */
export class Failure extends Error {
  readonly kind: FailureKind;

  constructor(
    readonly status: number,
    message: string,
    readonly faults: FieldFault[] = [],
    readonly retryAfterSeconds: number | null = null,
    readonly provider: string | null = null,
  ) {
    super(message);
    this.kind = kindOf(status);
  }

  /** Whether the same request may succeed a little later without anybody doing anything. */
  get passes(): boolean {
    return this.kind === "unreachable" || this.kind === "busy";
  }

  /** Whether the API does not answer at all, which a banner says on every page. A provider's own failure is none. */
  get isOutage(): boolean {
    return this.kind === "unreachable" && this.provider === null && this.status !== 504;
  }
}

function kindOf(status: number): FailureKind {
  if (status === 0 || status === 502 || status === 503 || status === 504) return "unreachable";
  if (status === 401) return "signed-out";
  if (status === 403) return "forbidden";
  if (status === 404) return "missing";
  if (status === 422 || status === 400) return "invalid";
  return status === 429 ? "busy" : "other";
}

interface ErrorBody {
  detail?: string | FieldFault[];
  provider?: string;
}

/** Reads the error of a response. A provider's own refusal keeps its status code, so it is never `unreachable`. */
export function failureOf(response: Response, body: unknown): Failure {
  const { detail, provider } = (typeof body === "object" && body !== null ? body : {}) as ErrorBody;
  const retryAfter = Number(response.headers.get("retry-after"));
  const faults = Array.isArray(detail) ? detail : [];
  const message = Array.isArray(detail)
    ? detail.map((fault) => `${fault.loc.slice(1).join(".")}: ${fault.msg}`).join("; ")
    : (detail ?? `The API answered ${response.status}.`);
  return new Failure(response.status, message, faults, retryAfter > 0 ? retryAfter : null, provider ?? null);
}

export function asFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  return new Failure(0, "The API cannot be reached.");
}

/** The faults by the name of the field they concern; those of the items of a list stand at the list. */
export function faultsByField(faults: FieldFault[]): Record<string, string> {
  const fieldOf = ({ loc }: FieldFault) => loc.findLast((part) => !/^\d+$/.test(String(part))) ?? "";
  return Object.fromEntries(faults.map((fault) => [fieldOf(fault), fault.msg]));
}
