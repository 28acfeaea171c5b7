import { enterAll } from "./grid.js";
import { morph } from "./morph.js";
import { showTimes } from "./times.js";

// What moves on the page of a backfill, of its runs or of one run, while the page is seen and the
// backfill is active.
const live = document.getElementById("live");
const fresh = document.getElementById("fresh");
const ended = document.getElementById("ended");

// Milliseconds: the longest pause while the server is away, and after which an answer is lost.
const LONGEST = 30_000;
const LOST = 20_000;

// Answers of a server that may be better soon, beside those from 500 on.
const SOON = [408, 425, 429];

let timer;
let failures = 0;
let stopped = false;
let last = Date.now();

function state() {
  return live.querySelector("[data-active]")?.dataset ?? {};
}
function isActive() {
  return state().active === "true";
}
function show(html) {
  const come = document.createElement("template");
  come.innerHTML = html;
  const wasActive = isActive();
  const wasStatus = state().status;
  const focused = live.contains(document.activeElement) && document.activeElement;
  morph(live, come.content);
  enterAll();
  showTimes(live);
  if (focused && document.activeElement !== focused) {
    // It was moved; or it is an action that is no longer possible, and the next one is near.
    const near = focused.isConnected ? focused : document.getElementById(focused.id);
    (near ?? live).focus({ preventScroll: true });
  }
  document.title = state().title ?? document.title;
  const hasEnded = wasActive && !isActive();
  if (hasEnded) {
    ended.textContent = state().told;
  }
  if (hasEnded || wasStatus !== state().status) {
    // That it was started is old news, and "wait again" is wrong by now.
    document.querySelector("main > .done")?.remove();
  }
}
function tell(text, isAway = false) {
  fresh.hidden = !text;
  fresh.classList.toggle("is-away", isAway);
  if (fresh.textContent !== text) {
    fresh.textContent = text;
  }
}
function tellAge() {
  if (!failures && isActive() && timer) {
    const count = Math.round((Date.now() - last) / 1000);
    tell(fresh.dataset.updated.replace("{count}", count));
  }
}
function stop(status) {
  clearTimeout(timer);
  timer = undefined;
  stopped = true;
  tell(fresh.getAttribute(`data-${status}`) ?? fresh.dataset.refused, true);
}
async function update() {
  let response;
  try {
    response = await fetch(live.dataset.url, {
      headers: { Accept: "text/html" },
      signal: AbortSignal.timeout(LOST),
    });
    if (response.redirected) {
      // To a page where one logs in.
      return stop(401);
    }
    if (response.ok) {
      show(await response.text());
      failures = 0;
      last = Date.now();
      return schedule();
    }
  } catch {
    // The server is away; it may come back.
    response = undefined;
  }
  if (response && response.status < 500 && !SOON.includes(response.status)) {
    return stop(response.status);
  }
  failures += 1;
  tell(fresh.dataset.away, true);
  schedule();
}
function schedule() {
  clearTimeout(timer);
  timer = undefined;
  if (!isActive()) {
    return tell("");
  }
  if (!document.hidden) {
    timer = setTimeout(update, Math.min(state().every * 2 ** failures, LONGEST));
    tellAge();
  }
}
if (live && fresh) {
  schedule();
  setInterval(tellAge, 1000);
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    timer = undefined;
    if (!document.hidden && isActive() && !stopped) {
      update();
    }
  });
}
