// Pictures in the size that a screen wants: of the edge if it makes them, else of the app's own.

import { h, hue } from "./dom.js";

const OF_EDGE = [320, 480, 640, 960, 1280, 1920];
const ANSWER_WITHIN_MS = 800;

let byEdge = false;

// An edge with pictures switched on answers `?fmt=webp` with WebP; without, the app's PNG comes as it is.
export async function askWhoMakesSizes() {
  try {
    const response = await fetch("/media/probe.png?fmt=webp", { signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
    byEdge = response.headers.get("Content-Type") === "image/webp";
  } catch { byEdge = false; }
}

function sizes(source, wanted) {
  const photo = source.match(/^(\/media\/[0-9a-f]{64}\/)full\.webp$/);
  const isRaster = photo || /^\/media\/[^?]+\.(jpe?g|png|webp)$/.test(source);
  if (byEdge && isRaster) return { srcset: OF_EDGE.map((w) => source + "?w=" + w + " " + w + "w").join(", "), sizes: wanted };
  if (photo) return { srcset: photo[1] + "320.webp 320w, " + photo[1] + "1080.webp 1080w, " + source + " 2560w", sizes: wanted };
  return {};
}

export const GRID = "(max-width: 620px) 100vw, (max-width: 1000px) 50vw, 400px";
export const STAGE = "(max-width: 900px) 100vw, 65vw";

// Without a photo: the title on a colour of its own.
export function picture(article, wanted, first) {
  if (!article.photo) {
    const words = h("div", { class: "words" }, h("span", {}, article.title));
    words.style.setProperty("--hue", String(hue(article.title)));
    return words;
  }
  const image = h("img", { ...sizes(article.photo, wanted), src: article.photo, alt: article.title, loading: first ? "eager" : "lazy", decoding: "async" });
  const arrived = () => image.classList.add("there");
  image.addEventListener("load", arrived);
  image.addEventListener("error", arrived);
  if (image.complete) arrived();
  return image;
}

export function face(user, size) {
  const own = user.image && user.image.startsWith("/media/");
  const thumb = own && user.image.replace(/\/full\.webp$/, "/150.webp");
  const node = h("span", { class: "face " + (size || ""), "aria-hidden": "true" }, own ? h("img", { src: thumb, alt: "", loading: "lazy" }) : user.username.slice(0, 1));
  node.style.setProperty("--hue", String(hue(user.username)));
  return node;
}
