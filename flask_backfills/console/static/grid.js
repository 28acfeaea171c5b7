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
export function enterAll() {
  for (const strip of document.querySelectorAll(".strip")) {
    enter(strip, strip.querySelector(".cell"));
  }
}
enterAll();
