// Forms that send one request: once, however often the button is pressed.
import { useState } from "preact/hooks";
import { type Failure, asFailure, faultsByField } from "../api/failure";

export interface Submission {
  busy: boolean;
  failure: Failure | null;
  /** What the API did not accept, by the name of the field. */
  faults: Record<string, string>;
  submit(event: Event): void;
}

export function useSubmit<T>(request: () => Promise<T>, done: (answer: T) => void): Submission {
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<Failure | null>(null);
  const submit = (event: Event) => {
    event.preventDefault();
    if (busy) return;
    setBusy(true);
    setFailure(null);
    request()
      .then(done, (error: unknown) => setFailure(asFailure(error)))
      .finally(() => setBusy(false));
  };
  return { busy, failure, faults: faultsByField(failure?.faults ?? []), submit };
}
