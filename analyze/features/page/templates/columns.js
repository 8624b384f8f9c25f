"use strict";

// Orders of the list: the text of the menu, and the value that features are compared by; those without one come last.
const share = (feature) => (feature.contexts ? feature.on / feature.contexts : 0);
const ORDERS = {
  number: ["number", (feature) => feature.place],
  token: ["token", (feature) => feature.fires_on[0]?.[0].trim().toLowerCase() ?? null],
  density: ["density", (feature) => feature.density],
  norm: ["decoder norm", (feature) => (feature.dead ? null : feature.norm)],
  largest: ["largest activation", (feature) => (feature.dead ? null : feature.largest)],
  cosine: ["cosine with another seed", (feature) => feature.match?.[2] ?? null],
  share: ["contexts on the token", share],
  kl: ["effect when removed", (feature) => feature.kl],
};
const collator = new Intl.Collator("en", { numeric: true });
const inOrder = (name, direction) => (a, b) => {
  const [x, y] = [a, b].map(ORDERS[name][1]);
  if (x === null || y === null) return (x === null) - (y === null);
  return (direction === "descending" ? -1 : 1) * (typeof x === "string" ? collator.compare(x, y) : x - y);
};

// Columns by the name of their order: the head, and the content of a cell. Where the list is narrow, an
// `extra` one is left out unless the rows are in its order: on a phone always, else beside the column of a search.
const hasMatches = SAES.some((sae) => sae.match.some((match) => match !== null));
const COLUMNS = {
  number: { head: "feature", cell: (feature) => [
    make("a", { href: feature.dead ? null : feature.hash }, String(feature.number)),
    SAES.length > 1 ? make("div", { class: "note" }, nameOf(feature.sae)) : null,
    feature.kinds.map((kind) => [" ", make("span", { class: "kind", "data-tip": EXPLANATIONS[kind] }, kind)]).flat(),
  ].flat() },
  token: { head: "fires on", cell: (feature) => (feature.dead ? ["dead"]
    : feature.fires_on.slice(0, SHOWN_TOKENS).flatMap(([token]) => [make("code", {}, visible(token)), " "])) },
  share: { head: "on token", numeric: true,
    tip: "how many of the strongest contexts have their largest activation on the searched token",
    cell: (feature) => [feature.contexts ? `${feature.on} of ${feature.contexts}` : ""] },
  density: { head: "density", numeric: true, cell: (feature) => [percent(feature.density)] },
  cosine: { head: "other seed", numeric: true, seed: true,
    tip: "cosine with the best match in a run with another seed, and its number",
    cell: ({ sae, match }) => (match === null ? []
      : [match[2].toFixed(2), make("div", { class: "note" }, link(match[0], sae.hook, match[1], String(match[1])))]) },
  norm: { head: "norm", numeric: true, extra: true, tip: "decoder norm, in the SAE's own scale", cell: (feature) => [feature.dead ? "" : short(feature.norm)] },
  largest: { head: "largest", numeric: true, extra: true, cell: (feature) => [feature.dead ? "" : short(feature.largest)] },
};
