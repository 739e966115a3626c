// A photo with its words, likes and comments.

import { call, session } from "./api.js";
import { enc, h, icon, plural, toast, when } from "./dom.js";
import { neighbours } from "./gallery.js";
import { face, picture, STAGE } from "./pictures.js";
import { followButton, go, isOwn, likeButton, person, postLink, tagChips, userLink } from "./pieces.js";

export async function post(slug) {
  const path = "/api/articles/" + enc(slug);
  const [{ article }, { comments }] = await Promise.all([call("GET", path), call("GET", path + "/comments")]);
  document.title = article.title + " · Photos";
  const remove = isOwn(article.author) && h("button", { class: "link", type: "button", onclick: async () => {
    if (!confirm("Delete this post?")) return;
    try { await call("DELETE", path); toast("Deleted"); go("#/"); } catch (error) { toast(error.message); }
  } }, "Delete");
  const view = h("article", { class: "post" },
    h("div", { class: "stage" }, picture(article, STAGE, true), arrows(slug)),
    h("div", { class: "side" },
      h("div", { class: "by" }, h("a", { href: userLink(article.author), "aria-label": article.author.username }, face(article.author)),
        h("div", {}, h("a", { class: "name", href: userLink(article.author) }, article.author.username), h("div", {}, when(article.createdAt))),
        followButton(article.author)),
      h("h1", {}, article.title),
      h("p", { class: "lead" }, article.description),
      article.body !== article.description && h("p", { class: "body" }, article.body),
      h("div", { class: "row" }, tagChips(article.tagList)),
      h("div", { class: "row acts" }, likeButton(article), remove),
      conversation(path, comments)));
  return view;
}

// Links, so that they work without a mouse; the arrow keys follow them (keys.js).
function arrows(slug) {
  const { before, after } = neighbours(slug);
  return [
    before && h("a", { class: "arrow left", href: postLink(before), rel: "prev", "aria-label": "Previous photo: " + before.title }, icon("left")),
    after && h("a", { class: "arrow right", href: postLink(after), rel: "next", "aria-label": "Next photo: " + after.title }, icon("right")),
  ];
}

function conversation(path, comments) {
  const heading = h("h2", {});
  const list = h("ol", { class: "lines" });
  const show = () => {
    heading.textContent = comments.length ? plural(comments.length, "comment", "comments") : "No comments yet";
    list.replaceChildren(...comments.map(line));
  };
  const remove = async (comment) => {
    try {
      await call("DELETE", path + "/comments/" + comment.id);
      comments.splice(comments.indexOf(comment), 1);
      show();
    } catch (error) { toast(error.message); }
  };
  const line = (comment) => h("li", { class: "comment" },
    h("div", { class: "meta" }, person(comment.author), when(comment.createdAt),
      isOwn(comment.author) && h("button", { class: "link", type: "button", "aria-label": "Delete your comment", onclick: () => remove(comment) }, "Delete")),
    h("p", {}, comment.body));
  const said = (comment) => { comments.unshift(comment); show(); };
  show();
  return h("section", { class: "comments", "aria-label": "Comments" }, heading, writer(path, said), list);
}

function writer(path, said) {
  if (!session.user) return h("p", { class: "hint" }, h("a", { href: "#/login" }, h("b", {}, "Log in")), " to comment");
  const input = h("input", { name: "body", placeholder: "Say something kind", "aria-label": "Your comment", required: true, maxLength: 8000, autocomplete: "off" });
  const button = h("button", { type: "submit" }, "Send");
  return h("form", { class: "write", onsubmit: async (event) => {
    event.preventDefault();
    button.disabled = true;
    try {
      said((await call("POST", path + "/comments", { comment: { body: input.value } })).comment);
      input.value = "";
    } catch (error) { toast(error.message); }
    button.disabled = false;
    input.focus();
  } }, input, button);
}
