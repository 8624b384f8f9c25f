"use strict";
// Draws each <figure class="chart">, whose JSON script has the chart's specs, menus and legend, with Vega-Embed.
const element = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
};
// A line with the family's dashes and, in its middle, the family's point.
const swatch = ({ colour, dash, path }) => {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  for (const [name, value] of [["viewBox", "-14 -7 28 14"], ["width", 28], ["height", 14], ["aria-hidden", true]]) {
    svg.setAttribute(name, value);
  }
  const parts = [
    ["M-14,0H14", { stroke: colour, "stroke-width": 1.8, "stroke-dasharray": dash[1] ? dash.join(" ") : "none" }],
    [path, { fill: colour, transform: "scale(5)" }],
  ];
  for (const [d, attributes] of parts) {
    const part = svg.appendChild(document.createElementNS(space, "path"));
    for (const [name, value] of Object.entries({ d, ...attributes })) part.setAttribute(name, value);
  }
  return svg;
};
const drawChart = async (figure) => {
  const { specs, menus, checkboxes, legend } = JSON.parse(figure.querySelector("script").textContent);
  const options = { renderer: "svg", actions: false, tooltip: () => {} }; // nearest.js shows texts
  const views = [];
  const set = (parameter, value) =>
    Promise.all(views.map((view) => view.signal(parameter, value).runAsync()));
  const choices = element("div", { class: "choices" });
  for (const { parameter, label, options: labels, selected } of menus) {
    if (labels.length < 2) continue;
    const select = element("select", { name: parameter });
    for (const [value, text] of labels) select.append(new Option(text, value, value === selected, value === selected));
    select.addEventListener("change", () => set(parameter, select.value));
    choices.append(element("label", {}, `${label} `, select));
  }
  for (const { parameter, label } of checkboxes) {
    const box = element("input", { type: "checkbox", name: parameter });
    box.addEventListener("change", () => {
      legend.forEach(({ on_demand }, i) => (buttons[i].hidden = on_demand && !box.checked));
      if (!box.checked) buttons.find((button) => button.hidden && button.getAttribute("aria-pressed") === "true")?.click();
      set(parameter, box.checked ? "on" : "off");
    });
    choices.append(element("label", {}, box, ` ${label}`));
  }
  const entries = element("div", { class: "legend" });
  const buttons = legend.map((entry) => {
    const button = element("button", { type: "button", "aria-pressed": "false" }, swatch(entry), entry.name);
    button.hidden = entry.on_demand;
    button.addEventListener("click", () => {
      const pressed = button.getAttribute("aria-pressed") === "false";
      for (const other of buttons) other.setAttribute("aria-pressed", String(pressed && other === button));
      set("highlight", pressed ? entry.name : "");
    });
    return button;
  });
  entries.append(...buttons);
  const panels = element("div", { class: specs.length > 1 ? "panels" : "panel" });
  figure.prepend(choices, entries, panels);
  for (const spec of specs) {
    const panel = panels.appendChild(element("div"));
    watchPointer(panel);
    views.push((await vegaEmbed(panel, spec, options)).view);
  }
  // Vega follows the window's width alone; a figure in an opened <details> also gets a width.
  new ResizeObserver(() => dispatchEvent(new Event("resize"))).observe(figure);
  figure.dataset.drawn = "";
};
(async () => {
  for (const figure of document.querySelectorAll("figure.chart")) await drawChart(figure);
})();
