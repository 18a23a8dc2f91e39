// Short messages about what an action did. A failure stays until it is closed.
import { asFailure } from "../api/failure";
import { store, useStore } from "../data/store";
import { Icon } from "./Icon";

interface Toast {
  id: number;
  text: string;
  tone: "info" | "danger";
}

const toasts = store<Toast[]>([]);
let nextId = 1;

export function toast(text: string, tone: Toast["tone"] = "info"): void {
  const id = nextId++;
  toasts.set([...toasts.get().slice(-3), { id, text, tone }]);
  if (tone === "info") window.setTimeout(() => close(id), 5000);
}

export function toastFailure(error: unknown): void {
  toast(asFailure(error).message, "danger");
}

function close(id: number): void {
  toasts.set(toasts.get().filter((one) => one.id !== id));
}

export function Toasts() {
  const shown = useStore(toasts);
  return (
    <div class="toasts" role="status" aria-live="polite">
      {shown.map((one) => (
        <div key={one.id} class="toast" data-tone={one.tone}>
          <Icon name={one.tone === "danger" ? "alert" : "check"} />
          <span>{one.text}</span>
          <button type="button" class="link-button push" aria-label="Close" onClick={() => close(one.id)}>
            <Icon name="close" />
          </button>
        </div>
      ))}
    </div>
  );
}
