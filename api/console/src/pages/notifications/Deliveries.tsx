// The messages to a channel, the newest first, each with its attempts.
import { useEffect } from "preact/hooks";
import { send } from "../../api/client";
import { queryText, readList } from "../../api/lists";
import type { Delivery } from "../../api/model";
import { paths } from "../../app/paths";
import { useLocation } from "../../app/router";
import { GrowingRows } from "../../components/GrowingRows";
import { IconButton } from "../../components/IconButton";
import { Blank } from "../../components/Load";
import { QueryChoice } from "../../components/QueryChoice";
import { StateShape } from "../../components/State";
import { Time } from "../../components/Time";
import { toast, toastFailure } from "../../components/Toasts";
import { useNow } from "../../data/clock";
import { count, counted, exact } from "../../data/format";
import { type GrowingList, useGrowingList } from "../../data/growing";
import { may } from "../../data/session";
import { changeTexts, statusShapes, statusTexts, statuses } from "./words";

const PAGE = 50;
const WAITING_MILLIS = 3000;

/** Reads the list again while a message of its first page waits. */
function useFreshness(list: GrowingList<Delivery>): void {
  const isWaiting = list.rows.length <= PAGE && list.rows.some(({ status }) => status === "pending");
  useEffect(() => {
    if (!isWaiting) return;
    const timer = window.setInterval(() => !document.hidden && list.refresh(), WAITING_MILLIS);
    return () => window.clearInterval(timer);
  }, [isWaiting, list.refresh]);
}

export function Deliveries({ slug, path }: { slug: string; path: string }) {
  const { query } = useLocation();
  const status = query.get("status");
  const list = useGrowingList<Delivery>(
    `${path}?${queryText({ status })}`,
    PAGE,
    ({ cursor, page }, signal) =>
      readList(path, { status, size: PAGE, ...(cursor ? { cursor } : { page }) }, signal),
  );
  useFreshness(list);
  return (
    <section class="panel" aria-label="Messages">
      <div class="panel-head">
        <h2>Messages</h2>
        <QueryChoice
          label="State of the messages"
          name="status"
          options={[["", "Any state"], ...statuses.map((one): [string, string] => [one, statusTexts[one]])]}
          className="push"
        />
      </div>
      <GrowingRows
        list={list}
        what="the messages"
        lines={4}
        empty={
          <Blank title={status === null ? "Nothing was sent yet" : "No message is in this state"}>
            <p>
              A test shows whether messages arrive. They are kept for 30 days, unless the operator changes
              that.
            </p>
          </Blank>
        }
      >
        <DeliveryTable slug={slug} path={path} list={list} />
      </GrowingRows>
    </section>
  );
}

function DeliveryTable({ slug, path, list }: { slug: string; path: string; list: GrowingList<Delivery> }) {
  const mayRedeliver = may(slug, "admin");
  const redeliver = (delivery: Delivery) =>
    void send("POST", `${path}/${delivery.id}/redeliver`).then(() => {
      toast("The message is sent again");
      list.refresh();
    }, toastFailure);
  return (
    <table class="table deliveries cards">
      <thead>
        <tr>
          <th>Message</th>
          <th class="col-delivery">State</th>
          <th class="col-attempts">Attempts</th>
          {mayRedeliver && (
            <th class="col-again">
              <span class="hidden-visually">Actions</span>
            </th>
          )}
        </tr>
      </thead>
      <tbody>
        {list.rows.map((delivery) => (
          <tr key={delivery.id}>
            <td>
              <Message slug={slug} delivery={delivery} />
            </td>
            <td class="col-delivery" data-label="State">
              <Status delivery={delivery} />
            </td>
            <td class="col-attempts" data-label="Attempts">
              <Attempts delivery={delivery} />
            </td>
            {mayRedeliver && (
              <td class="col-again cell-corner">
                <IconButton
                  icon="refresh"
                  label={`Send again: ${changeTexts[delivery.change]}, ${exact(delivery.created_at)}`}
                  onClick={() => redeliver(delivery)}
                />
              </td>
            )}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Message({ slug, delivery }: { slug: string; delivery: Delivery }) {
  const { change, incident_ids, created_at } = delivery;
  const others = incident_ids.length;
  return (
    <>
      <b>{changeTexts[change]}</b>
      {others > 0 && (
        <div class="small">
          <a href={reported(slug, incident_ids)}>{counted(others, "incident", "incidents")}</a>
        </div>
      )}
      <div class="quiet small">
        <Time at={created_at} as="second" />
      </div>
    </>
  );
}

/** The incident of a message; of several, the list of all. */
function reported(slug: string, [first, ...others]: string[]): string {
  if (first !== undefined && others.length === 0) return paths.incident(slug, first);
  return paths.incidents(slug, "status=open&status=acknowledged&status=resolved");
}

function Status({ delivery: { status, next_attempt_at, ended_at } }: { delivery: Delivery }) {
  const now = useNow(10);
  const isWaiting = next_attempt_at !== null && Date.parse(next_attempt_at) > now;
  return (
    <>
      <span class="state">
        <StateShape status={statusShapes[status]} />
        {statusTexts[status]}
      </span>
      <div class="quiet small">
        {status === "pending" ? (
          <>
            Next attempt <Time at={isWaiting ? next_attempt_at : null} as="relative" none="soon" />
          </>
        ) : (
          <Time at={ended_at} as="second" />
        )}
      </div>
    </>
  );
}

const SHOWN = 3;

/** The latest attempts: when, the status of the answer, and why it failed. */
function Attempts({ delivery: { attempt_count, attempts } }: { delivery: Delivery }) {
  if (attempt_count === 0) return <span class="quiet">None yet</span>;
  return (
    <ol class="attempts small">
      {attempts.slice(0, SHOWN).map((attempt) => (
        <li key={attempt.number}>
          <span class="quiet">
            <Time at={attempt.at} as="second" />
          </span>{" "}
          {attempt.error ?? `Answered ${attempt.code ?? "nothing"} in ${count(attempt.duration_ms)} ms`}
        </li>
      ))}
      {attempt_count > SHOWN && <li class="quiet">{count(attempt_count - SHOWN)} more before</li>}
    </ol>
  );
}
