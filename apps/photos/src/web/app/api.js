// The API, and who uses it.

import { toast } from "./dom.js";
import { noteInstance } from "./served.js";

export const session = { user: null, changed: () => {} };

export class Refused extends Error {
  constructor(status, errors) {
    super(Object.entries(errors).map(([field, texts]) => field + " " + texts.join(", ")).join("\n") || "status " + status);
    this.status = status;
  }
}

// Reading again is harmless, so a 503 or a cut connection is tried a few times; writing is never repeated by itself.
export async function call(method, path, body) {
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
  if (body) headers["Content-Type"] = "application/json";
  const begun = performance.now();
  const response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  noteInstance(response.headers.get("X-Served-By"), performance.now() - begun);
  return understood(response.status, await response.text());
}

function understood(status, text) {
  let json = {};
  try { json = text ? JSON.parse(text) : {}; } catch { json = {}; }
  if (status >= 200 && status < 300) return json;
  if (status === 401 && session.user && json.errors && json.errors.token) left();
  throw new Refused(status, json.errors || {});
}

// fetch says nothing of what has been sent, so this one is an XMLHttpRequest. `cancelled` is an AbortSignal.
export function upload(file, progressed, cancelled) {
  const form = new FormData();
  form.append("photo", file);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("POST", "/photos");
    request.upload.addEventListener("progress", (event) => event.lengthComputable && progressed(event.loaded / event.total));
    request.addEventListener("load", () => {
      noteInstance(request.getResponseHeader("X-Served-By"), 0);
      try { resolve(understood(request.status, request.responseText).photo); } catch (error) { reject(error); }
    });
    request.addEventListener("error", () => reject(new Error("The connection broke. Choose the photo again.")));
    request.addEventListener("abort", () => reject(new DOMException("cancelled", "AbortError")));
    cancelled.addEventListener("abort", () => request.abort());
    request.send(form);
  });
}

// The session is a cookie that no script can read; who it belongs to is asked.
export async function enter(email, password) {
  session.user = (await call("POST", "/api/session", { user: { email, password } })).user;
  session.changed();
}

export async function leave() {
  await call("DELETE", "/api/session");
  left();
}

function left() {
  session.user = null;
  session.changed();
}

export async function remembered() {
  try {
    // Of an earlier version of the page.
    localStorage.removeItem("token");
    session.user = (await call("GET", "/api/session")).user || null;
  } catch { session.user = null; }
}
