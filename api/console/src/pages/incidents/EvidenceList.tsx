import type { Incident } from "../../api/model";
import { paths } from "../../app/paths";
import { Time } from "../../components/Time";
import { type Fact, factsOf } from "./evidence";

/** The numbers behind an incident. */
export function EvidenceList({ slug, incident }: { slug: string; incident: Incident }) {
  const facts = factsOf(incident);
  if (facts.length === 0) return <p class="quiet">Nothing is known about what it was opened for.</p>;
  return (
    <dl class="facts">
      {facts.map((fact) => (
        <>
          <dt>{fact.label}</dt>
          <dd>
            <Value slug={slug} fact={fact} />
          </dd>
        </>
      ))}
    </dl>
  );
}

function Value({ slug, fact: { text, at, run, taskRun } }: { slug: string; fact: Fact }) {
  if (at) return <Time at={at} as="zoned" />;
  if (run) {
    const query = taskRun ? `?task_run=${taskRun}` : "";
    return <a href={paths.run(slug, run) + query}>{text}</a>;
  }
  return <>{text}</>;
}
