// The views that are a grid: all, of those one follows, of a tag, of a search.

import { call, session } from "./api.js";
import { empty, enc, h, plural } from "./dom.js";
import { gallery } from "./gallery.js";
import { face } from "./pictures.js";
import { followButton, userLink } from "./pieces.js";

export function explore() {
  return gallery("/api/articles", () => empty("Nothing here yet", "Be the first to show something, or fill the place with: photos seed", "#/new", "New post"), true);
}

export function following() {
  if (!session.user) return empty("Your own feed", "Log in to see the photos of the people you follow.", "#/login", "Log in");
  return gallery("/api/articles/feed", () => empty("Quiet so far", "Follow someone, and their photos appear here.", "#/", "Explore"));
}

export function tagged(tag) {
  document.title = "#" + tag + " · Photos";
  return h("section", {}, h("h1", { class: "title" }, "#" + tag),
    gallery("/api/articles?tag=" + enc(tag), () => empty("#" + tag, "No post has this tag any more.", "#/", "Explore")));
}

export async function search(text) {
  document.title = text + " · Photos";
  const { profiles } = await call("GET", "/api/profiles?search=" + enc(text.replace(/^[#@]/, "")));
  const people = profiles.map((profile) => h("li", {},
    h("a", { href: userLink(profile) }, face(profile), h("span", { class: "name" }, profile.username)), followButton(profile)));
  return h("section", {}, h("h1", { class: "title" }, "“" + text + "”"),
    people.length > 0 && h("ul", { class: "people", "aria-label": plural(people.length, "person", "people") }, people),
    gallery("/api/articles?search=" + enc(text), () => empty("No photos found", "Try fewer words, the beginning of one, or a #tag.", "#/", "Explore")));
}
