"use strict";

// A table whose column heads are buttons. A click, or Enter, asks for the column's first order, the next for its next
// one. A head's data-better says which values are better, and so come first; without it, order rises at first. The
// order "other" has values near the best one first.
const ordersOf = ({ dataset: { better = "" } }) =>
  better === "higher" ? ["descending", "ascending"]
  : better.startsWith("near") ? ["other", "ascending", "descending"]
  : ["ascending", "descending"];
const whenSorted = (table, sort) => {
  for (const head of table.tHead.rows[0].cells) {
    head.querySelector("button").addEventListener("click", () => {
      const orders = ordersOf(head);
      sort(head, orders[(orders.indexOf(head.getAttribute("aria-sort")) + 1) % orders.length]);
    });
  }
};
const markSorted = (table, head, direction) => {
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  head?.setAttribute("aria-sort", direction);
};
