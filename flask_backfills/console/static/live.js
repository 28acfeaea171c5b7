import { enterAll } from "./grid.js";

// Progress, while the page is seen and the backfill is active.
const live = document.getElementById("live");
const EVERY = 1500;
let timer;

function isActive() {
  return live.querySelector("[data-active]")?.dataset.active === "true";
}
function show(html) {
  if (html === live.innerHTML) {
    return;
  }
  const focused = live.contains(document.activeElement) ? document.activeElement : null;
  const cells = [...live.querySelectorAll(".cell")];
  const place = cells.indexOf(focused);
  const told = live.querySelector(".told")?.textContent;
  live.innerHTML = html;
  enterAll();
  const line = live.querySelector(".told");
  if (line) {
    line.textContent = told;
  }
  if (focused) {
    const again = place < 0 ? document.getElementById(focused.id) : live.querySelectorAll(".cell")[place];
    again?.focus({ preventScroll: true });
  }
}
async function update() {
  let again = true;
  try {
    const response = await fetch(live.dataset.url, { headers: { Accept: "text/html" } });
    if (response.ok && !response.redirected) {
      show(await response.text());
      again = isActive();
    } else {
      // Gone, or no longer ours to see; what is temporary says so itself.
      again = response.status === 503;
    }
  } catch {
    // The server is away; it may come back.
  }
  schedule(again);
}
function schedule(again) {
  clearTimeout(timer);
  if (again && !document.hidden) {
    timer = setTimeout(update, EVERY);
  }
}
if (live) {
  schedule(isActive());
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (!document.hidden && isActive()) {
      update();
    }
  });
}
