// What a page and the thread that lays out task graphs tell each other.

import type { GraphLayout } from "./graph";
import type { Graph, GraphTaskInput } from "./graph_fold";

export interface GraphQuestion {
  id: number;
  tasks: readonly GraphTaskInput[];
  /** Groups that stay open although the graph is folded. */
  open: readonly string[];
}

export interface GraphAnswer {
  id: number;
  graph: Graph;
  layout: GraphLayout;
}

export const NODE = {
  nodeHeight: 34,
  rowGap: 14,
  layerGap: 56,
  letterWidth: 7.6,
  padding: 44,
  mostLetters: 30,
};

/** Labels are cut where they are drawn: `mostLetters` bounds the width. */
export function nodeWidth(label: string): number {
  return Math.min(label.length, NODE.mostLetters) * NODE.letterWidth + NODE.padding;
}
