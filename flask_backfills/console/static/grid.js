// What a cell stands for, on hover and focus, and arrow keys to go through a grid.
const STEPS = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };

// The cell that is told of.
let told;

function cellOf(element) {
  return element?.closest?.(".strip .cell");
}
function tell(cell) {
  told = cell;
  if (cell?.isConnected) {
    const caption = cell.closest(".strip").previousElementSibling;
    caption.querySelector(".told").textContent = cell.title;
  }
}
function cellsOf(line) {
  return [...line.querySelectorAll(".slot")].map((slot) => slot.querySelector(".cell"));
}
// The cell to which an arrow leads: beside it, or in the same column of another row.
function next(cell, [down, across]) {
  const strip = cell.closest(".strip");
  if (across) {
    const cells = [...strip.querySelectorAll(".cell")];
    return cells[cells.indexOf(cell) + across];
  }
  const lines = [...strip.querySelectorAll(".line:not(.heads)")];
  const line = cell.closest(".line");
  const column = cellsOf(line).indexOf(cell);
  for (let row = lines.indexOf(line) + down; lines[row]; row += down) {
    const found = cellsOf(lines[row])[column];
    if (found) {
      return found;
    }
  }
}
function end(cell, key) {
  const cells = cellsOf(cell.closest(".line")).filter(Boolean);
  return key === "Home" ? cells[0] : cells.at(-1);
}
document.addEventListener("mouseover", (event) => tell(cellOf(event.target) ?? told));
document.addEventListener("focusin", (event) => {
  const cell = cellOf(event.target);
  if (cell) {
    tell(cell);
    enter(cell.closest(".strip"), cell);
  }
});
document.addEventListener("keydown", (event) => {
  const cell = cellOf(event.target);
  if (!cell || event.altKey || event.ctrlKey || event.metaKey) {
    return;
  }
  if (event.key in STEPS) {
    next(cell, STEPS[event.key])?.focus();
    event.preventDefault();
  } else if (event.key === "Home" || event.key === "End") {
    end(cell, event.key).focus();
    event.preventDefault();
  }
});
// One cell of a grid is reached by the tab key; the others by the arrows.
function enter(strip, entered) {
  for (const cell of strip.querySelectorAll(".cell")) {
    cell.tabIndex = cell === entered ? 0 : -1;
  }
}
export function enterAll() {
  for (const strip of document.querySelectorAll(".strip")) {
    const entered = strip.querySelector('.cell[tabindex="0"]') ?? strip.querySelector(".cell");
    if (entered) {
      enter(strip, entered);
    }
  }
  // Its state may have changed; and who points at it may have come before this script.
  tell(told ?? cellOf(document.activeElement) ?? document.querySelector(".strip .cell:hover"));
}
enterAll();
