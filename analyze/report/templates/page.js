"use strict";

// Tables: a column's head sorts the rows of each group, numbers by value, everything else as text. Cells without a
// number come after those with one.
const keyOf = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
const number = (text) => (text === "" ? NaN : Number(text));
const rowsOf = (body) => [...body.rows].filter((row) => !row.classList.contains("group"));

const sortTable = (table, head, order) => {
  markSorted(table, head, order);
  const sign = order === "descending" ? -1 : 1;
  const best = order === "other" ? Number(head.dataset.better.replace("near ", "")) : null;
  const compare = (first, second) => {
    const [x, y] = [first, second].map((text) => (best === null ? number(text) : Math.abs(number(text) - best)));
    if (Number.isNaN(x) && Number.isNaN(y)) return sign * first.localeCompare(second, undefined, { numeric: true });
    return Number.isNaN(x) ? 1 : Number.isNaN(y) ? -1 : sign * (x - y);
  };
  for (const body of table.tBodies) {
    body.append(...rowsOf(body).sort((a, b) => compare(keyOf(a, head.cellIndex), keyOf(b, head.cellIndex))));
  }
};

// A filter shows the rows that have every word of the input, and how many these are. A word may be the beginning
// of a word, also of the group's title, or of a number: "topk" does not show batchtopk, and "40" shows an L0 of 40 but
// not a loss of 0.140. All dashes are the same, and "a against b" is the same as "a − b".
const plain = (text) => text.toLowerCase().replace(/[−–]/g, "-").replace(/\bagainst\b/g, "-");
const wordsOf = (text) => plain(text).split(/\s+/).filter(Boolean);
const partsOf = (row) => {
  const group = row.parentElement?.querySelector(".group")?.textContent ?? "";
  const parts = { text: `${plain(group)}\n`, numbers: [] };
  for (const cell of row.cells) {
    if ("value" in cell.dataset) parts.numbers.push(...wordsOf(cell.firstChild.textContent.replaceAll(",", "")));
    else parts.text += `${plain(cell.textContent)}\n`;
  }
  return parts;
};
const begins = (text, word) => {
  for (let at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + 1))
    if (!(/[\p{L}\p{N}]/u.test(word[0]) && /[\p{L}\p{N}]/u.test(text[at - 1] ?? " "))) return true;
  return false;
};
const hasWord = ({ text, numbers }, word) => begins(text, word) || numbers.some((shown) => shown.startsWith(word));

const addFilter = (frame, table, rows) => {
  const bar = Object.assign(document.createElement("p"), { className: "filter" });
  bar.innerHTML =
    '<label>Filter rows <input type="search" autocomplete="off"></label> <output></output> ' +
    '<button type="button" hidden>Clear the filter</button>';
  frame.prepend(bar);
  const [input, output, clear] = ["input", "output", "button"].map((name) => bar.querySelector(name));
  let parts; // made when the filter is first used: a page may have 100,000 cells
  const show = () => {
    parts ??= new Map(rows.map((row) => [row, partsOf(row)]));
    const words = wordsOf(input.value).map((word) => word.replace(/(?<=\d),(?=\d)/g, ""));
    let count = 0;
    for (const [row, ofRow] of parts) {
      row.hidden = !words.every((word) => hasWord(ofRow, word));
      count += row.hidden ? 0 : 1;
    }
    for (const group of table.querySelectorAll(".group")) {
      group.hidden = rowsOf(group.parentElement).every((row) => row.hidden);
    }
    output.textContent = count ? `${count} of ${rows.length} rows` : `No row matches “${input.value.trim()}”.`;
    clear.hidden = count > 0;
  };
  output.textContent = `${rows.length} of ${rows.length} rows`;
  input.addEventListener("input", show);
  clear.addEventListener("click", () => {
    input.value = "";
    show();
    input.focus();
  });
};

const LONG = 20; // a table with more rows than this has a filter
for (const frame of document.querySelectorAll(".table")) {
  const table = frame.querySelector("table");
  whenSorted(table, (head, direction) => sortTable(table, head, direction));
  const rows = [...table.tBodies].flatMap(rowsOf);
  if (rows.length > LONG) addFilter(frame, table, rows);
}

// Print collapsed sections too, and collapse them afterwards.
addEventListener("beforeprint", () => {
  for (const node of document.querySelectorAll("details:not([open])")) {
    node.open = true;
    addEventListener("afterprint", () => (node.open = false), { once: true });
  }
});
