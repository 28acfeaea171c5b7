// The pages work without this: it moves the progress, and tells of a cell what its title tells.

// What a cell stands for, on hover and focus, and arrow keys to go along a strip.
function cellOf(event) {
  return event.target.closest?.(".strip .cell");
}
function tell(event) {
  const cell = cellOf(event);
  if (cell) {
    cell.closest(".strip").nextElementSibling.textContent = cell.title;
  }
}
document.addEventListener("mouseover", tell);
document.addEventListener("focusin", (event) => {
  const cell = cellOf(event);
  if (cell) {
    tell(event);
    enter(cell.closest(".strip"), cell);
  }
});
document.addEventListener("keydown", (event) => {
  const cell = cellOf(event);
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (cell && step) {
    const cells = [...cell.closest(".strip").querySelectorAll(".cell")];
    cells[cells.indexOf(cell) + step]?.focus();
    event.preventDefault();
  }
});
// One cell of a strip is reached by the tab key; the others by the arrows.
function enter(strip, entered) {
  for (const cell of strip.querySelectorAll(".cell")) {
    cell.tabIndex = cell === entered ? 0 : -1;
  }
}
function enterAll() {
  for (const strip of document.querySelectorAll(".strip")) {
    enter(strip, strip.querySelector(".cell"));
  }
}
enterAll();

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
