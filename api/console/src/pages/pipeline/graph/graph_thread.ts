// Asks the worker thread for layouts. An answer to an earlier question is dropped.
import { useEffect, useRef, useState } from "preact/hooks";
import type { TaskNode } from "../../../api/model";
import type { GraphAnswer, GraphQuestion } from "../../../drawings/graph_messages";

export function useGraphLayout(tasks: readonly TaskNode[], open: readonly string[]): GraphAnswer | null {
  const [answer, setAnswer] = useState<GraphAnswer | null>(null);
  const thread = useRef<Worker | null>(null);
  const asked = useRef(0);
  useEffect(() => {
    const worker = new Worker(new URL("../../../drawings/graph.worker.ts", import.meta.url), {
      type: "module",
    });
    worker.onmessage = ({ data }: MessageEvent<GraphAnswer>) => data.id === asked.current && setAnswer(data);
    thread.current = worker;
    return () => worker.terminate();
  }, []);
  const shape = JSON.stringify(tasks.map(({ task_id, upstream }) => [task_id, upstream]));
  useEffect(() => {
    asked.current += 1;
    const question: GraphQuestion = {
      id: asked.current,
      tasks: tasks.map(({ task_id, upstream }) => ({ task_id, upstream })),
      open,
    };
    thread.current?.postMessage(question);
  }, [shape, open]);
  return answer;
}
