"use strict";

// Tables: a click on a column's head sorts the rows of each group, numbers by value, everything else as text.
const keyOf = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
const number = (text) => (text === "" ? NaN : Number(text));
const compare = (first, second) => {
  const [x, y] = [number(first), number(second)];
  if (Number.isNaN(x) && Number.isNaN(y)) return first.localeCompare(second, undefined, { numeric: true });
  return Number.isNaN(x) ? 1 : Number.isNaN(y) ? -1 : x - y;
};
const rowsOf = (body) => [...body.rows].filter((row) => !row.classList.contains("group"));

const sortTable = (table, head, direction) => {
  markSorted(table, head, direction);
  const sign = direction === "descending" ? -1 : 1;
  for (const body of table.tBodies) {
    const order = (a, b) => sign * compare(keyOf(a, head.cellIndex), keyOf(b, head.cellIndex));
    body.append(...rowsOf(body).sort(order));
  }
};

// A filter shows the items whose text has every word of the input, and how many these are.
const addFilter = (input, output, items, textOf, noun) => {
  const texts = items.map((item) => textOf(item).toLowerCase());
  const show = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    items.forEach((item, i) => {
      item.hidden = !words.every((word) => texts[i].includes(word));
      count += item.hidden ? 0 : 1;
    });
    output.textContent = `${count} of ${items.length} ${noun}`;
  };
  input.addEventListener("input", show);
  show();
};

const LONG = 20; // a table with more rows than this has a filter
for (const frame of document.querySelectorAll(".table")) {
  const table = frame.querySelector("table");
  whenSorted(table, (head, direction) => sortTable(table, head, direction));
  const rows = [...table.tBodies].flatMap(rowsOf);
  if (rows.length > LONG) {
    const bar = Object.assign(document.createElement("p"), { className: "filter" });
    bar.innerHTML = '<label>Filter rows <input type="search" autocomplete="off"></label> <output></output>';
    frame.prepend(bar);
    // Numbers measured are left out, so "3" finds layer 3 rather than every value with this digit.
    const words = (row) => [...row.cells].filter((cell) => !("value" in cell.dataset)).map((cell) => cell.textContent);
    addFilter(bar.querySelector("input"), bar.querySelector("output"), rows, (row) => words(row).join(" "), "rows");
  }
}

// Print collapsed sections too, and collapse them afterwards.
addEventListener("beforeprint", () => {
  for (const node of document.querySelectorAll("details:not([open])")) {
    node.open = true;
    addEventListener("afterprint", () => (node.open = false), { once: true });
  }
});
