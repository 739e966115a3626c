// Requests that were kept, and where the time of one went.
const KINDS = [["newest", ""], ["slowest", "?slow"], ["failed", "?failed"]];
let kind = "";
let opened = null;

function showKinds() {
  $("kinds").replaceChildren(...KINDS.map(([name, value]) => {
    const button = make("button", { type: "button", "aria-pressed": value === kind }, name);
    button.onclick = () => { kind = value; showKinds(); loadTraces(); };
    return button;
  }));
}

async function loadTraces() {
  try {
    const answer = await fetch(`/api/traces${kind}`);
    if (answer.ok) showTraces(await answer.json());
  } catch (_gone) { /* the age of the figures says so */ }
}

const micros = (us) => time(us / 1e6);

function showTraces(list) {
  $("traces-box").hidden = !list.length && kind === "" && opened === null;
  $("traces").replaceChildren(table(["request", "at", "took", "most of it"], list.slice(0, 12).map((trace) => {
    const open = make("button", { type: "button", class: "open", "aria-expanded": trace.trace === opened }, trace.name);
    open.onclick = () => openTrace(trace.trace === opened ? null : trace.trace);
    const ms = trace.start_us / 1000;
    return [make("td", {}, open), make("td", { title: new Date(ms).toLocaleString() }, clock(ms, Date.now() - ms)),
      cell(micros(trace.took_us), trace.failed ? "bad" : null), cell(trace.root_cause ?? none)];
  })));
}

async function openTrace(id) {
  opened = id;
  $("trace").replaceChildren();
  if (id !== null) {
    const answer = await fetch(`/api/trace/${id}`);
    if (answer.ok && opened === id) $("trace").replaceChildren(waterfall(await answer.json()));
  }
  loadTraces();
}

// A row per step, as wide as its time and where it began.
function waterfall(tree) {
  const end = (step) => Math.max(step.start_us + step.took_us, ...step.children.map(end));
  const whole = Math.max(...tree.roots.map(end)) - tree.start_us || 1;
  const row = (step, depth) => {
    const level = step.failed ? "bad" : step.mark === "root_cause" ? "cause" : "";
    const fields = Object.entries(step.fields ?? {}).map(([name, value]) => `${name}=${value}`).join(" ");
    const left = ((step.start_us - tree.start_us) / whole) * 100;
    const width = Math.max((step.took_us / whole) * 100, 0.4);
    return make("div", { class: `step ${level}`, title: fields },
      make("span", { class: "name", style: `padding-left: ${Math.min(depth, 8) * 14}px` }, make("b", {}, step.who), ` ${step.name}`),
      make("span", { class: "track" }, make("i", { style: `margin-left: ${Math.min(left, 99.6).toFixed(2)}%; width: ${width.toFixed(2)}%` })),
      make("span", { class: "took" }, micros(step.took_us)));
  };
  const rows = (steps, depth) => steps.flatMap((step) => [row(step, depth), ...rows(step.children, depth + 1)]);
  return make("div", { class: "waterfall" }, make("p", { class: "dim" }, `trace ${tree.trace}`), ...rows(tree.roots, 0));
}
