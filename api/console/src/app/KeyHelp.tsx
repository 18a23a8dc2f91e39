import { CloseFoot, Dialog } from "../components/Dialog";
import { useStore } from "../data/store";
import { helpShown } from "./keyboard";

const keys: [keys: string[], what: string][] = [
  [["/"], "Search"],
  [["j"], "Next row"],
  [["k"], "Previous row"],
  [["Enter"], "Open the row"],
  [["g", "n"], "Now"],
  [["g", "p"], "Pipelines"],
  [["g", "r"], "Runs"],
  [["g", "c"], "Connectors"],
  [["g", "i"], "Incidents"],
  [["[", "]"], "Older and newer run of a pipeline"],
  [["←", "→", "↑", "↓"], "Move in a grid, a chart or a graph"],
  [["Space"], "Open or fold a group of a grid"],
  [["?"], "This list"],
];

export function KeyHelp() {
  const isShown = useStore(helpShown);
  if (!isShown) return null;
  return (
    <Dialog title="Keyboard shortcuts" close={() => helpShown.set(false)}>
      <dl class="facts dialog-body">
        {keys.map(([pressed, what]) => (
          <>
            <dt>
              {pressed.map((key) => (
                <kbd key={key}>{key}</kbd>
              ))}
            </dt>
            <dd>{what}</dd>
          </>
        ))}
      </dl>
      <CloseFoot close={() => helpShown.set(false)} />
    </Dialog>
  );
}
