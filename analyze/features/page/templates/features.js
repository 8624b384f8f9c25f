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
const visible = (text) => text.replaceAll("\n", "↵").replaceAll("\t", "⇥").replaceAll("\r", "␍");
const nameOf = (sae) => `${/^\d+$/.test(sae.layer) ? `layer ${sae.layer}` : sae.layer}, ${sae.run}`;

// Elements are made with their text as text, because tokens may hold markup.
const make = (tag, attributes = {}, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
};

// A feature: its SAE, its place k in the SAE's columns (−1: dead), and its number.
const features = SAES.flatMap((sae) => [
  ...sae.number.map((number, k) => ({
    sae, k, number, dead: false, density: sae.fired[k] / sae.rows, training: sae.training_fired[k] / sae.training_rows,
    norm: sae.norm[k], largest: sae.largest[k], kl: sae.kl[k], kinds: sae.kinds[k].map((kind) => KINDS[kind]),
    fires_on: sae.fires_on[k], raises: sae.raises[k],
  })),
  ...sae.dead.map((number, i) => ({
    sae, k: -1, number, dead: true, density: 0, training: sae.training_fired_dead[i] / sae.training_rows,
    norm: 0, largest: 0, kl: null, kinds: [], fires_on: [], raises: [],
  })),
]);
for (const feature of features) {
  feature.hash = `#${encodeURIComponent(`${feature.sae.run}/${feature.sae.hook}/${feature.number}`)}`;
}
const byHash = new Map(features.map((feature) => [feature.hash, feature]));
const hashOf = (run, hook, number) => `#${encodeURIComponent(`${run}/${hook}/${number}`)}`;

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
};
const turn = (by) => {
  firstRow = Math.max(0, firstRow + by);
  showRows();
};

// Details are in scripts, because a page that was opened from a disk may not read other files.
const bundles = new Map();
const waiting = new Map();
window.featureBundle = (number, list) => waiting.get(number)(list);
const bundle = (number) => {
  if (!bundles.has(number)) {
    bundles.set(number, new Promise((resolve, reject) => {
      waiting.set(number, resolve);
      const script = make("script", { src: `features/${number}.js` });
      script.addEventListener("error", () => reject(new Error(`features/${number}.js is missing; keep the folder "features" beside this page`)));
      document.head.append(script);
    }));
  }
  return bundles.get(number);
};
const detailsOf = async (feature) => {
  const number = feature.sae.bundle[feature.k];
  const before = SAES.slice(0, SAES.indexOf(feature.sae)).reduce((sum, sae) => sum + sae.bundle.filter((b) => b === number).length, 0);
  return (await bundle(number))[before + feature.k - feature.sae.bundle.indexOf(number)];
};

const link = (run, hook, number, text) => {
  const hash = hashOf(run, hook, number);
  return byHash.has(hash) && !byHash.get(hash).dead ? make("a", { href: hash }, text) : text;
};
const fact = (name, ...value) => make("div", {}, make("dt", {}, name), make("dd", {}, ...value));
const logitTable = (title, logits) => make("div", {}, make("h3", {}, title),
  make("table", {}, make("tbody", {}, logits.map(([token, value]) =>
    make("tr", {}, make("td", {}, make("code", {}, visible(token))), make("td", { class: "number" }, value.toFixed(2)))))));

const linkTable = (title, name, rows, hook) => make("div", {}, make("h3", {}, title, " (cosine)"),
  make("table", { class: name }, make("tbody", {}, rows.map(([run, number, text, cosine]) =>
    make("tr", {}, make("td", {}, link(run, hook, number, text)), make("td", { class: "number" }, cosine.toFixed(2)))))));

const histogram = ({ counts, largest }) => {
  const most = Math.max(...counts, 1);
  const edge = (i) => short((largest * i) / counts.length);
  return make("div", { class: "histogram" },
    make("div", { class: "counts" }, make("span", {}, most.toLocaleString("en")), make("span", {}, "0")),
    make("div", { class: "bars", role: "img", "aria-label": `histogram of activations from 0 to ${short(largest)}` },
      counts.map((count, i) => make("i", {
        style: `--height: ${(100 * count) / most}%; --least: ${count ? 1 : 0}px`,
        "data-tip": `${edge(i)} to ${edge(i + 1)}: ${count.toLocaleString("en")} positions`,
      }))),
    make("div", { class: "edges" }, make("span", {}, "0"), make("span", {}, short(largest / 2)), make("span", {}, short(largest))));
};

const exampleRow = (example, largest) => {
  const active = new Map(example.active);
  const shown = example.tokens.map((token, i) => {
    const c = active.get(i);
    return make("span", {
      class: i === example.firing ? "firing" : null, style: c ? `--a: ${(c / largest).toFixed(2)}` : null,
      "data-tip": `${visible(token) || "part of the next character"}: ${c ? short(c) : "not active"} (context ${example.context}, position ${example.position - example.firing + i})`,
    }, visible(token) || "·");
  });
  return make("tr", {}, make("td", {}, shown.slice(0, example.firing)), make("td", {}, shown.slice(example.firing)));
};
const exampleTable = (examples, largest) => make("div", { class: "examples scroll", tabindex: "0" },
  make("table", {}, make("tbody", {}, examples.map((example) => exampleRow(example, largest)))));
