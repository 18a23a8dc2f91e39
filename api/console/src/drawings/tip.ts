// The one tooltip of all drawings. It is filled and moved without drawing anything else anew. What it says
// also stands in the drawing's table.

import "./drawings.css";
import { shapePath, states, type StateName } from "./states";

export interface Tip {
  state?: StateName;
  title: string;
  lines?: readonly string[];
}

const SVG = "http://www.w3.org/2000/svg";
const DISTANCE = 14;

let element: HTMLDivElement | null = null;
let size = { width: 0, height: 0 };
let shown: Tip | null = null;

export function showTip(tip: Tip, x: number, y: number): void {
  element ??= create();
  if (shown !== tip) {
    fill(element, tip);
    // Measured once for each content: it is a layout of the page.
    size = { width: element.offsetWidth, height: element.offsetHeight };
  }
  shown = tip;
  const { width, height } = size;
  const left = x + DISTANCE + width > window.innerWidth ? x - DISTANCE - width : x + DISTANCE;
  const top = y + DISTANCE + height > window.innerHeight ? y - DISTANCE - height : y + DISTANCE;
  element.style.transform = `translate(${Math.max(4, left)}px, ${Math.max(4, top)}px)`;
  element.dataset.shown = "true";
}

export function hideTip(): void {
  if (element === null || shown === null) return;
  shown = null;
  element.dataset.shown = "false";
}

function create(): HTMLDivElement {
  const created = document.createElement("div");
  created.className = "tip";
  created.ariaHidden = "true";
  document.body.append(created);
  window.addEventListener("popstate", hideTip);
  window.addEventListener("scroll", hideTip, { capture: true, passive: true });
  return created;
}

function fill(tip: HTMLElement, { state, title, lines = [] }: Tip): void {
  const head = document.createElement("div");
  head.className = "tip-head";
  if (state !== undefined) head.append(shape(state));
  head.append(title);
  const rows = lines.map((line) => {
    const row = document.createElement("div");
    row.textContent = line;
    return row;
  });
  tip.replaceChildren(head, ...rows);
}

function shape(state: StateName): SVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 14 14");
  svg.setAttribute("class", "state-shape");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("class", `fill-${state}`);
  path.setAttribute("fill-rule", "evenodd");
  path.setAttribute("d", shapePath(states[state].shape, 7, 7, 6));
  svg.append(path);
  return svg;
}
