// What several views are made of.

import { call, session } from "./api.js";
import { count, enc, h, icon, toast, when } from "./dom.js";
import { face, GRID, picture } from "./pictures.js";

export const userLink = (user) => "#/u/" + enc(user.username);
export const postLink = (article) => "#/p/" + enc(article.slug);
export const isOwn = (user) => Boolean(session.user && session.user.username === user.username);

export function go(hash) {
  if (location.hash === hash) dispatchEvent(new HashChangeEvent("hashchange"));
  else location.hash = hash;
}

// A button that asks the API for its other state and shows what it answers.
function toggle(attributes, show, ask) {
  const button = h("button", { type: "button", ...attributes });
  button.addEventListener("click", async () => {
    if (!session.user) return go("#/login");
    button.disabled = true;
    try { await ask(); } catch (error) { toast(error.message); }
    button.disabled = false;
    show(button);
  });
  show(button);
  return button;
}

export function likeButton(article) {
  const show = (button) => {
    button.classList.toggle("on", article.favorited);
    button.setAttribute("aria-pressed", String(article.favorited));
    button.setAttribute("aria-label", "Like " + article.title + ", " + article.favoritesCount + " likes");
    button.replaceChildren(icon("heart"), h("span", {}, count(article.favoritesCount)));
  };
  return toggle({ class: "like" }, show, async () => {
    const answer = await call(article.favorited ? "DELETE" : "POST", "/api/articles/" + enc(article.slug) + "/favorite");
    Object.assign(article, { favorited: answer.article.favorited, favoritesCount: answer.article.favoritesCount });
  });
}

export function followButton(profile, changed) {
  if (isOwn(profile)) return null;
  const show = (button) => {
    button.textContent = profile.following ? "Following" : "Follow";
    button.setAttribute("aria-pressed", String(profile.following));
    button.setAttribute("aria-label", "Follow " + profile.username);
    button.classList.toggle("quiet", profile.following);
  };
  return toggle({ class: "follow" }, show, async () => {
    const answer = await call(profile.following ? "DELETE" : "POST", "/api/profiles/" + enc(profile.username) + "/follow");
    profile.following = answer.profile.following;
    if (changed) changed(profile.following);
  });
}

export const tagChips = (tags) => tags.map((tag) => h("a", { class: "chip", href: "#/tag/" + enc(tag) }, "#" + tag));

export function person(user, below) {
  return h("a", { class: "person", href: userLink(user) }, face(user, "small"), h("span", { class: "name" }, user.username), below);
}

export function card(article, first) {
  return h("article", { class: "card", "aria-label": article.title + ", by " + article.author.username },
    h("a", { class: "shot", href: postLink(article), tabIndex: -1, "aria-hidden": "true" }, picture(article, GRID, first)),
    h("div", { class: "about" },
      h("h3", {}, h("a", { href: postLink(article) }, article.title)),
      h("div", { class: "by" }, person(article.author), when(article.createdAt), likeButton(article))));
}

export const field = (label, attributes) => h("label", {}, label, h("input", attributes));

// A form that shows the server's answer beside its button.
export function sheet(title, fields, label, submit, extra, wide) {
  const wrong = h("p", { class: "wrong", role: "alert" });
  const button = h("button", { type: "submit" }, label);
  const form = h("form", { class: "sheet" + (wide ? " wide" : "") }, h("h1", {}, title), fields, wrong, button, extra);
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    wrong.textContent = "";
    button.disabled = true;
    try { await submit(new FormData(form)); } catch (error) { wrong.textContent = error.message; }
    button.disabled = false;
  });
  return form;
}
