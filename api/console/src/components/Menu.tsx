// A button that opens a list below it; Escape, a click elsewhere and leaving with Tab close it.
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { Icon } from "./Icon";

interface MenuProps {
  label: ComponentChildren;
  /** The accessible name, where the label alone is not clear. */
  name?: string;
  align?: "start" | "end";
  buttonClass?: string;
  children: (close: () => void) => ComponentChildren;
}

export function Menu({ label, name, align = "start", buttonClass = "button", children }: MenuProps) {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const close = () => setOpen(false);
  // A dialog that an item opens gives the focus back to what has it now, and the item is gone by then.
  const leave = () => {
    button.current?.focus();
    close();
  };
  useEffect(() => {
    if (!open) return;
    const elsewhere = (event: Event) => {
      if (!root.current?.contains(event.target as Node)) close();
    };
    document.addEventListener("pointerdown", elsewhere);
    document.addEventListener("focusin", elsewhere);
    return () => {
      document.removeEventListener("pointerdown", elsewhere);
      document.removeEventListener("focusin", elsewhere);
    };
  }, [open]);
  const keys = (event: KeyboardEvent) => {
    if (event.key === "Escape" && open) {
      event.stopPropagation();
      leave();
    } else if (open && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      event.preventDefault();
      moveFocus(root.current, event.key === "ArrowDown" ? 1 : -1);
    }
  };
  return (
    <div class="menu" ref={root} onKeyDown={keys}>
      <button
        ref={button}
        type="button"
        class={buttonClass}
        aria-expanded={open}
        aria-label={name}
        onClick={() => setOpen(!open)}
      >
        {label}
        <Icon name="down" />
      </button>
      {open && (
        <div class="menu-list" data-align={align}>
          {children(leave)}
        </div>
      )}
    </div>
  );
}

function moveFocus(root: HTMLElement | null, step: number): void {
  const items = [
    ...(root?.querySelectorAll<HTMLElement>(".menu-list button, .menu-list a, .menu-list input") ?? []),
  ];
  const here = items.indexOf(document.activeElement as HTMLElement);
  items[(here + step + items.length) % items.length]?.focus();
}
