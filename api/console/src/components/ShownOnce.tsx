import { useState } from "preact/hooks";
import { Dialog } from "./Dialog";
import { toastFailure } from "./Toasts";

interface ShownOnceProps {
  title: string;
  secret: string;
  close(): void;
}

/** Shows a secret that cannot be read again. */
export function ShownOnce({ title, secret, close }: ShownOnceProps) {
  const [copied, setCopied] = useState(false);
  const copy = () => navigator.clipboard.writeText(secret).then(() => setCopied(true), toastFailure);
  return (
    <Dialog title={title} close={close}>
      <div class="dialog-body">
        <p>Copy it now: it is shown only this once.</p>
        <p class="secret">
          <code>{secret}</code>
        </p>
      </div>
      <div class="dialog-foot">
        <button type="button" class="button" onClick={copy}>
          {copied ? "Copied" : "Copy"}
        </button>
        <button type="button" class="button button-primary" onClick={close}>
          Done
        </button>
      </div>
    </Dialog>
  );
}
