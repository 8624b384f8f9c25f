"use strict";

const { saes: SAES, kinds: KINDS, explanations: EXPLANATIONS, text: TEXT } = JSON.parse(
  document.getElementById("index").textContent,
);
const PAGE_ROWS = 100;
const SHOWN_TOKENS = 5; // in the list; the search knows more
const NARROW = matchMedia("(max-width: 63.99rem)"); // the list and the feature take turns
const byId = (id) => document.getElementById(id);
const [search, where, layerMenu, runMenu, kindMenu, orderMenu] =
  ["search", "where", "layer", "run", "kind", "order"].map(byId);

// Numbers with three digits, and tokens with their line ends and tabs made visible.
const short = (value) => String(Number(Number(value).toPrecision(3)));
const percent = (share) => (share >= 1e-4 || share === 0 ? `${short(100 * share)} %` : `${(100 * share).toExponential(1)} %`);
const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
const visible = (text) => text.replaceAll("\n", "↵").replaceAll("\t", "⇥").replaceAll("\r", "␍");
// What tells an SAE from the others of the page: its layer, its run, or both.
const differ = (key) => new Set(SAES.map((sae) => sae[key])).size > 1;
const nameOf = (sae) => [
  differ("layer") && (/^\d+$/.test(sae.layer) ? `layer ${sae.layer}` : sae.layer), differ("run") && sae.run,
].filter(Boolean).join(", ");

// Elements are made with their text as text, because tokens may hold markup.
const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
};

// A feature: its SAE, its place k in the SAE's columns (−1: dead), its number, and its place in the whole page.
const features = SAES.flatMap((sae) => [
  ...sae.number.map((number, k) => ({
    sae, k, number, dead: false, density: sae.fired[k] / sae.rows, training: sae.training_fired[k] / sae.training_rows,
    norm: sae.norm[k], largest: sae.largest[k], kl: sae.kl[k], kinds: sae.kinds[k].map((kind) => KINDS[kind]),
    fires_on: sae.fires_on[k], raises: sae.raises[k], peaks: sae.peaks[k], match: sae.match[k],
  })),
  ...sae.dead.map((number, i) => ({
    sae, k: -1, number, dead: true, density: 0, training: sae.training_fired_dead[i] / sae.training_rows,
    norm: 0, largest: 0, kl: null, kinds: [], fires_on: [], raises: [], peaks: [], match: null,
  })),
].sort((a, b) => a.number - b.number));
for (const [place, feature] of features.entries()) {
  feature.place = place;
  feature.contexts = feature.peaks.reduce((sum, [, count]) => sum + count, 0);
  feature.hash = `#${encodeURIComponent(`${feature.sae.run}/${feature.sae.hook}/${feature.number}`)}`;
}
const byHash = new Map(features.map((feature) => [feature.hash, feature]));
const hashOf = (run, hook, number) => `#${encodeURIComponent(`${run}/${hook}/${number}`)}`;
