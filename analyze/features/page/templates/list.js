"use strict";

// The list of features: the menus, the order, which the heads of columns choose too, and pages of rows.

const fill = (menu, options) => menu.append(...options.map(([value, text]) => make("option", { value }, text)));
const all = (values) => [["", "all"], ...[...new Set(values)].map((value) => [value, value])];
fill(layerMenu, all(SAES.map((sae) => sae.layer)));
fill(runMenu, all(SAES.map((sae) => sae.run)));
fill(kindMenu, [["live", "live"], ...KINDS.map((kind) => [kind, kind]), ["dead", "dead"], ["", "all"]]);
const missing = [SAES.some((sae) => sae.kl.some((kl) => kl !== null)) ? null : "kl", hasMatches ? null : "cosine"];
fill(orderMenu, [["best", "best match"], ...Object.entries(ORDERS).filter(([name]) => !missing.includes(name))
  .flatMap(([name, [text]]) => {
    const both = [[`${name} ascending`, `${text}, rising`], [`${name} descending`, `${text}, falling`]];
    return name === "number" || name === "token" ? both : both.reverse();
  })]);

const heads = new Map(Object.entries(COLUMNS).filter(([name]) => !missing.includes(name)).map(([name, { head, tip }]) =>
  [name, make("th", { scope: "col", "data-tip": tip }, make("button", { type: "button" }, head))]));
const table = byId("rows").closest("table");
table.tHead.rows[0].append(...heads.values());
let shownColumns = [];
let ordered = null; // the column that the rows are in the order of
const classOf = (name) =>
  [COLUMNS[name].numeric && "number", COLUMNS[name].extra && "extra", COLUMNS[name].seed && "seed", name === ordered && "ordered"].filter(Boolean).join(" ");

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
    return rate(feature, terms, where.value);
  });
  const onToken = listed.some((feature) => feature.on > 0);
  shownColumns = [...heads.keys()].filter((name) => name !== "share" || onToken);
  for (const option of orderMenu.options) option.disabled = option.value.startsWith("share") && !onToken;
  byId("on-token").hidden = !onToken;
  table.classList.toggle("searched", onToken);
  sortListed(terms.length > 0, onToken);
  firstRow = 0;
  showRows();
};
const sortListed = (searched, onToken) => {
  let [order, direction] = orderMenu.value.split(" ");
  if (order === "share" && !onToken) order = "best";
  if (order === "best" && searched) {
    listed.sort(best);
    [order, direction] = onToken && !listed[0].named ? ["share", "descending"] : [null, null];
  } else {
    if (order === "best") [order, direction] = ["number", "ascending"];
    listed.sort(inOrder(order, direction));
  }
  ordered = order;
  markSorted(table, heads.get(order), direction);
};
whenSorted(table, (head, direction) => {
  orderMenu.value = `${[...heads].find(([, other]) => other === head)[0]} ${direction}`;
  update();
});

const showRows = () => {
  for (const [name, head] of heads) {
    head.hidden = !shownColumns.includes(name);
    head.className = classOf(name);
  }
  const shown = listed.slice(firstRow, firstRow + PAGE_ROWS);
  byId("rows").replaceChildren(...shown.map((feature) => {
    const cells = shownColumns.map((name) => make("td", { class: classOf(name) || null }, COLUMNS[name].cell(feature)));
    const row = make("tr", { class: feature.dead ? "dead" : null, "aria-current": feature === current ? "true" : null }, cells);
    if (!feature.dead) {
      row.addEventListener("click", (event) => {
        if (!event.target.closest("a")) location.hash = feature.hash;
      });
    }
    return row;
  }));
  byId("count").textContent = `${listed.length.toLocaleString("en")} of ${plural(features.length, "feature")}`;
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
