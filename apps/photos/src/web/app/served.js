// Which instance answered, at the foot of the page: what a load balancer does can be watched.

import { byId, h, hue } from "./dom.js";

const served = new Map();

export function noteInstance(name, ms) {
  if (!name) return;
  served.set(name, (served.get(name) || 0) + 1);
  const inOrder = [...served].sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }));
  const shown = inOrder.map(([instance, times]) => {
    const chip = h("span", { class: "instance" + (instance === name ? " now" : "") }, h("i"), instance + " × " + times);
    chip.style.setProperty("--dot", "hsl(" + hue(instance + instance) + " 70% 55%)");
    return chip;
  });
  byId("served").replaceChildren(h("span", {}, "Served by ", h("b", {}, name), ms ? " in " + Math.max(1, Math.round(ms)) + " ms" : ""), ...shown);
}
