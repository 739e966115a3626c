"use strict";
// One page on the RealWorld API. Every text of a user becomes a text node, never HTML.

const PAGE = 18;
const state = { user: null, served: new Map(), last: null, view: 0 };

// ---- small helpers -------------------------------------------------------------------------------------------------

function h(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node && typeof value !== "string") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const byId = (id) => document.getElementById(id);
const enc = encodeURIComponent;

function heart() {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", "M12 20.5S3.5 15.4 3.5 9.2A4.7 4.7 0 0 1 12 6.6a4.7 4.7 0 0 1 8.5 2.6c0 6.2-8.5 11.3-8.5 11.3Z");
  svg.append(path);
  return svg;
}

function ago(iso) {
  const seconds = (Date.now() - new Date(iso)) / 1000;
  for (const [name, length] of [["year", 31557600], ["month", 2629800], ["week", 604800], ["day", 86400], ["hour", 3600], ["minute", 60]]) {
    const count = Math.floor(seconds / length);
    if (count >= 1) return count + " " + name + (count > 1 ? "s" : "") + " ago";
  }
  return "just now";
}

function hue(text) {
  let sum = 7;
  for (const letter of text) sum = (sum * 31 + letter.codePointAt(0)) % 360;
  return sum;
}

let toastTimer = 0;
function toast(text) {
  const node = byId("toast");
  node.textContent = text;
  node.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => { node.hidden = true; }, 3500);
}

// ---- the API -------------------------------------------------------------------------------------------------------

class Refused extends Error {
  constructor(status, errors) {
    super(Object.entries(errors).map(([field, texts]) => field + " " + texts.join(", ")).join("\n") || "status " + status);
    this.status = status;
  }
}

// Reading again is harmless, so a 503 or a cut connection is tried a few times; writing is never repeated by itself.
async function call(method, path, body) {
  for (let attempt = 0; ; attempt++) {
    try {
      return await send(method, path, body);
    } catch (error) {
      const passing = !(error instanceof Refused) || error.status === 503;
      if (method !== "GET" || !passing || attempt >= 4) throw error;
      toast("The server is busy, trying again …");
      await new Promise((resume) => setTimeout(resume, 500 * (attempt + 1)));
    }
  }
}

async function send(method, path, body) {
  const headers = {};
  const token = localStorage.getItem("token");
  if (token) headers.Authorization = "Token " + token;
  const form = body instanceof FormData;
  if (body && !form) headers["Content-Type"] = "application/json";
  const begun = performance.now();
  const response = await fetch(path, { method, headers, body: form ? body : body && JSON.stringify(body) });
  noteInstance(response.headers.get("X-Served-By"), performance.now() - begun);
  const text = await response.text();
  let json = {};
  try { json = text ? JSON.parse(text) : {}; } catch { json = {}; }
  if (response.ok) return json;
  if (response.status === 401 && token && json.errors && json.errors.token) {
    localStorage.removeItem("token");
    state.user = null;
    showAccount();
  }
  throw new Refused(response.status, json.errors || {});
}

function noteInstance(name, ms) {
  if (!name) return;
  state.served.set(name, (state.served.get(name) || 0) + 1);
  const shown = [...state.served].sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true })).map(([instance, count]) => {
    const chip = h("span", { class: "instance" + (instance === name ? " now" : "") }, h("i"), instance + " × " + count);
    chip.style.setProperty("--dot", "hsl(" + hue(instance + instance) + " 70% 55%)");
    return chip;
  });
  byId("served").replaceChildren(h("span", {}, "Served by ", h("b", {}, name), " in " + Math.max(1, Math.round(ms)) + " ms"), ...shown);
}

// ---- pieces --------------------------------------------------------------------------------------------------------

function face(user, size) {
  const own = user.image && user.image.startsWith("/media/");
  return h("span", { class: "face " + (size || "") }, own ? h("img", { src: user.image, alt: "", loading: "lazy" }) : user.username.slice(0, 1));
}

const userLink = (user) => "#/u/" + enc(user.username);
const postLink = (article) => "#/p/" + enc(article.slug);

// An edge with pictures switched on answers ?w= with a smaller one; without, the app's answer is the same for all.
function sizes(source, wanted) {
  if (!/^\/media\/[^?]+\.(jpe?g|png|webp)$/.test(source)) return {};
  return { srcset: [320, 480, 640, 960, 1280, 1920].map((w) => source + "?w=" + w + " " + w + "w").join(", "), sizes: wanted };
}

