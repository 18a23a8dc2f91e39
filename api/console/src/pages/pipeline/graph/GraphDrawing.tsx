import { useMemo, useRef } from "preact/hooks";
import { counted } from "../../../data/format";
import type { PlacedNode } from "../../../drawings/graph";
import { NODE, type GraphAnswer } from "../../../drawings/graph_messages";
import { attentionRank, countsText, addCounts } from "../../../drawings/counts";
import { roundedPath } from "../../../drawings/outlines";
import { labelOf, shapePath, states as stateShapes, type StateName } from "../../../drawings/states";
import { hideTip, showTip } from "../../../drawings/tip";
import type { TaskStates } from "./GraphView";
import "./graph.css";

const MARGIN = 20;

export function drawingWidth({ layout }: GraphAnswer): number {
  return layout.width + 2 * MARGIN;
}

interface GraphDrawingProps {
  answer: GraphAnswer;
  states: TaskStates;
  /** Whether a wide graph is made small enough to be seen as a whole. */
  fit: boolean;
  /** Opens a group that is folded. */
  open: (group: string) => void;
}

/** All boxes are one path and all edges another; the arrow keys move from box to box along the edges. */
export function GraphDrawing({ answer, states, fit, open }: GraphDrawingProps) {
  const { graph, layout } = answer;
  const drawn = useMemo(() => drawing(answer, states), [answer, states]);
  const width = drawingWidth(answer);
  const height = layout.height + 2 * MARGIN;
  const pointer = useGraphPointer(answer, states, open);
  return (
    <div
      class="graph-scroll"
      data-fit={fit}
      tabIndex={0}
      role="group"
      onKeyDown={pointer.key}
      onBlur={pointer.leave}
      aria-label={`Task graph with ${counted(graph.nodes.length, "box", "boxes")} and ${counted(graph.edges.length, "edge", "edges")}. The table has each task.`}
    >
      <svg
        class="graph"
        width={width}
        height={height}
        viewBox={`${-MARGIN} ${-MARGIN} ${width} ${height}`}
        ref={pointer.svg}
        aria-hidden="true"
        onPointerMove={pointer.move}
        onPointerLeave={pointer.leave}
        onClick={pointer.click}
      >
        <path class="graph-edges" d={drawn.edges} />
        <path class="graph-edges graph-near" ref={pointer.near} d="" />
        <path class="graph-stacks" d={drawn.stacks} />
        <path class="graph-boxes" d={drawn.boxes} />
        <path class="graph-focus" ref={pointer.focus} d="" />
        {drawn.marks.map(({ state, d }) => (
          <path key={state} class={`fill-${state}`} fill-rule="evenodd" d={d} />
        ))}
        {graph.nodes.map((node, place) => (
          <Label key={node.id} label={node.label} node={layout.nodes[place]} />
        ))}
      </svg>
    </div>
  );
}

function Label({ label, node }: { label: string; node: PlacedNode | undefined }) {
  if (node === undefined) return null;
  return (
    <text class="graph-label" x={node.x + 32} y={node.y + node.height / 2 + 4}>
      {cut(label)}
    </text>
  );
}

/** The end of a task's id tells more than its middle. */
function cut(label: string): string {
  if (label.length <= NODE.mostLetters) return label;
  return `${label.slice(0, 12)}…${label.slice(-(NODE.mostLetters - 13))}`;
}

function drawing({ graph, layout }: GraphAnswer, states: TaskStates) {
  const marks = new Map<StateName, string>();
  let boxes = "";
  let stacks = "";
  layout.nodes.forEach((node, place) => {
    boxes += roundedPath(node.x, node.y, node.width, node.height, 6);
    const tasks = graph.nodes[place]?.tasks ?? [];
    if (tasks.length > 1) stacks += roundedPath(node.x + 4, node.y + 4, node.width, node.height, 6);
    const state = worstState(tasks, states);
    if (state === null) return;
    const d = shapePath(stateShapes[state].shape, node.x + 18, node.y + node.height / 2, 6);
    marks.set(state, (marks.get(state) ?? "") + d);
  });
  return {
    boxes,
    stacks,
    edges: layout.edges.join(""),
    marks: [...marks].map(([state, d]) => ({ state, d })),
  };
}

