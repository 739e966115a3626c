// A user's page.

import { call } from "./api.js";
import { count, empty, enc, h } from "./dom.js";
import { gallery } from "./gallery.js";
import { face } from "./pictures.js";
import { followButton, isOwn } from "./pieces.js";

export async function profile(name) {
  const { profile: found } = await call("GET", "/api/profiles/" + enc(name));
  document.title = found.username + " · Photos";
  const figure = (number, label) => h("li", {}, h("b", {}, count(number)), " " + label);
  const followers = figure(found.followersCount, "followers");
  const follow = followButton(found, (following) => {
    found.followersCount += following ? 1 : -1;
    followers.replaceChildren(h("b", {}, count(found.followersCount)), " followers");
  });
  return h("section", {},
    h("header", { class: "profile" }, face(found, "large"),
      h("div", { class: "who" },
        h("div", { class: "row" }, h("h1", {}, found.username), follow, isOwn(found) && h("a", { class: "button quiet", href: "#/settings" }, "Edit profile")),
        h("ul", { class: "figures" }, figure(found.postsCount, found.postsCount === 1 ? "photo" : "photos"), followers, figure(found.followingCount, "following")),
        h("p", {}, found.bio || "A photographer of few words."))),
    tabs(found));
}

// As WAI-ARIA describes tabs: one of them is in the order of Tab, the arrows move between them.
function tabs(found) {
  const panel = h("div", { role: "tabpanel", tabIndex: -1 });
  const views = [
    ["Photos", "author", () => empty("No photos yet", found.username + " has not posted anything.")],
    ["Liked", "favorited", () => empty("Nothing liked yet", "What " + found.username + " likes appears here.")],
  ];
  const buttons = views.map(([label], at) => h("button", { type: "button", role: "tab", class: "tab", onclick: () => choose(at) }, label));
  const choose = (at) => {
    buttons.forEach((button, other) => {
      button.setAttribute("aria-selected", String(other === at));
      button.tabIndex = other === at ? 0 : -1;
    });
    const [, filter, nothing] = views[at];
    panel.replaceChildren(gallery("/api/articles?" + filter + "=" + enc(found.username), nothing));
  };
  const list = h("div", { class: "tablist", role: "tablist", "aria-label": "Photos of " + found.username }, buttons);
  list.addEventListener("keydown", (event) => {
    if (event.key !== "ArrowLeft" && event.key !== "ArrowRight") return;
    event.stopPropagation();
    const other = buttons[(buttons.indexOf(document.activeElement) + 1) % buttons.length];
    other.focus();
    other.click();
  });
  choose(0);
  return h("div", {}, list, panel);
}