function picture(article, eager) {
  // As app.css has it: all of a phone, half of a wide page for one post, and some 300 pixels in the grid.
  const wanted = eager ? "(max-width: 900px) 100vw, 60vw" : "(max-width: 700px) 100vw, 400px";
  if (article.photo) return h("img", { ...sizes(article.photo, wanted), src: article.photo, alt: article.title, loading: eager ? "eager" : "lazy" });
  const words = h("div", { class: "words" }, article.title);
  words.style.setProperty("--from", "hsl(" + hue(article.title) + " 55% 50%)");
  words.style.setProperty("--to", "hsl(" + ((hue(article.title) + 50) % 360) + " 60% 34%)");
  return words;
}

function likeButton(article) {
  const count = h("span", {}, String(article.favoritesCount));
  const button = h("button", { class: "like", type: "button" }, heart(), count);
  const show = () => {
    button.classList.toggle("on", article.favorited);
    button.setAttribute("aria-pressed", String(article.favorited));
    button.setAttribute("aria-label", (article.favorited ? "Unlike, " : "Like, ") + article.favoritesCount + " likes");
    count.textContent = String(article.favoritesCount);
  };
  button.addEventListener("click", async () => {
    if (!state.user) return go("#/login");
    button.disabled = true;
    try {
      const answer = await call(article.favorited ? "DELETE" : "POST", "/api/articles/" + enc(article.slug) + "/favorite");
      Object.assign(article, { favorited: answer.article.favorited, favoritesCount: answer.article.favoritesCount });
    } catch (error) { toast(error.message); }
    button.disabled = false;
    show();
  });
  show();
  return button;
}

function followButton(profile) {
  if (state.user && state.user.username === profile.username) return null;
  const button = h("button", { type: "button" });
  const show = () => {
    button.textContent = profile.following ? "Following" : "Follow";
    button.classList.toggle("quiet", profile.following);
  };
  button.addEventListener("click", async () => {
    if (!state.user) return go("#/login");
    button.disabled = true;
    try {
      const answer = await call(profile.following ? "DELETE" : "POST", "/api/profiles/" + enc(profile.username) + "/follow");
      profile.following = answer.profile.following;
    } catch (error) { toast(error.message); }
    button.disabled = false;
    show();
  });
  show();
  return button;
}

const tagChips = (tags) => tags.map((tag) => h("a", { class: "chip", href: "#/tag/" + enc(tag) }, "#" + tag));

function card(article) {
  return h("article", { class: "card" },
    h("a", { class: "shot", href: postLink(article), "aria-label": article.title }, picture(article)),
    h("div", { class: "about" },
      h("h3", {}, h("a", { href: postLink(article) }, article.title)),
      h("p", { class: "lead" }, article.description),
      h("div", { class: "by" },
        h("a", { href: userLink(article.author), tabIndex: -1 }, face(article.author, "small")),
        h("a", { class: "name", href: userLink(article.author) }, article.author.username),
        h("time", { datetime: article.createdAt, title: new Date(article.createdAt).toLocaleString() }, ago(article.createdAt)),
        likeButton(article))));
}

// A grid that grows by a button; `nothing` is shown when there is nothing at all.
function gallery(path, nothing) {
  const grid = h("div", { class: "grid" });
  const more = h("div", { class: "more" });
  const whole = h("section", {}, grid, more);
  let shown = 0;
  const load = async () => {
    const ghosts = Array.from({ length: shown ? 3 : 6 }, () => h("div", { class: "ghost" }));
    grid.append(...ghosts);
    more.replaceChildren();
    try {
      const answer = await call("GET", path + (path.includes("?") ? "&" : "?") + "limit=" + PAGE + "&offset=" + shown);
      shown += answer.articles.length;
      grid.append(...answer.articles.map(card));
      if (shown === 0) whole.replaceChildren(nothing());
      else if (answer.articles.length && shown < answer.articlesCount) {
        more.replaceChildren(h("button", { class: "quiet", type: "button", onclick: load }, "Show more (" + shown + " of " + answer.articlesCount + ")"));
      }
    } catch (error) {
      more.replaceChildren(h("button", { class: "quiet", type: "button", onclick: load }, "Could not load. Try again"));
    }
    ghosts.forEach((ghost) => ghost.remove());
  };
  load();
  return whole;
}

function empty(title, text, link, label) {
  return h("div", { class: "empty" }, h("h2", {}, title), h("p", {}, text), link && h("a", { class: "button", href: link }, label));
}

