"use strict";

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
  return byHash.has(hash) && !byHash.get(hash).dead ? make("a", { href: hash }, text)
    : make("span", { "data-tip": "not among the features of this page that have details" }, text);
};
const topToken = (run, hook, number) => {
  const [first] = byHash.get(hashOf(run, hook, number))?.fires_on ?? [];
  return first && make("code", {}, visible(first[0]));
};
const ownScale = (sae) => (sae.scaled ? make("span", { class: "note" }, "in the scale of its normalised inputs") : null);
const fact = (name, ...value) => make("div", {}, make("dt", {}, name), make("dd", {}, ...value));
const logitTable = (title, logits) => make("div", {}, make("h3", {}, title),
  make("table", {}, make("tbody", {}, logits.map(([token, value]) =>
    make("tr", {}, make("td", {}, make("code", {}, visible(token))), make("td", { class: "number" }, value.toFixed(2)))))));

const linkTable = (title, name, rows, hook, note = null) => make("div", {}, make("h3", {}, title, " (cosine)"),
  make("table", { class: name }, make("tbody", {}, rows.map(([run, number, text, cosine]) =>
    make("tr", {}, make("td", {}, link(run, hook, number, text), " ", topToken(run, hook, number)), make("td", { class: "number" }, cosine.toFixed(2)))))),
  note && make("p", { class: "note" }, note));

const histogram = ({ counts, largest }) => {
  const most = Math.max(...counts, 1);
  const edge = (i) => short((largest * i) / counts.length);
  return make("div", { class: "histogram" },
    make("div", { class: "counts" }, make("span", {}, most.toLocaleString("en")), make("span", {}, "0")),
    make("div", { class: "bars", role: "img", "aria-label": `histogram of activations from 0 to ${short(largest)}` },
      counts.map((count, i) => make("i", {
        style: `--height: ${(100 * count) / most}%; --least: ${count ? 1 : 0}px`,
        "data-tip": `${edge(i)} to ${edge(i + 1)}: ${plural(count, "position")}`,
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

// On a narrow screen the list, hidden by an open feature, comes back as it was left; a feature that other keys led to is
// brought into view.
let current = null;
let leftAt = 0;
const rowOf = (feature) => [...byId("rows").rows].find((row) => row.querySelector("a").getAttribute("href") === feature.hash);
const showList = (last) => {
  if (!NARROW.matches || document.activeElement === search) return;
  scrollTo(0, leftAt);
  rowOf(last)?.querySelector("a").focus({ preventScroll: true });
  rowOf(last)?.scrollIntoView({ block: "nearest" });
};
const show = async () => {
  const last = current;
  current = byHash.get(location.hash) ?? null;
  if (last === null) leftAt = scrollY;
  document.body.classList.toggle("open", current !== null);
  if (current === null) {
    byId("detail").replaceChildren(make("p", { class: "message" }, "Choose a feature in the list."));
    if (last !== null) showList(last);
    return;
  }
  const feature = current;
  for (const row of byId("rows").rows) row.removeAttribute("aria-current");
  rowOf(feature)?.setAttribute("aria-current", "true");
  const nodes = await detailsOf(feature).then(
    (all) => detailNodes(feature, all), (error) => [make("p", { class: "message" }, error.message)]);
  if (current !== feature) return; // another one, or the list, was chosen while the details loaded
  byId("detail").replaceChildren(...nodes);
  centre();
  if (NARROW.matches) scrollTo(0, 0);
  else if (byId("detail").getBoundingClientRect().top < 0) byId("detail").scrollIntoView();
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
      fact("density, held-out", percent(feature.density), make("span", { class: "note" }, `${all.fired.toLocaleString("en")} of ${plural(all.rows, "row")}`)),
      fact("density, training", percent(feature.training), make("span", { class: "note" }, `of ${plural(sae.training_rows, "row")}`)),
      fact("decoder norm", short(all.norm), ownScale(sae)),
      fact("largest activation", short(all.largest), ownScale(sae)),
      all.ablation && fact("effect when removed", `${short(all.ablation[0])} nats`, make("span", { class: "note" }, `mean KL over ${plural(all.ablation[1], "position")} where it is active`))),
    make("div", { class: "columns" },
      make("div", {}, make("h3", {}, "Activations above 0"), histogram(all)),
      make("div", {}, make("h3", {}, "Fires on"), make("table", {}, make("tbody", {}, all.fires_on.map(([token, count, share]) =>
        make("tr", {}, make("td", {}, make("code", {}, visible(token))), make("td", { class: "number" }, plural(count, "time")),
          make("td", { class: "number", "data-tip": "share of the sum of its activations" }, percent(share)))))))),
    make("h3", {}, "Strongest contexts"), all.strongest.length ? exampleTable(all.strongest, all.largest) : make("p", { class: "note" }, "none"),
    ...all.quantiles.flatMap(({ low, high, count, examples }) => [
      make("h3", {}, `Activations of ${short(low)} to ${short(high)}: ${plural(count, "position")} (${percent(count / all.fired)})`),
      examples.length ? exampleTable(examples, all.largest) : make("p", { class: "note" }, "none"),
    ]),
    make("div", { class: "columns" },
      all.raises && logitTable("Raises the logits of", all.raises),
      all.lowers && logitTable("Lowers the logits of", all.lowers),
      linkTable("Nearest features", "neighbours", all.neighbours.map(([number, cosine]) => [sae.run, number, String(number), cosine]), sae.hook),
      all.seeds.length ? linkTable("Best match in another seed", "seeds",
        all.seeds.map(([run, number, cosine]) => [run, number, `${run}, feature ${number}`, cosine]), sae.hook,
        "At a low cosine the match is not the same feature.") : null),
  ].filter(Boolean);
};
