// Log in, join, one's own profile.

import { call, enter, leave, session, upload } from "./api.js";
import { h, toast } from "./dom.js";
import { face } from "./pictures.js";
import { field, go, sheet, userLink } from "./pieces.js";

export function logIn() {
  return sheet("Welcome back", [
    field("E-mail", { name: "email", type: "email", autocomplete: "username", required: true }),
    field("Password", { name: "password", type: "password", autocomplete: "current-password", required: true }),
  ], "Log in", async (data) => {
    await enter(data.get("email"), data.get("password"));
    go("#/");
  }, h("p", { class: "hint" }, "New here? ", h("a", { href: "#/join" }, h("b", {}, "Join"))));
}

export function join() {
  return sheet("Join Photos", [
    field("Name", { name: "username", autocomplete: "username", required: true, maxLength: 64 }),
    field("E-mail", { name: "email", type: "email", autocomplete: "email", required: true }),
    field("Password (at least 8 characters)", { name: "password", type: "password", autocomplete: "new-password", required: true, minLength: 8 }),
  ], "Join", async (data) => {
    await call("POST", "/api/users", { user: { username: data.get("username"), email: data.get("email"), password: data.get("password") } });
    await enter(data.get("email"), data.get("password"));
    go("#/");
  }, h("p", { class: "hint" }, "Been here before? ", h("a", { href: "#/login" }, h("b", {}, "Log in"))));
}

export function settings() {
  if (!session.user) return logIn();
  const user = session.user;
  const shown = h("div", { class: "row" }, face(user, "large"));
  const choose = h("input", { type: "file", accept: "image/jpeg,image/png,image/webp", "aria-label": "Your picture" });
  let image = user.image;
  choose.addEventListener("change", async () => {
    if (!choose.files[0]) return;
    try {
      const photo = await upload(choose.files[0], () => {}, new AbortController().signal);
      image = photo.url;
      shown.replaceChildren(face({ ...user, image }, "large"));
    } catch (error) { toast(error.message); }
  });
  const bio = h("textarea", { name: "bio", maxLength: 1000 }, user.bio || "");
  return sheet("Your profile", [
    shown,
    h("label", {}, "Picture", choose),
    field("Name", { name: "username", required: true, maxLength: 64, value: user.username }),
    h("label", {}, "About you", bio),
  ], "Save", async (data) => {
    const changed = await call("PUT", "/api/user", { user: { username: data.get("username"), bio: data.get("bio"), image } });
    session.user = changed.user;
    session.changed();
    toast("Saved");
    go(userLink(changed.user));
  }, h("button", { class: "link", type: "button", onclick: async () => { try { await leave(); go("#/"); } catch (error) { toast(error.message); } } }, "Log out"));
}
