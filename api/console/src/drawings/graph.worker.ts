// The thread that lays out task graphs, so that a large one never holds up the page.

import { layoutGraph } from "./graph";
import { foldGraph } from "./graph_fold";
import { NODE, nodeWidth, type GraphAnswer, type GraphQuestion } from "./graph_messages";

self.addEventListener("message", (event: MessageEvent<GraphQuestion>) => {
  const { id, tasks, open } = event.data;
  const graph = foldGraph(tasks, new Set(open));
  const answer: GraphAnswer = { id, graph, layout: layoutGraph(graph, { ...NODE, nodeWidth }) };
  self.postMessage(answer);
});
