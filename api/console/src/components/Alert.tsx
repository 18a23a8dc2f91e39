import type { ComponentChildren } from "preact";
import { Icon } from "./Icon";

/** What went wrong, announced to screen readers. */
export function Alert({ children }: { children: ComponentChildren }) {
  return (
    <div class="notice notice-danger" role="alert">
      <Icon name="alert" />
      <span>{children}</span>
    </div>
  );
}
