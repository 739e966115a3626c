// Lines over time, with marks where something was changed.
const RANGES = [["1 h", 60], ["6 h", 360], ["2 d", 2880], ["30 d", 43200]];
let minutes = 60;

function showRanges() {
  $("ranges").replaceChildren(...RANGES.map(([name, value]) => {
    const button = make("button", { type: "button", "aria-pressed": value === minutes }, name);
    button.onclick = () => { minutes = value; showRanges(); loadHistory(); };
    return button;
  }));
}

async function loadHistory() {
  try {
    const answer = await fetch(`/api/history?minutes=${minutes}`);
    if (answer.ok) showCharts(await answer.json());
  } catch (_gone) { /* the age of the figures says so */ }
}

function showCharts(history) {
  $("charts").replaceChildren(...history.charts.map((chart) => showChart(chart, history)));
}

const UNITS = { rate, share, seconds: time, count: number };

function showChart(chart, history) {
  const write = UNITS[chart.unit] ?? number;
  const wide = $("charts").clientWidth < 700;
  const [width, height, left, bottom] = [wide ? 340 : 520, 130, 46, 18];
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": chart.name });
  const span = history.to_ms - history.from_ms;
  const top = nice(Math.max(...chart.lines.flatMap((line) => line.points.map((point) => point[1])), 0), chart.unit);
  const x = (at) => left + ((at - history.from_ms) / span) * (width - left - 4);
  const y = (value) => 12 + (1 - value / top) * (height - bottom - 12);
  for (const part of [0, 0.5, 1]) {
    svg.append(draw("line", { class: "grid", x1: left, x2: width, y1: y(top * part), y2: y(top * part) }));
    svg.append(draw("text", { x: left - 6, y: y(top * part) + 4, "text-anchor": "end" }, write(top * part)));
  }
  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    const at = history.from_ms + span * part;
    const anchor = part === 1 ? "end" : part === 0 ? "start" : "middle";
    svg.append(draw("text", { x: x(at), y: height - 3, "text-anchor": anchor }, clock(at, span)));
  }
  let free = -Infinity;
  for (const mark of history.marks) {
    const kind = mark.bad ? " bad" : "";
    svg.append(draw("line", { class: "mark" + kind, x1: x(mark.at_ms), x2: x(mark.at_ms), y1: 10, y2: height - bottom }));
    // Where two would lie over each other, the line alone says that something was done.
    const half = mark.what.length * 3.2;
    const middle = Math.min(Math.max(x(mark.at_ms), left + half), width - half);
    if (middle - half < free) continue;
    free = middle + half + 4;
    const label = draw("text", { class: "marked" + kind, x: middle, y: 7, "text-anchor": "middle" }, mark.what);
    label.append(draw("title", {}, `${mark.what}, ${new Date(mark.at_ms).toLocaleString()}`));
    svg.append(label);
  }
  chart.lines.forEach((line, place) => {
    svg.append(draw("path", { class: ["one", "two", "three"][place % 3], d: pathOf(line.points, x, y, history.step_ms) }));
  });
  const keys = chart.lines.length > 1 ? chart.lines.map((line, place) => make("span", {},
    make("i", { class: "key", style: `background: var(--${["one", "two", "three"][place % 3]})` }), line.name)) : [];
  return make("div", { class: "chart" }, make("h3", {}, chart.name, make("em", {}, ...keys)), svg);
}

// What was not measured is a gap.
function pathOf(points, x, y, step) {
  let path = "";
  let before = null;
  for (const [at, value] of points) {
    path += (before === null || at - before > 3.5 * step ? "M" : "L") + x(at).toFixed(1) + "," + y(value).toFixed(1);
    before = at;
  }
  return path;
}

function nice(most, unit) {
  if (unit === "share") return most > 0.5 ? 1 : most > 0.1 ? 0.5 : most > 0.02 ? 0.1 : 0.02;
  if (most <= 0) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].find((step) => step * power >= most) * power;
}
