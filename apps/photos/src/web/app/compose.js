// A new post: a photo dropped, pasted or chosen, sent at once while its words are written.

import { call, session, upload } from "./api.js";
import { h, icon, toast } from "./dom.js";
import { logIn } from "./account.js";
import { field, go, postLink, sheet } from "./pieces.js";

const TYPES = ["image/jpeg", "image/png", "image/webp"];
const MOST_BYTES = 10 * 1024 * 1024;

export function newPost() {
  if (!session.user) return logIn();
  const photo = chooser();
  const form = sheet("New post", [
    photo.node,
    field("Title", { name: "title", required: true, maxLength: 200, autocomplete: "off" }),
    field("In one line", { name: "description", required: true, maxLength: 1000, autocomplete: "off" }),
    h("label", {}, "The story", h("textarea", { name: "body", required: true })),
    field("Tags, separated by commas", { name: "tags", autocomplete: "off" }),
  ], "Publish", async (data) => {
    const sent = await photo.sent();
    const tagList = String(data.get("tags")).split(",").map((tag) => tag.trim().replace(/^#/, "")).filter(Boolean);
    const answer = await call("POST", "/api/articles", { article: {
      title: data.get("title"), description: data.get("description"), body: data.get("body"), tagList, photo: sent && sent.id } });
    toast("Published");
    dispatchEvent(new Event("posted"));
    go(postLink(answer.article));
  }, null, true);
  form.addEventListener("paste", (event) => event.clipboardData.files[0] && photo.take(event.clipboardData.files[0]));
  return form;
}

function chooser() {
  const input = h("input", { type: "file", accept: TYPES.join(","), "aria-label": "Photo: JPEG, PNG or WebP, up to 10 MB" });
  const drop = h("div", { class: "drop" });
  const state = h("p", { class: "state", role: "status" });
  const bar = h("progress", { max: 1, value: 0, hidden: true, "aria-label": "Upload" });
  const node = h("div", { class: "chooser" }, drop, bar, state);
  let sending = null;
  let stop = new AbortController();
  let preview = null;

  const bare = () => drop.replaceChildren(h("span", { class: "hint" }, icon("upload"), h("b", {}, "Drop a photo here"), "or click to choose one: JPEG, PNG or WebP, up to 10 MB"), input);
  const forget = (text) => {
    stop.abort();
    if (preview) URL.revokeObjectURL(preview);
    sending = preview = null;
    input.value = "";
    bar.hidden = true;
    state.textContent = text || "";
    bare();
  };
  const take = (file) => {
    forget();
    if (!TYPES.includes(file.type)) return forget("That is not a JPEG, PNG or WebP picture.");
    if (file.size > MOST_BYTES) return forget("That photo is larger than 10 MB.");
    preview = URL.createObjectURL(file);
    drop.replaceChildren(h("img", { src: preview, alt: "Your photo" }), h("button", { class: "remove", type: "button", "aria-label": "Remove the photo", onclick: () => forget() }, icon("close")));
    bar.hidden = false;
    bar.value = 0;
    state.textContent = "Sending …";
    stop = new AbortController();
    const progressed = (share) => {
      bar.value = share;
      state.textContent = share < 1 ? "Sending … " + Math.round(share * 100) + " %" : "Developing …";
    };
    sending = upload(file, progressed, stop.signal).then((photo) => {
      state.textContent = "Ready: " + photo.width + " × " + photo.height;
      bar.hidden = true;
      return photo;
    });
    sending.catch((error) => error.name === "AbortError" || forget(error.message));
  };

  input.addEventListener("change", () => input.files[0] && take(input.files[0]));
  for (const [type, over] of [["dragenter", true], ["dragover", true], ["dragleave", false], ["drop", false]]) {
    drop.addEventListener(type, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", over);
      if (type === "drop" && event.dataTransfer.files[0]) take(event.dataTransfer.files[0]);
    });
  }
  bare();
  return { node, take, sent: () => sending };
}