const centre = () => {
  for (const frame of document.querySelectorAll(".examples")) {
    const meeting = frame.querySelector("td:last-child");
    frame.scrollLeft = meeting.offsetLeft - 0.45 * frame.clientWidth;
  }
};

let current = null;
const show = async () => {
  current = byHash.get(location.hash) ?? null;
  document.body.classList.toggle("open", current !== null);
  if (current === null) {
    byId("detail").replaceChildren(make("p", { class: "message" }, "Choose a feature in the list."));
    return;
  }
  const feature = current;
  for (const row of byId("rows").rows) {
    const chosen = row.querySelector("a").getAttribute("href") === feature.hash;
    if (chosen) row.setAttribute("aria-current", "true");
    else row.removeAttribute("aria-current");
  }
  try {
    const all = await detailsOf(feature);
    if (current === feature) byId("detail").replaceChildren(...detailNodes(feature, all));
  } catch (error) {
    byId("detail").replaceChildren(make("p", { class: "message" }, error.message));
  }
  centre();
  if (NARROW.matches) scrollTo(0, 0);
};

const detailNodes = (feature, all) => {
  const { sae } = feature;
  const step = (by, text) => {
    const button = make("button", { type: "button" }, text);
    button.addEventListener("click", () => move(by));
    return button;
  };
  const back = make("button", { type: "button", class: "back" }, "↑ all features");
  back.addEventListener("click", () => (location.hash = ""));
  return [
    make("p", { class: "pager" }, back, step(-1, "← previous"), step(1, "next →")),
    make("h2", {}, `Feature ${feature.number} `, feature.kinds.map((kind) => make("span", { class: "kind" }, kind))),
    make("p", { class: "note" }, `${sae.hook}, ${sae.run}, trained on ${sae.how_far}. ${feature.kinds.map((kind) => EXPLANATIONS[kind]).join(" ")}`),
    make("dl", { class: "facts" },
      fact("density, held-out", percent(feature.density), make("span", { class: "note" }, `${all.fired.toLocaleString("en")} of ${all.rows.toLocaleString("en")} rows`)),
      fact("density, training", percent(feature.training), make("span", { class: "note" }, `of ${sae.training_rows.toLocaleString("en")} rows`)),
      fact("decoder norm", short(all.norm)),
      fact("largest activation", short(all.largest)),
      all.ablation && fact("effect when removed", `${short(all.ablation[0])} nats`, make("span", { class: "note" }, `mean KL over ${all.ablation[1]} positions where it is active`))),
    make("div", { class: "columns" },
      make("div", {}, make("h3", {}, "Activations above 0"), histogram(all)),
      make("div", {}, make("h3", {}, "Fires on"), make("table", {}, make("tbody", {}, all.fires_on.map(([token, count, share]) =>
        make("tr", {}, make("td", {}, make("code", {}, visible(token))), make("td", { class: "number" }, `${count.toLocaleString("en")} times`),
          make("td", { class: "number", "data-tip": "share of the sum of its activations" }, percent(share)))))))),
    make("h3", {}, "Strongest contexts"), all.strongest.length ? exampleTable(all.strongest, all.largest) : make("p", { class: "note" }, "none"),
    ...all.quantiles.flatMap(({ low, high, count, examples }) => [
      make("h3", {}, `Activations of ${short(low)} to ${short(high)}: ${count.toLocaleString("en")} positions (${percent(count / all.fired)})`),
      examples.length ? exampleTable(examples, all.largest) : make("p", { class: "note" }, "none"),
    ]),
    make("div", { class: "columns" },
      all.raises && logitTable("Raises the logits of", all.raises),
      all.lowers && logitTable("Lowers the logits of", all.lowers),
      linkTable("Nearest features", "neighbours", all.neighbours.map(([number, cosine]) => [sae.run, number, String(number), cosine]), sae.hook),
      all.seeds.length ? linkTable("Same feature with another seed", "seeds",
        all.seeds.map(([run, number, cosine]) => [run, number, `${run}, feature ${number}`, cosine]), sae.hook) : null),
  ].filter(Boolean);
};

// The next live feature of the list, and the page of the list that it is on.
const move = (by) => {
  let place = current === null ? (by > 0 ? -1 : listed.length) : listed.indexOf(current);
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
const tokenFeatures = (i) => TEXT.saes.map(({ run, hook, features }) => make("p", {},
  make("span", { class: "note" }, `${hook}, ${run}: `),
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
  byId("text").append(make("p", { class: "note" }, "Choose a token of the text: which features fire on it (activation)?"),
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
byId("earlier").addEventListener("click", () => turn(-PAGE_ROWS));
byId("later").addEventListener("click", () => turn(PAGE_ROWS));
addEventListener("hashchange", show);
update();
show();
