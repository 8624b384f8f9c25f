"use strict";
// A click on a column's head sorts the table: numbers by value, everything else as text.
for (const table of document.querySelectorAll("table.sortable")) {
  for (const head of table.tHead.rows[0].cells) {
    head.firstElementChild.addEventListener("click", () => {
      const descending = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const key = (row) => {
        const cell = row.cells[head.cellIndex];
        return "value" in cell.dataset ? cell.dataset.value : cell.textContent.trim();
      };
      const number = (text) => (text === "" ? NaN : Number(text));
      const compare = (a, b) => {
        const [x, y] = [number(key(a)), number(key(b))];
        if (Number.isNaN(x) && Number.isNaN(y)) return key(a).localeCompare(key(b), undefined, { numeric: true });
        return Number.isNaN(x) ? 1 : Number.isNaN(y) ? -1 : x - y;
      };
      const rows = [...table.tBodies[0].rows].sort(compare);
      table.tBodies[0].append(...(descending ? rows.reverse() : rows));
    });
  }
}
// The search shows the features whose text has every word of the query.
const search = document.querySelector("input[type=search]");
if (search) {
  const features = [...document.querySelectorAll(".feature")].map((node) => [node, node.textContent.toLowerCase()]);
  const matches = document.querySelector("#found");
  const show = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    for (const [node, text] of features) {
      node.hidden = !words.every((word) => text.includes(word));
      count += node.hidden ? 0 : 1;
    }
    matches.textContent = `${count} of ${features.length} features`;
  };
  search.addEventListener("input", show);
  show();
}
// Print collapsed sections too.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((node) => (node.open = true)));
