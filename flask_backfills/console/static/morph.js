// Makes what is on the page like what came, and touches nothing that is the same: what is
// selected stays selected, and what has the focus keeps it.

// What the scripts or the reader have set since.
const OURS = { DETAILS: ["open"], A: ["tabindex"], BUTTON: ["tabindex"] };

// Whether one may become the other. A moment may not: another script has its text.
function isAlike(old, come) {
  if (old.nodeType !== come.nodeType || old.nodeName !== come.nodeName) {
    return false;
  }
  return old.nodeType !== Node.ELEMENT_NODE || (old.id === come.id && old.dateTime === come.dateTime);
}
function sameAttributes(old, come) {
  const ours = OURS[old.nodeName] ?? [];
  for (const { name } of [...old.attributes]) {
    if (!come.hasAttribute(name) && !ours.includes(name)) {
      old.removeAttribute(name);
    }
  }
  for (const { name, value } of come.attributes) {
    if (old.getAttribute(name) !== value && !ours.includes(name)) {
      old.setAttribute(name, value);
    }
  }
}
function become(old, come) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== come.data) {
      old.data = come.data;
    }
  } else if (old.hasAttribute("data-ours")) {
    // A script fills it.
    return;
  } else if (old.nodeName === "TIME") {
    // Of the same moment: only "3 minutes ago" goes on.
    if (old.title && old.textContent !== come.textContent) {
      old.textContent = come.textContent;
    }
  } else {
    sameAttributes(old, come);
    morph(old, come);
  }
}
// Whether what stays is passed by what has moved up, such as by a row of a sorted table.
function passes(like, old, staying) {
  for (let one = old; one !== like; one = one.nextSibling) {
    if (staying.has(one.id)) {
      return true;
    }
  }
  return false;
}
export function morph(element, come) {
  let old = element.firstChild;
  const all = [...come.childNodes];
  const staying = new Set(all.map(({ id }) => id).filter(Boolean));
  for (const one of all) {
    let like = old;
    while (like && !isAlike(like, one)) {
      like = like.nextSibling;
    }
    if (!like) {
      element.insertBefore(one, old);
      continue;
    }
    if (passes(like, old, staying)) {
      element.insertBefore(like, old);
      become(like, one);
      continue;
    }
    while (old !== like) {
      const gone = old;
      old = old.nextSibling;
      gone.remove();
    }
    become(old, one);
    old = old.nextSibling;
  }
  while (old) {
    const gone = old;
    old = old.nextSibling;
    gone.remove();
  }
}
