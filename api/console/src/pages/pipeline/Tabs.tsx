// Tabs of which one is selected; the arrow keys move between them.

interface TabsProps {
  label: string;
  tabs: readonly { key: string; label: string }[];
  selected: string;
  select: (key: string) => void;
}

export function Tabs({ label, tabs, selected, select }: TabsProps) {
  const move = (event: KeyboardEvent & { currentTarget: HTMLElement }) => {
    const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
    if (step === 0) return;
    event.preventDefault();
    const at = tabs.findIndex(({ key }) => key === selected);
    const next = tabs[(at + step + tabs.length) % tabs.length];
    if (next === undefined) return;
    select(next.key);
    event.currentTarget.querySelector<HTMLElement>(`[data-tab="${next.key}"]`)?.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label={label} onKeyDown={move}>
      {tabs.map(({ key, label: text }) => (
        <button
          key={key}
          type="button"
          role="tab"
          data-tab={key}
          aria-selected={key === selected}
          tabIndex={key === selected ? 0 : -1}
          onClick={() => select(key)}
        >
          {text}
        </button>
      ))}
    </div>
  );
}
