// What stays around the views: search, tabs, account, theme, tags; and the keys.

import { call, session } from "./api.js";
import { byId, enc, h, icon } from "./dom.js";
import { face } from "./pictures.js";
import { go, tagChips, userLink } from "./pieces.js";

const TABS = [["#/", "Explore", "home"], ["#/feed", "Following", "people"]];

export function showAccount() {
  const user = session.user;
  byId("account").replaceChildren(...(user
    ? [h("a", { class: "button new", href: "#/new" }, icon("plus"), h("span", {}, "New post")), h("a", { class: "me", href: userLink(user), "aria-label": "Your profile", title: user.username }, face(user))]
    : [h("a", { class: "button quiet", href: "#/login" }, "Log in"), h("a", { class: "button", href: "#/join" }, "Join")]));
}

export function showWhere(name) {
  const here = "#/" + name;
  byId("tabs").replaceChildren(...TABS.map(([href, label, shape]) =>
    h("a", { href, "aria-current": href === here ? "page" : null }, icon(shape), h("span", {}, label))));
  byId("chips").hidden = !["", "feed", "tag", "search"].includes(name);
  for (const chip of byId("chips").children) {
    if (chip.getAttribute("href") === location.hash) chip.setAttribute("aria-current", "page");
    else chip.removeAttribute("aria-current");
  }
  if (name !== "search") byId("search").value = "";
}

export async function showChips() {
  try {
    const { tags } = await call("GET", "/api/tags");
    byId("chips").replaceChildren(...tagChips(tags.slice(0, 24)));
  } catch { /* the tags are decoration */ }
}

export function searchBox() {
  const input = byId("search");
  input.form.prepend(icon("search"));
  input.form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = input.value.trim();
    go(text ? "#/search/" + enc(text) : "#/");
  });
}

// Light, dark, and the system's, in turns.
export function themeButton() {
  const button = byId("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (document.documentElement.dataset.theme || (system.matches ? "dark" : "light")) === "dark";
  const show = () => {
    button.replaceChildren(icon(isDark() ? "sun" : "moon"));
    button.setAttribute("aria-label", isDark() ? "Use the light theme" : "Use the dark theme");
  };
  button.addEventListener("click", () => {
    const theme = isDark() ? "light" : "dark";
    const isSystems = (theme === "dark") === system.matches;
    if (isSystems) {
      delete document.documentElement.dataset.theme;
      localStorage.removeItem("theme");
    } else {
      document.documentElement.dataset.theme = theme;
      localStorage.setItem("theme", theme);
    }
    show();
  });
  system.addEventListener("change", show);
  show();
}

// "/" searches, arrows go through the photos, "l" likes, Escape goes back. Never while something is being typed.
export function keys() {
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.closest("input, textarea, select");
    if (typing) {
      if (event.key === "Escape") typing.blur();
      return;
    }
    const press = { "/": "#search", ArrowLeft: ".arrow.left", ArrowRight: ".arrow.right", l: ".post .like" }[event.key];
    const target = press && document.querySelector(press);
    if (event.key === "Escape" && document.querySelector(".post")) history.back();
    if (!target) return;
    event.preventDefault();
    if (target.id === "search") target.focus();
    else target.click();
  });
}
