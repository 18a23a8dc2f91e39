import { useState } from "preact/hooks";
import type { ComponentChildren } from "preact";
import { Confirm } from "./Dialog";
import { Icon, type IconName } from "./Icon";

interface IconButtonProps {
  icon: IconName;
  /** What it does, for everyone who does not see the icon. */
  label: string;
  onClick(): void;
}

export function IconButton({ icon, label, onClick }: IconButtonProps) {
  return (
    <button
      type="button"
      class="button button-quiet button-icon"
      aria-label={label}
      title={label}
      onClick={onClick}
    >
      <Icon name={icon} />
    </button>
  );
}

interface RemoveButtonProps {
  /** `Revoke`, `Remove` or `Delete`. */
  action: string;
  name: string;
  remove(): void;
  /** What follows from it. */
  children: ComponentChildren;
}

/** Removes something after a question. */
export function RemoveButton({ action, name, remove, children }: RemoveButtonProps) {
  const [asking, setAsking] = useState(false);
  const confirm = () => {
    setAsking(false);
    remove();
  };
  return (
    <>
      <IconButton icon="trash" label={`${action} ${name}`} onClick={() => setAsking(true)} />
      {asking && (
        <Confirm
          title={`${action} ${name}?`}
          action={action}
          danger
          close={() => setAsking(false)}
          confirm={confirm}
        >
          {children}
        </Confirm>
      )}
    </>
  );
}