// A form that shows the server's answer beside its button.
function sheet(title, fields, label, submit, extra, wide) {
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

const field = (label, attributes) => h("label", {}, label, h("input", attributes));

// ---- views ---------------------------------------------------------------------------------------------------------

function explore() {
  return gallery("/api/articles", () => empty("Nothing here yet", "Be the first to show something, or fill the place with: photos seed", "#/new", "New post"));
}

function following() {
  if (!state.user) return empty("Your own feed", "Log in to see the pictures of the people you follow.", "#/login", "Log in");
  return gallery("/api/articles/feed", () => empty("Quiet so far", "Follow someone, and their pictures appear here.", "#/", "Explore"));
}

const tagged = (tag) => gallery("/api/articles?tag=" + enc(tag), () => empty("#" + tag, "No post has this tag any more.", "#/", "Explore"));

async function profile(name) {
  const { profile: found } = await call("GET", "/api/profiles/" + enc(name));
  const liked = h("button", { class: "quiet", type: "button" }, "Liked");
  const pictures = h("div", {}, gallery("/api/articles?author=" + enc(found.username), () => empty("No pictures yet", found.username + " has not posted anything.")));
  let showsLiked = false;
  liked.addEventListener("click", () => {
    showsLiked = !showsLiked;
    liked.textContent = showsLiked ? "Posts" : "Liked";
    pictures.replaceChildren(gallery("/api/articles?" + (showsLiked ? "favorited=" : "author=") + enc(found.username), () => empty("Nothing here", "")));
  });
  const own = state.user && state.user.username === found.username;
  return h("section", {},
    h("div", { class: "profile" }, face(found, "large"),
      h("div", {}, h("h1", {}, found.username), h("p", {}, found.bio || "A photographer of few words.")),
      h("div", { class: "row" }, followButton(found), liked, own && h("button", { class: "quiet", type: "button", onclick: logOut }, "Log out"))),
    pictures);
}

async function post(slug) {
  const path = "/api/articles/" + enc(slug);
  const [{ article }, { comments }] = await Promise.all([call("GET", path), call("GET", path + "/comments")]);
  document.title = article.title + " · Photos";
  const own = state.user && state.user.username === article.author.username;
  const remove = own && h("button", { class: "link", type: "button", onclick: async () => {
    if (!confirm("Delete this post?")) return;
    try { await call("DELETE", path); toast("Deleted"); go("#/"); } catch (error) { toast(error.message); }
  } }, "Delete");
  return h("article", { class: "post" },
    h("div", { class: "frame" }, picture(article, true)),
    h("div", { class: "side" },
      h("div", { class: "by" }, h("a", { href: userLink(article.author) }, face(article.author)),
        h("div", {}, h("a", { class: "name", href: userLink(article.author) }, article.author.username),
          h("div", {}, h("time", { datetime: article.createdAt }, ago(article.createdAt)))),
        followButton(article.author)),
      h("h1", {}, article.title),
      h("p", { class: "lead" }, article.description),
      h("p", { class: "body" }, article.body),
      h("div", { class: "row" }, tagChips(article.tagList)),
      h("div", { class: "row" }, likeButton(article), remove),
      conversation(path, comments)));
}

function conversation(path, comments) {
  const list = h("div", { class: "comments" });
  const show = () => {
    list.replaceChildren(h("h2", {}, comments.length === 1 ? "1 comment" : comments.length + " comments"), writer(), ...comments.map(line));
  };
  const line = (comment) => h("div", { class: "comment" }, face(comment.author, "small"),
    h("div", {},
      h("div", { class: "meta" }, h("a", { href: userLink(comment.author) }, comment.author.username), ago(comment.createdAt),
        state.user && state.user.username === comment.author.username && h("button", { class: "link", type: "button", onclick: async () => {
          try {
            await call("DELETE", path + "/comments/" + comment.id);
            comments.splice(comments.indexOf(comment), 1);
            show();
          } catch (error) { toast(error.message); }
        } }, "Delete")),
      h("p", {}, comment.body)));
  const writer = () => {
    if (!state.user) return h("a", { class: "link", href: "#/login" }, "Log in to comment");
    const input = h("input", { name: "body", placeholder: "Say something kind", "aria-label": "Comment", required: true, maxLength: 8000, autocomplete: "off" });
    return h("form", { class: "write", onsubmit: async (event) => {
      event.preventDefault();
      try {
        const answer = await call("POST", path + "/comments", { comment: { body: input.value } });
        comments.unshift(answer.comment);
        show();
      } catch (error) { toast(error.message); }
    } }, input, h("button", { type: "submit" }, "Send"));
  };
  show();
  return list;
}

function logIn() {
  return sheet("Welcome back", [
    field("E-mail", { name: "email", type: "email", autocomplete: "username", required: true }),
    field("Password", { name: "password", type: "password", autocomplete: "current-password", required: true }),
  ], "Log in", async (data) => {
    enter(await call("POST", "/api/users/login", { user: { email: data.get("email"), password: data.get("password") } }));
  }, h("p", { class: "hint" }, "New here? ", h("a", { href: "#/join" }, h("b", {}, "Join"))));
}

function join() {
  return sheet("Join Photos", [
    field("Name", { name: "username", autocomplete: "username", required: true, maxLength: 64 }),
    field("E-mail", { name: "email", type: "email", autocomplete: "email", required: true }),
    field("Password (at least 8 characters)", { name: "password", type: "password", autocomplete: "new-password", required: true, minLength: 8 }),
  ], "Join", async (data) => {
    enter(await call("POST", "/api/users", { user: { username: data.get("username"), email: data.get("email"), password: data.get("password") } }));
  }, h("p", { class: "hint" }, "Been here before? ", h("a", { href: "#/login" }, h("b", {}, "Log in"))));
}

function newPost() {
  if (!state.user) return logIn();
  const input = h("input", { type: "file", accept: "image/jpeg,image/png,image/webp,image/gif", "aria-label": "Photo" });
  const hint = h("span", {}, "Drop a photo here, or click to choose one (up to 10 MB)");
  const drop = h("div", { class: "drop" }, hint, input);
  let preview = null;
  input.addEventListener("change", () => {
    if (preview) URL.revokeObjectURL(preview.src);
    if (preview) preview.remove();
    preview = input.files[0] ? h("img", { src: URL.createObjectURL(input.files[0]), alt: "Your photo" }) : null;
    hint.hidden = Boolean(preview);
    if (preview) drop.prepend(preview);
  });
  for (const [type, over] of [["dragover", true], ["dragleave", false], ["drop", false]]) {
    drop.addEventListener(type, () => drop.classList.toggle("over", over));
  }
  return sheet("New post", [
    drop,
    field("Title", { name: "title", required: true, maxLength: 200 }),
    field("In one line", { name: "description", required: true, maxLength: 1000 }),
    h("label", {}, "The story", h("textarea", { name: "body", required: true })),
    field("Tags, separated by commas", { name: "tags", autocomplete: "off" }),
  ], "Publish", async (data) => {
    let photo = null;
    if (input.files[0]) {
      const form = new FormData();
      form.append("photo", input.files[0]);
      photo = (await call("POST", "/photos", form)).photo.id;
    }
    const tagList = String(data.get("tags")).split(",").map((tag) => tag.trim()).filter(Boolean);
    const answer = await call("POST", "/api/articles", { article: {
      title: data.get("title"), description: data.get("description"), body: data.get("body"), tagList, photo } });
    toast("Published");
    showChips();
    go(postLink(answer.article));
  }, null, true);
}

// ---- frame ---------------------------------------------------------------------------------------------------------

function enter({ user }) {
  localStorage.setItem("token", user.token);
  state.user = user;
  showAccount();
  go("#/");
}

function logOut() {
  localStorage.removeItem("token");
  state.user = null;
  showAccount();
  go("#/");
}

function go(hash) {
  if (location.hash === hash) route();
  else location.hash = hash;
}

function showAccount() {
  byId("account").replaceChildren(...(state.user
    ? [h("a", { class: "button", href: "#/new", "aria-label": "New post" }, "New", h("span", { class: "wide-only" }, "post")), h("a", { href: userLink(state.user), "aria-label": "Your profile", title: state.user.username }, face(state.user))]
    : [h("a", { class: "link", href: "#/login" }, "Log in"), h("a", { class: "button", href: "#/join" }, "Join")]));
}

function showTabs(where) {
  const tab = (href, label) => h("a", { href, class: where === href ? "on" : null, "aria-current": where === href ? "page" : null }, label);
  byId("tabs").replaceChildren(tab("#/", "Explore"), tab("#/feed", "Following"));
}

async function showChips() {
  try {
    const { tags } = await call("GET", "/api/tags");
    byId("chips").replaceChildren(...tagChips(tags.slice(0, 24)));
    markChip();
  } catch { /* the tags are decoration */ }
}

function markChip() {
  for (const chip of byId("chips").children) chip.classList.toggle("on", chip.getAttribute("href") === location.hash);
}

async function route() {
  const view = ++state.view;
  const [, name = "", argument = ""] = location.hash.split("/");
  const value = decodeURIComponent(argument);
  const views = { "": explore, feed: following, tag: () => tagged(value), u: () => profile(value), p: () => post(value), login: logIn, join, new: newPost };
  document.title = "Photos";
  showTabs("#/" + name);
  byId("chips").hidden = !["", "feed", "tag"].includes(name);
  markChip();
  let shown;
  try {
    shown = await (views[name] || explore)();
  } catch (error) {
    shown = error.status === 404 ? empty("Not here", "It may have been deleted.", "#/", "Explore") : empty("That did not work", error.message, "#/", "Explore");
  }
  if (view !== state.view) return;
  byId("main").replaceChildren(shown);
  scrollTo(0, 0);
}

async function start() {
  showAccount();
  if (localStorage.getItem("token")) {
    try { state.user = (await call("GET", "/api/user")).user; } catch { state.user = null; }
    showAccount();
  }
  addEventListener("hashchange", route);
  showChips();
  route();
}

start();
