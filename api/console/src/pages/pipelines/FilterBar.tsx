// Search, facets and switches above the list of pipelines. All of them live in the address.
import { useState } from "preact/hooks";
import type { FacetName, Facets } from "../../api/model";
import { setQuery } from "../../app/router";
import { Chips, toggled } from "../../components/Chips";
import { healthLabel } from "../../components/Health";
import { Icon } from "../../components/Icon";
import { Menu } from "../../components/Menu";
import { QueryChoice, type QueryChoiceProps } from "../../components/QueryChoice";
import { Search } from "../../components/Search";
import { StateShape } from "../../components/State";
import { count, providerName } from "../../data/format";
import { labelOf } from "../../drawings/states";
import {
  DEFAULT_DAYS,
  activeFilters,
  clearedFilters,
  dayChoices,
  facetLabels,
  facetParams,
  pausedChoices,
  providers,
  removedChoices,
  sorts,
} from "./filters";

interface FilterBarProps {
  query: URLSearchParams;
  facets: Facets | undefined;
}

export function FilterBar({ query, facets }: FilterBarProps) {
  const menus: FacetName[] = ["health", "team", "owner", "tag", "criticality", "connector"];
  const [open, setOpen] = useState(false);
  const active = activeFilters(query);
  return (
    <div class="filters">
      <div class="filter-row" data-open={open}>
        <Search value={query.get("q") ?? ""} label="Search pipelines" />
        <button
          type="button"
          class="button filter-toggle"
          aria-expanded={open}
          onClick={() => setOpen(!open)}
        >
          <Icon name="filter" />
          {active > 0 ? `Filters (${active})` : "Filters"}
        </button>
        {menus.map((name) => (
          <FacetMenu key={name} name={name} query={query} facets={facets} />
        ))}
        <Switch query={query} name="watched_only" value="true" label="Watched" />
        {(providers.length > 1 || query.has("provider")) && (
          <Choice label="Provider" name="provider" options={[["", "Any provider"], ...named(providers)]} />
        )}
        <Choice label="Paused" name="is_paused" options={pausedChoices} />
        <Choice label="Removed" name="is_active" options={removedChoices} />
        <Choice label="Sort" name="sort" options={sorts} />
        {active > 0 && (
          <button type="button" class="button button-quiet" onClick={() => setQuery(clearedFilters)}>
            <Icon name="close" />
            Clear
          </button>
        )}
      </div>
      <StatusChips query={query} facets={facets} />
    </div>
  );
}

/** A choice that small screens show with the other filters. */
function Choice(props: Omit<QueryChoiceProps, "className">) {
  return <QueryChoice className="choice foldable" {...props} />;
}

function named(providers: readonly string[]): [value: string, text: string][] {
  return providers.map((one) => [one, providerName(one)]);
}

function FacetMenu({
  name,
  query,
  facets,
}: {
  name: FacetName;
  query: URLSearchParams;
  facets: Facets | undefined;
}) {
  const param = facetParams[name];
  const chosen = query.getAll(param);
  const values = facets?.[name] ?? [];
  const isFiltered = chosen.length > 0;
  const names = chosen.map((value) =>
    valueName(name, values.find((one) => one.value === value)?.name ?? value),
  );
  return (
    <Menu
      buttonClass={isFiltered ? "button button-chosen" : "button"}
      label={
        <span class="clip facet-label">
          {isFiltered ? `${facetLabels[name]}: ${names.join(", ")}` : facetLabels[name]}
        </span>
      }
    >
      {() => (
        <FacetList
          name={name}
          values={values}
          chosen={chosen}
          toggle={(value) => setQuery({ [param]: toggled(chosen, value) })}
        />
      )}
    </Menu>
  );
}

function valueName(facet: FacetName, name: string): string {
  if (facet === "health") return healthLabel(name);
  if (name === "none") return facet === "criticality" ? "Not set" : `No ${facet}`;
  return facet === "criticality" ? name.charAt(0).toUpperCase() + name.slice(1) : name;
}

interface FacetListProps {
  name: FacetName;
  values: Facets[FacetName];
  chosen: string[];
  toggle(value: string): void;
}

function FacetList({ name, values, chosen, toggle }: FacetListProps) {
  const [text, setText] = useState("");
  if (values.length === 0) return <p class="menu-item quiet">Nothing to choose from</p>;
  const wanted = text.toLowerCase();
  const shown = values.filter((one) =>
    valueName(name, one.name ?? one.value)
      .toLowerCase()
      .includes(wanted),
  );
  return (
    <>
      {values.length > 8 && (
        <input
          class="input"
          type="search"
          aria-label={`Find in ${facetLabels[name]}`}
          placeholder="Find"
          value={text}
          onInput={(event) => setText(event.currentTarget.value)}
        />
      )}
      {shown.map((one) => (
        <label key={one.value} class="menu-item check">
          <input type="checkbox" checked={chosen.includes(one.value)} onChange={() => toggle(one.value)} />
          <span class="clip">{valueName(name, one.name ?? one.value)}</span>
          <span class="number">{count(one.count)}</span>
        </label>
      ))}
    </>
  );
}

function Switch({
  query,
  name,
  value,
  label,
}: {
  query: URLSearchParams;
  name: string;
  value: string;
  label: string;
}) {
  const isOn = query.get(name) === value;
  return (
    <button
      type="button"
      class={isOn ? "button switch button-chosen" : "button switch"}
      aria-pressed={isOn}
      onClick={() => setQuery({ [name]: isOn ? null : value })}
    >
      {label}
    </button>
  );
}

export function Days({ query }: { query: URLSearchParams }) {
  return (
    <label class="row days">
      <span class="quiet small nowrap">Metrics of</span>
      <select
        class="select"
        value={query.get("days") ?? DEFAULT_DAYS}
        onChange={(event) =>
          setQuery({ days: event.currentTarget.value === DEFAULT_DAYS ? null : event.currentTarget.value })
        }
      >
        {dayChoices.map((days) => (
          <option key={days} value={days}>
            {days === "365" ? "1 year" : `${days} days`}
          </option>
        ))}
      </select>
    </label>
  );
}

const statusChoices = ["failed", "running", "queued", "success", "never_run", "unknown"];

/** The statuses with their numbers: what is most looked for is one click away. */
function StatusChips({ query, facets }: FilterBarProps) {
  const chosen = query.getAll("status");
  const counts = new Map((facets?.status ?? []).map((one) => [one.value, one.count]));
  const shown = statusChoices.filter((status) => counts.has(status) || chosen.includes(status));
  return (
    <Chips
      label="Status"
      values={shown}
      isChosen={(status) => chosen.includes(status)}
      toggle={(status) => setQuery({ status: toggled(chosen, status) })}
      text={(status) => (
        <>
          <StateShape status={status} />
          {labelOf(status)}
          <span class="chip-count">{count(counts.get(status) ?? 0)}</span>
        </>
      )}
    />
  );
}
