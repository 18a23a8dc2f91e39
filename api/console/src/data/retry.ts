// Reading again after a failure that passes by itself.
import { useEffect } from "preact/hooks";
import type { Failure } from "../api/failure";

const RETRY_SECONDS = 5;

/** How long to wait after a failure before the same request; null if somebody must do something first. */
export function retryMillis(failure: Failure | null): number | null {
  return failure?.passes ? (failure.retryAfterSeconds ?? RETRY_SECONDS) * 1000 : null;
}

export function useRetry(failure: Failure | null, retry: () => void): void {
  useEffect(() => {
    const millis = retryMillis(failure);
    if (millis === null) return;
    const timer = window.setTimeout(retry, millis);
    return () => window.clearTimeout(timer);
  }, [failure, retry]);
}
