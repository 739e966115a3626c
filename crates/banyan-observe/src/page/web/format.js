// Numbers and elements for people. Text is never markup: names come from configurations.
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

function draw(name, attributes = {}, text) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

const none = "–";

function number(value) {
  if (value === null || value === undefined) return none;
  if (value >= 1e6) return (value / 1e6).toFixed(1) + " M";
  if (value >= 1e4) return (value / 1e3).toFixed(1) + " k";
  if (value >= 100 || Number.isInteger(value)) return value.toFixed(0);
  return value.toFixed(value >= 0.1 ? 1 : 2);
}

const rate = (value) => (value === null || value === undefined ? none : number(value) + "/s");

function share(value) {
  if (value === null || value === undefined) return none;
  const percent = value * 100;
  return percent === 0 || percent >= 10 ? percent.toFixed(0) + " %" : percent >= 0.1 ? percent.toFixed(1) + " %" : "< 0.1 %";
}

function time(seconds) {
  if (seconds === null || seconds === undefined) return none;
  if (seconds >= 10) return seconds.toFixed(0) + " s";
  if (seconds >= 1) return seconds.toFixed(1) + " s";
  return seconds >= 0.01 ? (seconds * 1000).toFixed(0) + " ms" : (seconds * 1000).toFixed(1) + " ms";
}

function bytes(value) {
  if (value === null || value === undefined) return none;
  return value >= 2 ** 30 ? (value / 2 ** 30).toFixed(1) + " GiB" : (value / 2 ** 20).toFixed(0) + " MiB";
}

function clock(ms, far) {
  const date = new Date(ms);
  const two = (n) => String(n).padStart(2, "0");
  const day = `${two(date.getDate())}.${two(date.getMonth() + 1)}.`;
  const hour = `${two(date.getHours())}:${two(date.getMinutes())}`;
  return far > 2 * 86400e3 ? day : far > 86400e3 ? `${day} ${hour}` : hour;
}
