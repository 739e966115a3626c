// The map: a lane of boxes for each kind, wires with rates between them.
const LANES = ["edge", "app", "beside", "data"];
let shown = { parts: [], flows: [] };

function showMap(view) {
  shown = view;
  const map = $("map");
  const lanes = LANES.map((lane) => view.parts.filter((part) => part.lane === lane)).filter((parts) => parts.length);
  const wires = $("wires");
  map.replaceChildren(wires, ...lanes.map(showLane));
  drawWires();
}

function showLane(parts) {
  const boxes = parts.map((part) => {
    const facts = [part.cpu === null ? null : share(part.cpu) + " CPU", part.memory_bytes === null ? null : bytes(part.memory_bytes)];
    return make("div", { class: `part ${part.level}`, "data-id": part.id, "data-lane": part.lane },
      make("b", {}, part.id),
      make("span", { class: "says" }, part.says),
      make("span", {}, facts.filter(Boolean).join(" · ")));
  });
  return make("div", { class: parts.length === 1 ? "lane single" : "lane", "data-lane": parts[0].lane }, ...boxes);
}

function ends(flow) {
  const map = $("map");
  const box = (id) => map.querySelector(`.part[data-id="${CSS.escape(id)}"]`);
  const from = flow.from === "app" ? map.querySelector('.lane[data-lane="app"]') : box(flow.from);
  return [from, box(flow.to)];
}

function drawWires() {
  const wires = $("wires");
  const area = $("map").getBoundingClientRect();
  wires.replaceChildren();
  for (const flow of shown.flows) {
    const [from, to] = ends(flow);
    if (!from || !to) continue;
    const a = from.getBoundingClientRect();
    const b = to.getBoundingClientRect();
    const down = b.top >= a.bottom;
    const beside = b.left >= a.right;
    if (!down && !beside) continue;
    const x1 = (beside ? a.right : a.left + a.width / 2) - area.left;
    const y1 = (beside ? a.top + a.height / 2 : a.bottom) - area.top;
    const x2 = (beside ? b.left : b.left + b.width / 2) - area.left;
    const y2 = (beside ? b.top + b.height / 2 : b.top) - area.top;
    const bend = beside ? `C${(x1 + x2) / 2},${y1} ${(x1 + x2) / 2},${y2}` : `C${x1},${(y1 + y2) / 2} ${x2},${(y1 + y2) / 2}`;
    const state = flow.level === "bad" ? " bad" : flow.per_second > 0 ? " flows" : "";
    wires.append(draw("path", { class: "wire" + state, d: `M${x1},${y1} ${bend} ${x2},${y2}` }));
    if (flow.per_second !== null) {
      const at = beside ? { x: x2 - 8, y: y2 - 6, "text-anchor": "end" } : { x: x2 + 6, y: y2 - 8 };
      wires.append(draw("text", { class: "rate", ...at }, rate(flow.per_second)));
    }
  }
}

new ResizeObserver(drawWires).observe($("map"));
