// Lays out a task graph in layers from left to right: a node stands to the right of everything it waits for
// (the longest path), and sweeps by barycentres order the layers so that few edges cross.

import type { Graph } from "./graph_fold";

export interface GraphGeometry {
  nodeHeight: number;
  rowGap: number;
  layerGap: number;
  /** The width of a node, from its label. */
  nodeWidth: (label: string) => number;
}

export interface PlacedNode {
  x: number;
  y: number;
  width: number;
  height: number;
  layer: number;
}

export interface GraphLayout {
  nodes: readonly PlacedNode[];
  /** A path per edge, in the order of the graph's edges. */
  edges: readonly string[];
  width: number;
  height: number;
}

// A place in a layer: a node, or a bend of an edge that passes through.
interface Slot {
  node: number | null;
  before: Slot[];
  after: Slot[];
  layer: number;
  order: number;
  y: number;
}

const SWEEPS = 8;

export function layoutGraph(graph: Graph, g: GraphGeometry): GraphLayout {
  const edges = withoutCircles(graph);
  const layerOf = longestPaths(graph.nodes.length, edges);
  const slots = graph.nodes.map((_, node) => newSlot(node, layerOf[node] ?? 0));
  const layers: Slot[][] = [];
  for (const slot of slots) (layers[slot.layer] ??= []).push(slot);
  const chains = edges.map(([from, to]) => chainSlots(slots[from] as Slot, slots[to] as Slot, layers));
  orderLayers(layers);
  placeVertically(layers, g);
  return coordinates(graph, slots, layers, chains, g);
}

function newSlot(node: number | null, layer: number): Slot {
  return { node, before: [], after: [], layer, order: 0, y: 0 };
}

/** An edge that closes a circle is turned round for the layout. A provider should not have such a graph. */
function withoutCircles(graph: Graph): [number, number][] {
  const below = graph.nodes.map(() => [] as number[]);
  for (const [from, to] of graph.edges) below[from]?.push(to);
  const mark = new Uint8Array(graph.nodes.length);
  const turned = new Set<string>();
  for (let start = 0; start < graph.nodes.length; start += 1) {
    if (mark[start] !== 0) continue;
    const path: { node: number; next: number }[] = [{ node: start, next: 0 }];
    mark[start] = 1;
    while (path.length > 0) {
      const top = path[path.length - 1] as { node: number; next: number };
      const child = below[top.node]?.[top.next];
      top.next += 1;
      if (child === undefined) {
        mark[top.node] = 2;
        path.pop();
      } else if (mark[child] === 1) turned.add(`${top.node} ${child}`);
      else if (mark[child] === 0) {
        mark[child] = 1;
        path.push({ node: child, next: 0 });
      }
    }
  }
  return graph.edges.map(([from, to]) => (turned.has(`${from} ${to}`) ? [to, from] : [from, to]));
}

function longestPaths(count: number, edges: readonly (readonly [number, number])[]): number[] {
  const layer = new Array<number>(count).fill(0);
  const waiting = new Array<number>(count).fill(0);
  const below: number[][] = layer.map(() => []);
  for (const [from, to] of edges) {
    below[from]?.push(to);
    waiting[to] = (waiting[to] ?? 0) + 1;
  }
  const ready = layer.map((_, node) => node).filter((node) => waiting[node] === 0);
  for (let node = ready.pop(); node !== undefined; node = ready.pop()) {
    for (const next of below[node] ?? []) {
      layer[next] = Math.max(layer[next] ?? 0, (layer[node] ?? 0) + 1);
      waiting[next] = (waiting[next] ?? 0) - 1;
      if (waiting[next] === 0) ready.push(next);
    }
  }
  return layer;
}

function chainSlots(from: Slot, to: Slot, layers: Slot[][]): Slot[] {
  const chain = [from];
  for (let layer = from.layer + 1; layer < to.layer; layer += 1) {
    const bend = newSlot(null, layer);
    (layers[layer] ??= []).push(bend);
    chain.push(bend);
  }
  chain.push(to);
  for (let n = 1; n < chain.length; n += 1) {
    chain[n - 1]?.after.push(chain[n] as Slot);
    chain[n]?.before.push(chain[n - 1] as Slot);
  }
  return chain;
}

/** Sweeps to the right and to the left in turn, and keeps the order with the fewest crossings. */
function orderLayers(layers: Slot[][]): void {
  number(layers);
  let best = layers.map((layer) => [...layer]);
  let fewest = crossings(layers);
  for (let sweep = 0; sweep < SWEEPS && fewest > 0; sweep += 1) {
    const right = sweep % 2 === 0;
    for (const layer of right ? layers : [...layers].reverse()) sortByBarycentre(layer, right);
    const now = crossings(layers);
    if (now < fewest) {
      fewest = now;
      best = layers.map((layer) => [...layer]);
    }
  }
  best.forEach((layer, place) => (layers[place] = layer));
  number(layers);
}

function number(layers: readonly Slot[][]): void {
  for (const layer of layers) layer.forEach((slot, order) => (slot.order = order));
}

function sortByBarycentre(layer: Slot[], right: boolean): void {
  const centre = new Map(layer.map((slot) => [slot, mean(right ? slot.before : slot.after, slot.order)]));
  layer.sort((a, b) => (centre.get(a) ?? 0) - (centre.get(b) ?? 0) || a.order - b.order);
  layer.forEach((slot, order) => (slot.order = order));
}

