// Draws the figures, anew for another theme or width, and sorts the tables.
const read = (id) => JSON.parse(document.getElementById(id).textContent);
const [specs, themes] = [read("specs"), read("themes")];
const dark = matchMedia("(prefers-color-scheme: dark)");
const everySeed = document.getElementById("every-seed");

// The figure in a width: as many panels beside each other as have room.
function fitted(spec, width, margin) {
  const copy = structuredClone(spec);
  if (!copy.facet) return { ...copy, width, autosize: { type: "fit-x", contains: "padding" } };
  copy.columns = Math.min(copy.columns, Math.max(1, Math.floor(width / 290)));
  copy.spec.width = Math.max(80, width / copy.columns - margin);
  return copy;
}

async function draw(place) {
  const name = place.dataset.figure === "curves" && everySeed?.checked ? "seeds" : place.dataset.figure;
  const config = structuredClone(themes[dark.matches ? "dark" : "light"]);
  const width = place.clientWidth;
  const labels = JSON.stringify(specs[name]).match(/"domain": ?\["[^\]]*\]/)?.[0] ?? "";
  const longest = Math.max(0, ...labels.split(",").map((label) => label.length - 2));
  config.legend.columns = Math.max(1, Math.floor(width / (40 + 7 * Math.min(longest, 31))));
  const embed = (spec) => vegaEmbed(place, spec, { config, actions: false, renderer: "svg", logLevel: 1, tooltip: { theme: dark.matches ? "dark" : "light" } });
  const spec = fitted(specs[name], width, 70);
  place.view?.finalize();
  let { view } = await embed(spec);
  if (spec.facet) {
    // Only what is drawn tells how much room labels take: the rest is the panels'.
    const spare = width - place.querySelector("svg").getBoundingClientRect().width;
    view.finalize();
    ({ view } = await embed(fitted(specs[name], width, 70 - Math.floor(spare / spec.columns))));
  }
  place.view = view;
}

// One after the other, so that two drawings never share a place.
let drawing = Promise.resolve();
function drawAll() {
  for (const place of document.querySelectorAll(".chart")) drawing = drawing.then(() => draw(place));
  drawing = drawing.then(() => (document.body.dataset.drawn = dark.matches ? "dark" : "light"));
}
function redraw() {
  delete document.body.dataset.drawn;
  drawAll();
}
dark.addEventListener("change", redraw);
everySeed?.addEventListener("change", redraw);
let [timer, drawnWidth] = [0, innerWidth];
addEventListener("resize", () => {
  clearTimeout(timer);
  timer = setTimeout(() => {
    if (innerWidth !== drawnWidth) redraw();
    drawnWidth = innerWidth;
  }, 150);
});

function compare(a, b) {
  if (a.dataset.number === undefined) return a.textContent.localeCompare(b.textContent, "en", { numeric: true });
  return Number(a.dataset.number) - Number(b.dataset.number);
}

function sort(head) {
  const down = head.ariaSort === "ascending";
  for (const other of head.parentNode.children) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const body = head.closest("table").tBodies[0];
  const cell = (row) => row.cells[head.cellIndex];
  const missing = (row) => cell(row).dataset.number === "";
  // Rows without a number stay last in both directions.
  const rows = [...body.rows].sort((a, b) => missing(a) - missing(b) || (missing(a) ? 0 : compare(cell(a), cell(b)) * (down ? -1 : 1)));
  body.append(...rows);
}
for (const head of document.querySelectorAll("th")) head.firstElementChild.addEventListener("click", () => sort(head));

drawAll();
