// A grid that grows as one scrolls, or by its button; and the row of what was shown last, for the arrows of a photo's page.

import { call } from "./api.js";
import { h } from "./dom.js";
import { card } from "./pieces.js";

const PAGE = 18;
// Before the end of the grid comes into view.
const AHEAD = "900px";

let lastShown = [];

// The neighbours of a post in the grid that it was opened from.
export function neighbours(slug) {
  const at = lastShown.findIndex((article) => article.slug === slug);
  return at < 0 ? {} : { before: lastShown[at - 1], after: lastShown[at + 1] };
}

// `nothing` makes what is shown when there is nothing at all.
export function gallery(path, nothing, featured) {
  const grid = h("div", { class: "grid" + (featured ? " featured" : ""), role: "feed", "aria-label": "Photos", "aria-busy": "true" });
  const more = h("div", { class: "more" });
  const whole = h("section", {}, grid, more);
  const articles = [];
  lastShown = articles;
  let loading = false;
  let total = 1;

  const load = async () => {
    if (loading || articles.length >= total) return;
    loading = true;
    grid.setAttribute("aria-busy", "true");
    const ghosts = Array.from({ length: articles.length ? 3 : 9 }, () => h("div", { class: "ghost", "aria-hidden": "true" }, h("div"), h("p")));
    grid.append(...ghosts);
    more.replaceChildren();
    try {
      const answer = await call("GET", path + (path.includes("?") ? "&" : "?") + "limit=" + PAGE + "&offset=" + articles.length);
      add(answer);
    } catch (error) {
      more.replaceChildren(h("button", { class: "quiet", type: "button", onclick: load }, "Could not load. Try again"));
    }
    ghosts.forEach((ghost) => ghost.remove());
    grid.setAttribute("aria-busy", "false");
    loading = false;
  };

  // A post that came meanwhile shifts the pages: what is there already is not shown twice.
  const add = (answer) => {
    const known = new Set(articles.map((article) => article.slug));
    const fresh = answer.articles.filter((article) => !known.has(article.slug));
    total = answer.articles.length ? answer.articlesCount : articles.length;
    for (const article of fresh) {
      articles.push(article);
      const node = card(article, articles.length <= 4);
      node.setAttribute("aria-posinset", String(articles.length));
      node.setAttribute("aria-setsize", String(total));
      grid.append(node);
    }
    if (!articles.length) whole.replaceChildren(nothing());
    else if (articles.length < total) more.replaceChildren(h("button", { class: "quiet", type: "button", onclick: load }, "Show more (" + articles.length + " of " + total + ")"));
  };

  const observer = new IntersectionObserver((seen) => {
    if (!whole.isConnected) return observer.disconnect();
    if (seen.some((entry) => entry.isIntersecting) && articles.length) load();
  }, { rootMargin: AHEAD });
  // Observed anew after each page: one page may not fill a large screen.
  const watch = async () => {
    await load();
    observer.observe(more);
  };
  new MutationObserver(() => { observer.unobserve(more); observer.observe(more); }).observe(more, { childList: true });
  watch();
  return whole;
}
