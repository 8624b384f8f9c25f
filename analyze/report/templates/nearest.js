"use strict";
// The values of the mark that is nearest to the pointer, or to where a finger tapped. Vega itself shows them only on the
// mark. Each line's items have a text; a line between two of them stands for the nearer one.
const REACH = 30; // pixels from the pointer to a mark
const POINT_FIRST = 8; // a point is preferred to a line that is nearer by less than this
const FAINT = 0.5; // marks of other families are fainter than this while one is highlighted

// The items of all lines in an SVG, each line in its order. Vega's SVG elements know the items that they show.
const linesOf = (svg) =>
  [...svg.querySelectorAll(".mark-line.role-mark path")].map((path) => ({
    path, items: path.__data__.mark.items.filter((item) => item.defined !== false),
  }));
const opacityOf = (item) => (item.opacity ?? 1) * (item.strokeOpacity ?? 1);

const distanceTo = ([x, y], from, to) => {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const along = Math.max(0, Math.min(1, ((x - from.x) * dx + (y - from.y) * dy) / (dx * dx + dy * dy || 1)));
  return Math.hypot(from.x + along * dx - x, from.y + along * dy - y);
};

// Return the item that stands for what is nearest to a place on the screen, with its own place; nothing out of reach.
const nearestItem = (svg, { clientX, clientY }) => {
  let best = { cost: REACH };
  for (const { path, items } of linesOf(svg)) {
    if (!items.length || opacityOf(items[0]) < FAINT) continue;
    const onScreen = path.parentElement.getScreenCTM();
    const { x, y } = new DOMPoint(clientX, clientY).matrixTransform(onScreen.inverse());
    items.forEach((item, i) => {
      const place = Math.hypot(item.x - x, item.y - y);
      const next = items[i + 1];
      const segment = next ? distanceTo([x, y], item, next) + POINT_FIRST : Infinity;
      const cost = Math.min(place, segment);
      if (cost >= best.cost) return;
      const nearer = next && Math.hypot(next.x - x, next.y - y) < place ? next : item;
      best = { cost, item: nearer, place: new DOMPoint(nearer.x, nearer.y).matrixTransform(onScreen) };
    });
  }
  return best.item ? best : null;
};

// One box and one ring on the page: the text of the item shown, and a ring around it.
const tip = Object.assign(document.createElement("div"), { className: "tip", hidden: true });
tip.setAttribute("role", "status");
const ring = Object.assign(document.createElement("div"), { className: "ring", hidden: true });
document.body.append(tip, ring);
const hideTip = () => (tip.hidden = ring.hidden = true);
const showTip = ({ item, place }) => {
  const table = document.createElement("table");
  for (const [key, value] of Object.entries(item.tooltip)) {
    const row = table.insertRow();
    row.insertCell().textContent = key;
    row.insertCell().textContent = value;
  }
  tip.replaceChildren(table);
  tip.hidden = ring.hidden = false;
  const [wide, high] = [tip.offsetWidth, tip.offsetHeight];
  const room = document.documentElement.clientWidth - wide - 4;
  const left = place.x + 14 <= room ? place.x + 14 : place.x - 14 - wide;
  const top = place.y + 14 + high <= innerHeight ? place.y + 14 : place.y - 14 - high;
  tip.style.left = `${scrollX + Math.max(4, Math.min(left, room))}px`;
  tip.style.top = `${scrollY + Math.max(4, top)}px`;
  ring.style.left = `${scrollX + place.x}px`;
  ring.style.top = `${scrollY + place.y}px`;
};
const watchPointer = (panel) => {
  const show = (event) => {
    const svg = panel.querySelector("svg");
    const nearest = svg && nearestItem(svg, event);
    nearest ? showTip(nearest) : hideTip();
  };
  panel.addEventListener("pointermove", (event) => event.pointerType === "mouse" && show(event));
  panel.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && hideTip());
  panel.addEventListener("click", show); // a tap: a finger that scrolls the page does not click
};
addEventListener("pointerdown", (event) => event.target.closest?.(".chart svg") ?? hideTip());
