"use strict";

// The list of features: the query, the menus, the order, and pages of rows.

// How well a term of the query fits a feature: 0 if not at all. A term in quotes is a whole token.
const termsOf = (query) =>
  [...query.matchAll(/"([^"]+)"|(\S+)/g)].map(([, exact, word]) => ({ exact, word: (exact ?? word).toLowerCase() }));
const tokenFit = (token, { exact, word }) => {
  if (exact !== undefined) return token === exact ? 3 : 0;
  const text = token.toLowerCase();
  return text.trim() === word ? 2 : text.includes(word) || visible(text).includes(word) ? 1 : 0;
};
const fit = (feature, term, scope) => {
  let best = 0;
  if (scope !== "raises") {
    for (const [token, share] of feature.fires_on) best = Math.max(best, tokenFit(token, term) && tokenFit(token, term) + share);
  }
  if (scope !== "fires_on") {
    for (const token of feature.raises) best = Math.max(best, tokenFit(token, term) / 2);
  }
  if (scope === "all" && term.exact === undefined) {
    if (String(feature.number) === term.word) best = Math.max(best, 9);
    if (feature.kinds.includes(term.word) || (feature.dead && term.word === "dead")) best = Math.max(best, 4);
  }
  return best;
};

const ORDERS = {
  best: ["best match", (a, b) => b.score - a.score || b.density - a.density],
  number: ["number", (a, b) => a.number - b.number],
  density: ["density, falling", (a, b) => b.density - a.density],
  rare: ["density, rising", (a, b) => a.density - b.density],
  norm: ["decoder norm, falling", (a, b) => b.norm - a.norm],
  largest: ["largest activation, falling", (a, b) => b.largest - a.largest],
  kl: ["effect when removed, falling", (a, b) => (b.kl ?? -1) - (a.kl ?? -1)],
};
const fill = (menu, options) => menu.append(...options.map(([value, text]) => make("option", { value }, text)));
const all = (values) => [["", "all"], ...[...new Set(values)].map((value) => [value, value])];
fill(layerMenu, all(SAES.map((sae) => sae.layer)));
fill(runMenu, all(SAES.map((sae) => sae.run)));
fill(kindMenu, [["live", "live"], ...KINDS.map((kind) => [kind, kind]), ["dead", "dead"], ["", "all"]]);
const hasEffects = SAES.some((sae) => sae.kl.some((kl) => kl !== null));
fill(orderMenu, Object.entries(ORDERS).filter(([name]) => name !== "kl" || hasEffects).map(([name, [text]]) => [name, text]));

let listed = [];
let firstRow = 0;
const update = () => {
  const terms = termsOf(search.value);
  const [layer, run, kind] = [layerMenu, runMenu, kindMenu].map((menu) => menu.value);
  listed = features.filter((feature) => {
    if ((layer && feature.sae.layer !== layer) || (run && feature.sae.run !== run)) return false;
    if (kind === "live" || kind === "dead" ? feature.dead !== (kind === "dead") : kind && !feature.kinds.includes(kind)) {
      if (!(kind === "live" && terms.some((term) => term.word === "dead"))) return false;
    }
    const fits = terms.map((term) => fit(feature, term, where.value));
    feature.score = fits.reduce((sum, value) => sum + value, 0);
    return fits.every((value) => value > 0);
  });
  const order = orderMenu.value === "best" && !terms.length ? "number" : orderMenu.value;
  if (order !== "number" || new Set(listed.map((feature) => feature.sae)).size === 1) listed.sort(ORDERS[order][1]);
  firstRow = 0;
  showRows();
};

const cells = (feature) => [
  make("td", {}, make("a", { href: feature.dead ? null : feature.hash }, String(feature.number)),
    SAES.length > 1 ? make("div", { class: "note" }, nameOf(feature.sae)) : null,
    feature.kinds.map((kind) => [" ", make("span", { class: "kind", "data-tip": EXPLANATIONS[kind] }, kind)]).flat()),
  make("td", {}, feature.dead ? "dead" : feature.fires_on.slice(0, SHOWN_TOKENS).map(([token]) => [make("code", {}, visible(token)), " "]).flat()),
  make("td", { class: "number" }, percent(feature.dead ? 0 : feature.density)),
  make("td", { class: "number" }, feature.dead ? "" : short(feature.norm)),
  make("td", { class: "number" }, feature.dead ? "" : short(feature.largest)),
];
const showRows = () => {
  const shown = listed.slice(firstRow, firstRow + PAGE_ROWS);
  byId("rows").replaceChildren(...shown.map((feature) => {
    const row = make("tr", { class: feature.dead ? "dead" : null, "aria-current": feature === current ? "true" : null }, cells(feature));
    if (!feature.dead) row.addEventListener("click", () => (location.hash = feature.hash));
    return row;
  }));
  byId("count").textContent = `${listed.length.toLocaleString("en")} of ${features.length.toLocaleString("en")} features`;
  byId("page").textContent = listed.length ? `${firstRow + 1} to ${firstRow + shown.length}` : "";
  byId("earlier").disabled = firstRow === 0;
  byId("later").disabled = firstRow + PAGE_ROWS >= listed.length;
  byId("rows").closest(".scroll").scrollTop = 0;
  const onlyDead = kindMenu.value === "dead" && !search.value.trim() && !layerMenu.value && !runMenu.value;
  byId("empty").hidden = listed.length > 0;
  byId("empty").firstElementChild.textContent = onlyDead
    ? "No feature is dead in the measured contexts." : "No feature fits the search and the menus.";
};
const clear = () => {
  search.value = "";
  for (const menu of [where, layerMenu, runMenu, kindMenu]) menu.selectedIndex = 0;
  update();
  search.focus();
};
const turn = (by) => {
  firstRow = Math.max(0, firstRow + by);
  showRows();
};