function worstState(tasks: readonly string[], states: TaskStates): StateName | null {
  const found = tasks.map((task) => states.get(task)).filter((state) => state !== undefined);
  return found.sort((a, b) => attentionRank(a) - attentionRank(b))[0] ?? null;
}

function useGraphPointer({ graph, layout }: GraphAnswer, states: TaskStates, open: (group: string) => void) {
  const svg = useRef<SVGSVGElement>(null);
  const near = useRef<SVGPathElement>(null);
  const focus = useRef<SVGPathElement>(null);
  const at = useRef<number | null>(null);
  const select = (place: number | null) => {
    at.current = place;
    const node = place === null ? undefined : layout.nodes[place];
    focus.current?.setAttribute("d", node ? roundedPath(node.x, node.y, node.width, node.height, 6) : "");
    const edges = graph.edges.map((edge, n) =>
      place !== null && edge.includes(place) ? layout.edges[n] : "",
    );
    near.current?.setAttribute("d", place === null ? "" : edges.join(""));
  };
  const tell = (place: number, x: number, y: number) => {
    const node = graph.nodes[place];
    if (node === undefined) return;
    const state = worstState(node.tasks, states);
    const lines =
      node.tasks.length > 1 ? [countsLine(node.tasks, states)] : state === null ? [] : [labelOf(state)];
    showTip({ ...(state === null ? {} : { state }), title: node.label, lines }, x, y);
  };
  const act = () => {
    const node = at.current === null ? undefined : graph.nodes[at.current];
    if (node !== undefined && node.tasks.length > 1) open(node.id);
  };
  return {
    svg,
    near,
    focus,
    click: act,
    move: (event: PointerEvent) => {
      const place = nodeUnder(svg.current, layout.nodes, event);
      if (place !== at.current) select(place);
      if (place === null) hideTip();
      else tell(place, event.clientX, event.clientY);
    },
    leave: () => {
      select(null);
      hideTip();
    },
    key: (event: KeyboardEvent) => {
      if (event.key === "Enter") return act();
      const next = neighbour(graph.edges, layout.nodes, at.current, event.key);
      if (next === null) return;
      event.preventDefault();
      select(next);
      const box = focus.current?.getBoundingClientRect();
      if (box !== undefined) tell(next, box.right, box.top);
      focus.current?.scrollIntoView({ block: "nearest", inline: "nearest" });
    },
  };
}

function countsLine(tasks: readonly string[], states: TaskStates): string {
  const counts = addCounts(
    tasks.flatMap((task) => {
      const state = states.get(task);
      return state === undefined ? [] : [[{ state, count: 1 }]];
    }),
  );
  return `${counted(tasks.length, "task", "tasks")}${counts.length > 0 ? `: ${countsText(counts)}` : ""}`;
}

function nodeUnder(
  svg: SVGSVGElement | null,
  nodes: readonly PlacedNode[],
  event: PointerEvent,
): number | null {
  const matrix = svg?.getScreenCTM();
  if (!matrix) return null;
  const { x, y } = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
  const place = nodes.findIndex((n) => x >= n.x && x <= n.x + n.width && y >= n.y && y <= n.y + n.height);
  return place === -1 ? null : place;
}

/** Right and left follow an edge; up and down go to the next box of the layer. */
function neighbour(
  edges: readonly (readonly [number, number])[],
  nodes: readonly PlacedNode[],
  at: number | null,
  key: string,
): number | null {
  if (!key.startsWith("Arrow")) return null;
  const here = at === null ? undefined : nodes[at];
  if (at === null || here === undefined) return nodes.length > 0 ? 0 : null;
  if (key === "ArrowRight") return edges.find(([from]) => from === at)?.[1] ?? at;
  if (key === "ArrowLeft") return edges.find(([, to]) => to === at)?.[0] ?? at;
  const step = key === "ArrowDown" ? 1 : -1;
  const layer = nodes.map((node, place) => ({ node, place })).filter(({ node }) => node.layer === here.layer);
  layer.sort((a, b) => a.node.y - b.node.y);
  const order = layer.findIndex(({ place }) => place === at);
  return layer[order + step]?.place ?? at;
}
