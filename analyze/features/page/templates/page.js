"use strict";

// The next live feature of the list, and the page of the list that it is on.
// It starts from the address, which changes at once: `current` is set by an event, later than quick keys.
const move = (by) => {
  const from = byHash.get(location.hash);
  let place = from ? listed.indexOf(from) : by > 0 ? -1 : listed.length;
  do place += by; while (listed[place]?.dead);
  if (!listed[place]) return;
  if (place < firstRow || place >= firstRow + PAGE_ROWS) {
    firstRow = Math.floor(place / PAGE_ROWS) * PAGE_ROWS;
    showRows();
  }
  location.hash = listed[place].hash;
};
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = /^(INPUT|SELECT)$/.test(event.target.tagName);
  if (event.key === "Escape" && typing) event.target.blur();
  if (typing) return;
  if (event.key === "/") {
    event.preventDefault();
    if (NARROW.matches) location.hash = "";
    document.body.classList.remove("open");
    search.focus();
  } else if (event.key === "j" || event.key === "k") {
    move(event.key === "j" ? 1 : -1);
  }
});

// The text of --text: the features that fire on the chosen token, in each SAE.
const tokenFeatures = (i) => TEXT.saes.map(({ run, hook, features, active }) => make("p", {},
  make("span", { class: "note" }, `${hook}, ${run}: ${features[i].length < active[i] ? `${features[i].length} strongest of ${active[i]}: ` : ""}`),
  features[i].length ? features[i].flatMap(([number, value]) => [link(run, hook, number, String(number)), ` (${short(value)}) `]) : "none"));
if (TEXT) {
  const chosen = make("div", { "aria-live": "polite" });
  const buttons = TEXT.tokens.map((token, i) => {
    const button = make("button", { type: "button", "aria-pressed": "false" }, visible(token));
    button.addEventListener("click", () => {
      for (const each of buttons) each.setAttribute("aria-pressed", String(each === button));
      chosen.replaceChildren(...tokenFeatures(i));
    });
    return button;
  });
  byId("text").append(make("p", { class: "note" }, "Choose a token of the text: the features that fire on it most strongly, per SAE (activation)."),
    make("p", { class: "tokens" }, buttons), chosen);
  byId("text").hidden = false;
  buttons[0].click();
}

// A tip beside the pointer, which on a phone is where the finger was.
const tip = byId("tip");
const showTip = (event) => {
  const target = event.target.closest?.("[data-tip]");
  tip.hidden = !target;
  if (!target) return;
  tip.textContent = target.dataset.tip;
  tip.style.left = `${Math.max(4, Math.min(event.clientX + 8, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${Math.max(4, event.clientY - tip.offsetHeight - 8)}px`;
};
addEventListener("pointermove", showTip);
addEventListener("pointerdown", showTip);

for (const control of [where, layerMenu, runMenu, kindMenu, orderMenu]) control.addEventListener("change", update);
search.addEventListener("input", update);
byId("clear").addEventListener("click", clear);
byId("earlier").addEventListener("click", () => turn(-PAGE_ROWS));
byId("later").addEventListener("click", () => turn(PAGE_ROWS));
addEventListener("hashchange", show);
update();
show();