function mean(neighbours: readonly Slot[], otherwise: number): number {
  if (neighbours.length === 0) return otherwise;
  return neighbours.reduce((sum, slot) => sum + slot.order, 0) / neighbours.length;
}

/** Counts crossings between neighbouring layers as inversions, with a Fenwick tree. */
export function crossings(layers: readonly Slot[][]): number {
  let count = 0;
  for (const layer of layers) {
    const ends = layer.flatMap((slot) => slot.after.map((next) => next.order).sort((a, b) => a - b));
    const tree = new Array<number>(Math.max(...ends, 0) + 2).fill(0);
    ends.forEach((end, seen) => {
      let notAbove = 0;
      for (let at = end + 1; at > 0; at -= at & -at) notAbove += tree[at] ?? 0;
      count += seen - notAbove;
      for (let at = end + 1; at < tree.length; at += at & -at) tree[at] = (tree[at] ?? 0) + 1;
    });
  }
  return count;
}

/** Each slot moves towards the middle of its neighbours, as far as the order and the gaps allow. */
function placeVertically(layers: readonly Slot[][], g: GraphGeometry): void {
  for (const layer of layers) {
    let y = 0;
    for (const slot of layer) {
      slot.y = y + slotHeight(slot, g) / 2;
      y += slotHeight(slot, g) + g.rowGap;
    }
  }
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const right = sweep % 2 === 0;
    for (const layer of right ? layers : [...layers].reverse()) moveLayer(layer, right, g);
  }
}

function slotHeight(slot: Slot, g: GraphGeometry): number {
  return slot.node === null ? g.rowGap / 2 : g.nodeHeight;
}

interface Block {
  slots: Slot[];
  /** The sum of where its slots would stand if they were at its top, and the sum of weights. */
  sum: number;
  weight: number;
  height: number;
}

/** Slots whose positions collide form a block at the mean of their positions (pool adjacent violators). */
function moveLayer(layer: readonly Slot[], right: boolean, g: GraphGeometry): void {
  const blocks: Block[] = [];
  for (const slot of layer) {
    const neighbours = right ? slot.before : slot.after;
    const wanted =
      neighbours.length === 0 ? slot.y : neighbours.reduce((sum, n) => sum + n.y, 0) / neighbours.length;
    const weight = neighbours.length === 0 ? 0.1 : slot.node === null ? 4 : 1;
    const height = slotHeight(slot, g) + g.rowGap;
    let block: Block = { slots: [slot], sum: (wanted - height / 2) * weight, weight, height };
    for (let last = blocks.at(-1); last && top(last) + last.height > top(block); last = blocks.at(-1)) {
      blocks.pop();
      block = joinBlocks(last, block);
    }
    blocks.push(block);
  }
  for (const block of blocks) {
    let y = top(block);
    for (const slot of block.slots) {
      const height = slotHeight(slot, g) + g.rowGap;
      slot.y = y + height / 2;
      y += height;
    }
  }
}

function top(block: Block): number {
  return block.sum / block.weight;
}

function joinBlocks(above: Block, below: Block): Block {
  return {
    slots: [...above.slots, ...below.slots],
    sum: above.sum + below.sum - above.height * below.weight,
    weight: above.weight + below.weight,
    height: above.height + below.height,
  };
}

function coordinates(
  graph: Graph,
  slots: readonly Slot[],
  layers: readonly Slot[][],
  chains: readonly Slot[][],
  g: GraphGeometry,
): GraphLayout {
  const widths = graph.nodes.map((node) => g.nodeWidth(node.label));
  const layerWidths = layers.map((layer) =>
    Math.max(...layer.map((slot) => (slot.node === null ? 0 : (widths[slot.node] ?? 0))), 0),
  );
  const lefts: number[] = [];
  let width = 0;
  for (const layerWidth of layerWidths) {
    lefts.push(width);
    width += layerWidth + g.layerGap;
  }
  const least = Math.min(...layers.flat().map((slot) => slot.y - slotHeight(slot, g) / 2), Infinity);
  const most = Math.max(...layers.flat().map((slot) => slot.y + slotHeight(slot, g) / 2), -Infinity);
  const shift = Number.isFinite(least) ? -least : 0;
  const nodes = slots.map((slot, node) => ({
    x: lefts[slot.layer] ?? 0,
    y: Math.round(slot.y + shift - g.nodeHeight / 2),
    width: widths[node] ?? 0,
    height: g.nodeHeight,
    layer: slot.layer,
  }));
  const edges = chains.map((chain) => edgePath(chain, nodes, lefts, layerWidths, shift));
  return {
    nodes,
    edges,
    width: Math.max(0, width - g.layerGap),
    height: Number.isFinite(most) ? most - least : 0,
  };
}

function edgePath(
  chain: readonly Slot[],
  nodes: readonly PlacedNode[],
  lefts: readonly number[],
  layerWidths: readonly number[],
  shift: number,
): string {
  let d = "";
  let [x, y] = [0, 0];
  chain.forEach((slot, place) => {
    const node = slot.node === null ? null : nodes[slot.node];
    const left = lefts[slot.layer] ?? 0;
    const at = Math.round(slot.y + shift);
    if (place > 0) {
      const half = Math.round((left - x) / 2);
      d += `C${x + half} ${y} ${left - half} ${at} ${left} ${at}`;
    }
    const right = node ? node.x + node.width : left + (layerWidths[slot.layer] ?? 0);
    if (place === 0) d += `M${right} ${at}`;
    else if (!node) d += `H${right}`;
    [x, y] = [right, at];
  });
  return d;
}
