// Complains of faults that a person sees at once: text that is cut or covered, columns beyond
// the edge, rows out of line, and times as machines write them.
const found = [];
const main = document.querySelector("main");
const brief = (text) => JSON.stringify(text.trim().slice(0, 60));
const inside = (node, selector) => node.parentElement.closest(selector);

// Each line of text with its place.
const lines = [];
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const node = walker.currentNode;
  if (!node.data.trim() || inside(node, ".quiet, .skip, script, option, .cut")) continue;
  if (innerWidth < 640 && inside(node, ".rows thead")) continue;
  const range = document.createRange();
  range.selectNodeContents(node);
  for (const box of range.getClientRects()) {
    if (box.width > 0 && box.height > 0) lines.push({ node, box, text: node.data });
  }
}

for (const { node, box, text } of lines) {
  for (let around = node.parentElement; around; around = around.parentElement) {
    const style = getComputedStyle(around);
    if (style.overflowX === "visible" || around.matches("pre, .tall")) continue;
    const edge = around.getBoundingClientRect();
    if (box.left < edge.left - 1 || box.right > edge.right + 1) {
      found.push(`${brief(text)} is cut`);
    }
  }
}

for (let one = 0; one < lines.length; one += 1) {
  for (let other = one + 1; other < lines.length; other += 1) {
    const [a, b] = [lines[one], lines[other]];
    if (inside(a.node, "pre, .tall") || inside(b.node, "pre, .tall")) continue;
    const wide = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left);
    const high = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top);
    if (wide > 1 && high > 4) found.push(`${brief(a.text)} and ${brief(b.text)} overlap`);
  }
}

for (const region of main.querySelectorAll(".scroll:not(.tall)")) {
  if (region.scrollWidth > region.clientWidth) found.push(`${region.id} lies beyond its edge`);
}

// The texts of a row stand in one line; a narrow window has the cells one below the other.
for (const row of innerWidth < 640 ? [] : main.querySelectorAll(".rows tbody tr")) {
  const middles = [];
  for (const cell of row.querySelectorAll(":scope > :not(.timeline)")) {
    const first = lines.find(({ node }) => cell.contains(node));
    if (first && !cell.querySelector("progress")) {
      middles.push((first.box.top + first.box.bottom) / 2);
    }
  }
  if (Math.max(...middles) - Math.min(...middles) > 2) {
    found.push(`${brief(row.textContent)} is out of line`);
  }
}

// A cell is labelled as its column is headed, and the label fits before it.
const pen = document.createElement("canvas").getContext("2d");
for (const table of main.querySelectorAll("table.rows")) {
  const heads = [...table.querySelectorAll("thead th")].map((head) => head.textContent);
  for (const row of table.querySelectorAll("tbody tr")) {
    [...row.children].forEach((cell, at) => {
      const label = cell.dataset.label;
      if (label === undefined) {
        if (at > 0 && !table.closest("#headers-table")) found.push(`${heads[at]} has no label`);
        return;
      }
      if (!heads[at].toLowerCase().includes(label.toLowerCase())) {
        found.push(`${brief(heads[at])} is labelled ${brief(label)}`);
      }
      if (innerWidth >= 640) return;
      pen.font = getComputedStyle(cell, "::before").font;
      const room = parseFloat(getComputedStyle(cell).paddingLeft);
      if (pen.measureText(label).width > room - 4) found.push(`${brief(label)} does not fit`);
    });
  }
}

// A chosen word and a hint fit their field; a select has an arrow.
for (const field of main.querySelectorAll("select, input:not([type=hidden], [hidden])")) {
  const style = getComputedStyle(field);
  const text = field.matches("select") ? field.selectedOptions[0].text : field.placeholder;
  const around = parseFloat(style.paddingLeft) + parseFloat(style.paddingRight);
  pen.font = style.font;
  const room = field.clientWidth - around - (field.matches("select") ? 20 : 0);
  if (pen.measureText(text).width > room) found.push(`${brief(text)} is cut in its field`);
}

// An error may quote how a time is typed.
const texts = lines.filter(({ node }) => !inside(node, "pre, .code, [aria-labelledby=problem]"));
for (const { text } of texts) {
  if (/\d{4}-\d\d-\d\dT/.test(text)) found.push(`${brief(text)} has a machine's time`);
  if (/(^|\D)1 (deliveries|events|secrets)\b/.test(text)) found.push(`${brief(text)} is no plural`);
}
return [...new Set(found)];
