// What the server says each second, shown; what is wrong comes first.
let heard = 0;

function show(view) {
  heard = Date.now();
  document.title = (view.troubles.length ? "⚠ " : "") + view.app;
  $("app").textContent = view.app;
  $("release").textContent = view.release ?? "";
  $("version").textContent = `Banyan ${view.version}`;
  const bad = view.troubles.filter((trouble) => trouble.level === "bad").length;
  const verdict = $("verdict");
  verdict.className = "verdict " + (bad ? "bad" : view.troubles.length ? "warn" : "fine");
  verdict.textContent = bad ? `${bad} ${bad === 1 ? "thing is" : "things are"} broken` : view.troubles.length ? "look at this" : "all is well";
  $("troubles").hidden = !view.troubles.length;
  $("troubles").replaceChildren(...view.troubles.map((trouble) => make("li", { class: trouble.level }, trouble.what)));
  showTiles(view.total);
  showMap(view);
  showTables(view);
}

function showTiles(total) {
  const failed = total.error_share >= 0.05 ? "bad" : total.error_share >= 0.01 ? "warn" : "";
  const tile = (name, value, level = "") => make("div", { class: `tile ${level}` }, make("b", {}, value), make("span", {}, name));
  $("tiles").replaceChildren(tile("requests", rate(total.per_second)), tile("failed", share(total.error_share), failed),
    tile("median", time(total.p50_seconds)), tile("slowest 1 %", time(total.p99_seconds)));
}

function table(heads, rows) {
  return make("table", {}, make("thead", {}, make("tr", {}, ...heads.map((head) => make("th", { scope: "col" }, head)))),
    make("tbody", {}, ...rows.map((row) => make("tr", {}, ...row))));
}

const cell = (text, level) => make("td", { class: level }, text);
const errors = (value) => cell(share(value), value >= 0.05 ? "bad" : value >= 0.01 ? "warn" : null);

function showAlerts(alerts) {
  $("alerts-box").hidden = !alerts.length;
  $("alerts").replaceChildren(table(["alert", "since", "state"], alerts.map((alert) => {
    const age = Date.now() - alert.since_ms;
    const name = make("b", {}, [alert.severity, alert.rule, alert.subject].filter(Boolean).join(" "));
    return [make("td", { class: alert.level }, name, make("span", { class: "what" }, alert.what)),
      make("td", { title: new Date(alert.since_ms).toLocaleString() }, clock(alert.since_ms, age)),
      make("td", { class: alert.level, title: alert.muted }, alert.muted ? alert.muted.split(":")[0] : "firing")];
  })));
}

function showTables(view) {
  showAlerts(view.alerts);
  $("routes").replaceChildren(table(["route", "rate", "failed", "median", "slowest 1 %"], view.routes.slice(0, 12).map((route) => [
    cell(route.name === "*" ? "all others" : route.name), cell(rate(route.per_second)), errors(route.error_share),
    cell(time(route.p50_seconds)), cell(time(route.p99_seconds))])));
  $("resources").replaceChildren(...view.resources.flatMap((resource) => [
    make("div", { class: "use" }, make("span", {}, resource.name),
      make("span", { class: resource.level }, [resource.says, resource.waits].filter(Boolean).join(", "))),
    make("div", { class: `bar ${resource.level}` }, make("i", { style: `width: ${((resource.used ?? 0) * 100).toFixed(0)}%` }))]));
  $("queries-box").hidden = !view.queries.length;
  $("queries").replaceChildren(table(["statement", "rate", "load", "slowest 1 %"], view.queries.map((query) => [
    make("td", {}, make("code", { title: query.statement }, query.statement)), cell(rate(query.per_second)),
    cell(query.load.toFixed(2)), cell(time(query.p99_seconds))])));
  $("caches-box").hidden = !view.caches.length;
  $("caches").replaceChildren(table(["cache", "asked", "found"], view.caches.map((cache) => [
    cell(cache.name), cell(rate(cache.per_second)), cell(share(cache.hit_ratio))])));
}

function showAge() {
  const old = heard ? (Date.now() - heard) / 1000 : 0;
  $("age").textContent = heard ? (old < 4 ? "live" : `figures of ${old.toFixed(0)} s ago`) : "";
  if (old >= 5) {
    $("verdict").className = "verdict wait";
    $("verdict").textContent = "observe does not answer; requests do not need it";
  }
}

new EventSource("/api/live").onmessage = (event) => show(JSON.parse(event.data));
showRanges();
showKinds();
loadHistory();
loadTraces();
setInterval(loadHistory, 10000);
setInterval(loadTraces, 10000);
setInterval(showAge, 1000);
