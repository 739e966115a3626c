// The page: one view per address behind the "#". Where to look: views.js (grids), post.js, profile.js, compose.js, account.js;
// frame.js is what stays around them, api.js all requests.

import { join, logIn, settings } from "./account.js";
import { remembered, session } from "./api.js";
import { newPost } from "./compose.js";
import { byId, empty } from "./dom.js";
import { keys, searchBox, showAccount, showChips, showWhere, themeButton } from "./frame.js";
import { askWhoMakesSizes } from "./pictures.js";
import { post } from "./post.js";
import { profile } from "./profile.js";
import { explore, following, search, tagged } from "./views.js";

const VIEWS = { "": explore, feed: following, tag: tagged, search, u: profile, p: post, login: logIn, join, settings, new: newPost };

let turn = 0;
let shownHash = null;

function failed(error) {
  return error.status === 404
    ? empty("Not here", "It may have been deleted.", "#/", "Explore")
    : empty("That did not work", error.message, "#/", "Explore");
}

async function route() {
  const mine = ++turn;
  const main = byId("main");
  const isFirst = shownHash === null;
  const [, name = "", argument = ""] = location.hash.split("/");
  document.title = "Photos";
  showWhere(name);
  main.setAttribute("aria-busy", "true");
  let shown;
  try {
    shown = await (VIEWS[name] || explore)(decodeURIComponent(argument));
  } catch (error) {
    shown = failed(error);
  }
  // Another view was asked for meanwhile.
  if (mine !== turn) return;
  main.replaceChildren(shown);
  main.removeAttribute("aria-busy");
  shownHash = location.hash;
  scrollTo({ top: 0, behavior: "instant" });
  // Screen readers begin at the new view; not at the first, where the page itself is new.
  if (!isFirst) main.focus({ preventScroll: true });
}

async function start() {
  session.changed = showAccount;
  themeButton();
  searchBox();
  keys();
  await Promise.all([remembered(), askWhoMakesSizes()]);
  showAccount();
  showChips();
  addEventListener("hashchange", route);
  addEventListener("posted", showChips);
  route();
}

start();
