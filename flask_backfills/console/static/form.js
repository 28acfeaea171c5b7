// Forms: what follows while one writes.

// A text area grows with its text, where the browser does not see to it.
const MOST = 12;
const LEAST = 2;

function grow(area) {
  area.rows = Math.min(Math.max(area.value.split("\n").length, LEAST), MOST);
}
if (!CSS.supports("field-sizing", "content")) {
  document.addEventListener("input", (event) => {
    if (event.target.matches(".field textarea")) {
      grow(event.target);
    }
  });
}
// What was shown of an edit is not what would be saved any more: it has to be looked at again.
const form = document.querySelector("form.edit");
const save = form?.querySelector("button[value=save]");
if (save) {
  form.addEventListener("input", () => {
    save.remove();
    form.querySelector("button[value=preview]").classList.add("primary");
    document.getElementById("plan-old").hidden = false;
  });
}
