// The list of backfills: filters that submit by themselves, and rows that are chosen.
const filter = document.getElementById("filter");
const FOCUS = "flask-backfills-filter";
let timer;

function remember(id) {
  try {
    sessionStorage.setItem(FOCUS, id);
  } catch {
    // Then the focus is at the top of the new page.
  }
}
function recall() {
  try {
    const id = sessionStorage.getItem(FOCUS);
    sessionStorage.removeItem(FOCUS);
    return id ?? "";
  } catch {
    return "";
  }
}
if (filter) {
  filter.querySelector("button").hidden = true;
  // The URL has what is asked for, and no empty words.
  filter.addEventListener("formdata", (event) => {
    for (const [name, value] of [...event.formData]) {
      if (!value) {
        event.formData.delete(name);
      }
    }
  });
  filter.addEventListener("change", (event) => {
    // Arrow keys go over several choices: who uses them stays where they are, and has a moment.
    clearTimeout(timer);
    timer = setTimeout(() => {
      remember(event.target.id);
      filter.requestSubmit();
    }, 500);
  });
  filter.addEventListener("submit", () => {
    clearTimeout(timer);
    if (filter.contains(document.activeElement)) {
      remember(document.activeElement.id);
    }
  });
  const field = document.getElementById(recall());
  if (field && filter.contains(field)) {
    field.focus({ preventScroll: true });
    field.setSelectionRange?.(field.value.length, field.value.length);
  }
}

const all = document.getElementById("choose-all");
if (all) {
  const bar = document.getElementById("bulk");
  const count = document.getElementById("chosen-count");
  const boxes = [...document.querySelectorAll("input[name=chosen]")];
  const tell = () => {
    const chosen = boxes.filter((box) => box.checked).length;
    all.checked = chosen === boxes.length;
    all.indeterminate = chosen > 0 && chosen < boxes.length;
    bar.hidden = chosen === 0;
    const { one, several } = count.dataset;
    count.textContent = chosen === 1 ? one : several.replace("{count}", chosen);
  };
  all.hidden = false;
  all.addEventListener("change", () => {
    for (const box of boxes) {
      box.checked = all.checked;
    }
    tell();
  });
  for (const box of boxes) {
    box.addEventListener("change", tell);
  }
  // A page that one comes back to may have its boxes as they were.
  window.addEventListener("pageshow", tell);
  tell();
}

// A known window fills the form of a new backfill, and leaves the rest as it is.
for (const link of document.querySelectorAll("a[data-start]")) {
  link.addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) {
      return;
    }
    event.preventDefault();
    const { start, end, startId, endId } = link.dataset;
    document.getElementById(startId).value = start;
    document.getElementById(endId).value = end;
    document.getElementById(endId).focus();
  });
}
