// Times in the zone of the reader instead of UTC, if the reader wants that; and "3 minutes ago"
// that goes on while the page is open.
const button = document.getElementById("local-times");
const zone = document.getElementById("zone");
const words = JSON.parse(document.getElementById("foot")?.dataset.ago ?? "null");
const KEY = "flask-backfills-local-times";
const HERE = Intl.DateTimeFormat().resolvedOptions().timeZone;

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
// In the words of the page, as the server says it.
function relative(moment) {
  const apart = (Date.now() - moment.getTime()) / 1000;
  for (const [seconds, one, several] of words.units) {
    const count = Math.floor(Math.abs(apart) / seconds);
    if (count) {
      const span = (count === 1 ? one : several).replace("{count}", count);
      return (apart > 0 ? words.past : words.future).replace("{span}", span);
    }
  }
  return words.now;
}
// A text that is selected stays so, unless it says something else by now.
function write(node, place, text) {
  if (node[place] !== text) {
    node[place] = text;
  }
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
    write(time, place, local ? shown(moment) : came.get(time));
    if (time.title && words) {
      write(time, "textContent", relative(moment));
    }
  }
}
if (button) {
  const inUTC = zone?.textContent;
  const tell = () => {
    button.textContent = local ? button.dataset.utc : button.dataset.local;
    if (zone) {
      zone.textContent = local ? zone.dataset.local.replace("{local}", HERE) : inUTC;
    }
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
setInterval(() => {
  if (!document.hidden) {
    showTimes();
  }
}, 1000);
