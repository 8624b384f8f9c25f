"use strict";

// A table whose column heads are buttons: a click, or Enter, asks for the column's order, rising at first.
const whenSorted = (table, sort) => {
  for (const head of table.tHead.rows[0].cells) {
    head.querySelector("button").addEventListener("click", () =>
      sort(head, head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending"));
  }
};
const markSorted = (table, head, direction) => {
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head?.setAttribute("aria-sort", direction);
};
