"""Scripts that find text on a page that cannot be read: cut off, or of too little contrast."""

from __future__ import annotations

# Every shown piece of text, with its box, the element that holds it, and the one that scrolls it, if any.
TEXTS = """
() => {
  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const node = walker.currentNode, element = node.parentElement;
    if (!node.textContent.trim() || !element.checkVisibility() || element.closest("script, style")) continue;
    const range = document.createRange();
    range.selectNodeContents(node);
    const box = range.getBoundingClientRect();
    if (box.width) texts.push({ text: node.textContent.trim(), element, box });
  }
  return texts;
}
"""
CUT_OFF = f"""
() => ({TEXTS})().flatMap(({{ text, element, box }}) => {{
  const scrolled = element.closest(".scroll, figure");
  const holder = element.closest("td, th, button, label, figcaption, summary, p, li, pre, h1, h2, h3, h4");
  const own = (holder ?? element).getBoundingClientRect();
  const spaces = getComputedStyle(element).whiteSpace.startsWith("pre") ? 10 : 1; // those at a line's end may hang
  const beyond = box.right > own.right + spaces || box.left < own.left - 1 || box.bottom > own.bottom + 1;
  const outside = !scrolled && (box.right > innerWidth + spaces || box.left < -1);
  return beyond || outside ? [text] : [];
}})
"""
# WCAG 2's contrast of text with the backgrounds behind it.
LOW_CONTRAST = f"""
() => {{
  const parse = (colour) => {{
    const [r, g, b, a = 1] = colour.match(/[\\d.]+/g).map(Number);
    return [r, g, b, a];
  }};
  const over = (top, below) => [0, 1, 2].map((i) => top[3] * top[i] + (1 - top[3]) * below[i]).concat(1);
  const luminance = (colour) => {{
    const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = colour.slice(0, 3).map((c) => linear(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  }};
  const seen = {{}};
  for (const {{ text, element }} of ({TEXTS})()) {{
    const layers = [];
    for (let node = element; node; node = node.parentElement) {{
      layers.push(parse(getComputedStyle(node).backgroundColor));
    }}
    const behind = layers.reduceRight((below, layer) => over(layer, below), [255, 255, 255, 1]);
    const style = getComputedStyle(element);
    const front = over(parse(element instanceof SVGElement ? style.fill : style.color), behind);
    const [light, dark] = [luminance(front), luminance(behind)].sort((a, b) => b - a);
    const ratio = (light + 0.05) / (dark + 0.05);
    if (ratio < 4.5) seen[`${{element.tagName}}.${{element.className}} ${{ratio.toFixed(1)}}`] ??= text;
  }}
  return seen;
}}
"""
