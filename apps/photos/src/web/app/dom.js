// Small helpers for nodes, texts and times. Every text of a user becomes a text node, never HTML.

const given = (child) => child !== null && child !== undefined && child !== false;

export function h(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (!given(value)) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node && typeof value !== "string") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.flat(2).filter(given));
  return node;
}

export const byId = (id) => document.getElementById(id);
export const enc = encodeURIComponent;

const SHAPES = {
  heart: "M12 20.5S3.5 15.4 3.5 9.2A4.7 4.7 0 0 1 12 6.6a4.7 4.7 0 0 1 8.5 2.6c0 6.2-8.5 11.3-8.5 11.3Z",
  search: "M10.5 17.5a7 7 0 1 1 0-14 7 7 0 0 1 0 14ZM16 16l5 5",
  sun: "M12 16.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9ZM12 2v2M12 20v2M2 12h2M20 12h2M4.9 4.9l1.4 1.4M17.7 17.7l1.4 1.4M4.9 19.1l1.4-1.4M17.7 6.3l1.4-1.4",
  moon: "M20.5 14.5A8.5 8.5 0 0 1 9.5 3.5a8.5 8.5 0 1 0 11 11Z",
  plus: "M12 5v14M5 12h14",
  left: "M15 5l-7 7 7 7",
  right: "M9 5l7 7-7 7",
  close: "M6 6l12 12M18 6 6 18",
  home: "M4 10.5 12 4l8 6.5V20h-5.5v-5.5h-5V20H4Z",
  people: "M9 11a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7ZM2.5 20c0-3.6 2.9-6 6.5-6s6.5 2.4 6.5 6M16 4.3a3.5 3.5 0 0 1 0 6.4M18 14.3c2.2.9 3.5 2.900 3.500 5.700",
  upload: "M12 16V5M7 9.500 12 4.500 17 9.500M4.500 19.500h15",
};

export function icon(name) {
  const make = (tag, attributes) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return node;
  };
  const svg = make("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" });
  svg.append(make("path", { d: SHAPES[name] }));
  return svg;
}

export function ago(iso) {
  const seconds = (Date.now() - new Date(iso)) / 1000;
  for (const [name, length] of [["year", 31557600], ["month", 2629800], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60]]) {
    const count = Math.floor(seconds / length);
    if (count >= 1) return count + " " + name + (count > 1 ? "s" : "") + " ago";
  }
  return "just now";
}

export const when = (iso) => h("time", { datetime: iso, title: new Date(iso).toLocaleString() }, ago(iso));

// 1234 likes fit where 1.2K do.
export const count = (number) => new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 }).format(number);

export const plural = (number, one, many) => count(number) + " " + (number === 1 ? one : many);

// A colour of its own for every text.
export function hue(text) {
  let sum = 7;
  for (const letter of text) sum = (sum * 31 + letter.codePointAt(0)) % 360;
  return sum;
}

let toastTimer = 0;
export function toast(text) {
  const node = byId("toast");
  node.textContent = text;
  node.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { node.hidden = true; }, 3500);
}

export function empty(title, text, link, label) {
  return h("div", { class: "empty" }, h("h2", {}, title), h("p", {}, text), link && h("a", { class: "button", href: link }, label));
}
