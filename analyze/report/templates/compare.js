"use strict";
// The panel "Compare two": fills its table from the rows of the table of verdicts, for the choices of its menus.
const fillPanel = (panel, verdicts) => {
  const table = panel.querySelector("table");
  const rows = new Map(), names = new Set(), l0Values = new Set();
  const key = (...parts) => JSON.stringify(parts);
  for (const row of verdicts.tBodies[0].rows) {
    const [second, first, l0, measure] = [...row.cells].slice(0, 4).map((cell) => cell.textContent.trim());
    rows.set(key(first, second, l0, measure), row);
    names.add(first).add(second);
    l0Values.add(l0);
  }

  const choices = Object.assign(document.createElement("div"), { className: "choices" });
  const menu = (label, name, options, selected) => {
    const select = document.createElement("select");
    select.name = name;
    for (const text of options) select.append(new Option(text, text, text === selected, text === selected));
    const frame = document.createElement("label");
    frame.append(`${label} `, select);
    choices.append(frame);
    return select;
  };
  const second = menu("compare", "second", names, panel.dataset.second);
  const first = menu("against", "first", names, panel.dataset.first);
  const l0 = menu("at L0", "l0", l0Values, panel.dataset.l0);
  table.parentElement.before(choices);

  // "0.01" and "0.00 to 0.02" of second − first as those of first − second.
  const negative = (text) => (text.startsWith("-") ? text.slice(1) : Number(text) ? `-${text}` : text);
  const showDifference = (cell, source, reversed) => {
    const turned = (text) => (reversed ? text.split(" to ").map(negative).reverse().join(" to ") : text);
    cell.textContent = turned(source.firstChild.textContent);
    const ends = source.querySelector("small");
    if (ends) cell.append(Object.assign(document.createElement("small"), { textContent: turned(ends.textContent) }));
  };
  const show = () => {
    table.caption.textContent = `${second.value} − ${first.value} at L0 = ${l0.value}`;
    for (const row of table.tBodies[0].rows) {
      const measure = row.dataset.measure;
      const source = rows.get(key(first.value, second.value, l0.value, measure));
      const reverse = rows.get(key(second.value, first.value, l0.value, measure));
      if (!source && !reverse) {
        [...row.cells].slice(1).forEach((cell) => (cell.textContent = "–"));
        continue;
      }
      const cells = [...(source ?? reverse).cells].slice(4, 8);
      const [difference, higher, lower, undecided] = cells;
      showDifference(row.cells[1], difference, !source);
      const where = source ? [higher, lower, undecided] : [lower, higher, undecided];
      where.forEach((cell, i) => (row.cells[i + 2].textContent = cell.textContent));
    }
  };
  // Two menus never show the same architecture: the other one takes the name that this one had.
  let chosen = [first.value, second.value];
  for (const [select, other, i] of [[first, second, 0], [second, first, 1]]) {
    select.addEventListener("change", () => {
      if (select.value === other.value) other.value = chosen[i];
      chosen = [first.value, second.value];
      show();
    });
  }
  l0.addEventListener("change", show);
};
const panel = document.querySelector("#compare"), verdicts = document.querySelector("#verdicts table");
if (panel && verdicts) fillPanel(panel, verdicts);
