// A dialog: the browser's own, which keeps the focus inside and closes with Escape.
import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";

interface DialogProps {
  title: string;
  close(): void;
  children: ComponentChildren;
}

export function Dialog({ title, close, children }: DialogProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  const gone = useRef(false);
  // Who selects a text and lets go beside the dialog has not clicked beside it.
  const pressedBeside = useRef(false);
  useLayoutEffect(() => {
    const element = dialog.current;
    element?.showModal();
    return () => {
      // Closing gives the focus back to what had it. A dialog that is only removed would lose it.
      gone.current = true;
      element?.close();
    };
  }, []);
  return (
    <dialog
      class="dialog"
      ref={dialog}
      aria-labelledby={id}
      onClose={() => !gone.current && close()}
      onPointerDown={(event) => (pressedBeside.current = event.target === dialog.current)}
      onClick={(event) => event.target === dialog.current && pressedBeside.current && close()}
    >
      <h2 class="dialog-head" id={id}>
        {title}
      </h2>
      {children}
    </dialog>
  );
}

interface DialogFootProps {
  cancel(): void;
  /** The button that does it. */
  children: ComponentChildren;
}

/** The buttons of a dialog that asks for something. */
export function DialogFoot({ cancel, children }: DialogFootProps) {
  return (
    <div class="dialog-foot">
      <button type="button" class="button" onClick={cancel}>
        Cancel
      </button>
      {children}
    </div>
  );
}

/** The button of a dialog that only shows something. */
export function CloseFoot({ close }: { close(): void }) {
  return (
    <div class="dialog-foot">
      <button type="button" class="button" onClick={close}>
        Close
      </button>
    </div>
  );
}

interface ConfirmProps {
  title: string;
  action: string;
  danger?: boolean;
  busy?: boolean;
  close(): void;
  confirm(): void;
  children: ComponentChildren;
}

/** Asks before something that cannot be taken back, or that others notice. */
export function Confirm({
  title,
  action,
  danger = false,
  busy = false,
  close,
  confirm,
  children,
}: ConfirmProps) {
  return (
    <Dialog title={title} close={close}>
      <div class="dialog-body">{children}</div>
      <DialogFoot cancel={close}>
        <button
          type="button"
          class={`button ${danger ? "button-danger" : "button-primary"}`}
          disabled={busy}
          onClick={confirm}
        >
          {action}
        </button>
      </DialogFoot>
    </Dialog>
  );
}
