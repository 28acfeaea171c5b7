// Times in the zone of the reader instead of UTC, if the reader wants that; and "3 minutes ago"
// that goes on while the page is open.
const button = document.getElementById("local-times");
const KEY = "flask-backfills-local-times";

function stored() {
  try {
    return localStorage.getItem(KEY) === "true";
  } catch {
    return false;
  }
}
let local = stored();

function shown(moment) {
  const two = (number) => String(number).padStart(2, "0");
  const date = [moment.getFullYear(), two(moment.getMonth() + 1), two(moment.getDate())].join("-");
  return `${date} ${[moment.getHours(), moment.getMinutes(), moment.getSeconds()].map(two).join(":")}`;
}
// Moments of the page as it came, before any was changed.
const came = new WeakMap();

export function showTimes(within = document) {
  for (const time of within.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    if (Number.isNaN(moment.getTime())) {
      continue;
    }
    const place = time.title ? "title" : "textContent";
    if (!came.has(time)) {
      came.set(time, time[place]);
    }
    time[place] = local ? shown(moment) : came.get(time);
  }
}
if (button) {
  const tell = () => {
    button.textContent = local ? button.dataset.utc : button.dataset.local;
    showTimes();
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    local = !local;
    try {
      localStorage.setItem(KEY, String(local));
    } catch {
      // Then for this page alone.
    }
    tell();
  });
  tell();
}
