// Vectors as pictures. A pixel is green above zero and purple below, the stronger the farther from zero; products with
// weights are blue (for) and orange (against). Colours are laid over the paper, so that they do by day and by night.

const NUMBERS = [[27, 127, 92], [128, 82, 168]];
const PUSHES = [[0, 114, 178], [213, 94, 0]];

// The size that most numbers stay below: a single huge one would leave all others pale.
const strength = (...vectors) => {
  const sizes = vectors.flat().map(Math.abs).filter(Number.isFinite).sort((a, b) => a - b);
  return sizes[Math.floor(0.98 * (sizes.length - 1))] || 1;
};

const paint = (canvas, values, most, hues, columns) => {
  canvas.width = columns;
  canvas.height = Math.ceil(values.length / columns);
  const pen = canvas.getContext("2d"), image = pen.createImageData(canvas.width, canvas.height);
  values.forEach((value, i) => {
    const share = Math.min(1, Math.abs(value) / most);
    image.data.set([...hues[value < 0 ? 1 : 0], Math.round(255 * share ** 0.8)], 4 * i);
  });
  pen.putImageData(image, 0, 0);
};

const strip = (values, most, label, hues = NUMBERS) => {
  const canvas = make("canvas", { class: "strip", role: "img", "aria-label": label });
  paint(canvas, values, most, hues, values.length);
  return canvas;
};

// A picture to walk in: one number at a time, by pointer or by arrow keys.
const grid = (values, label, tell) => {
  const most = strength(values), canvas = make("canvas", { "aria-hidden": "true" });
  const cursor = make("span", { class: "cursor" });
  const box = make("div", {
    class: "grid", tabindex: 0, role: "slider", "aria-label": label, "aria-valuemin": 1, "aria-valuemax": values.length,
  }, canvas, cursor);
  let columns = 0, current = values.findIndex((value) => Math.abs(value) === largest(values)); // begin where most is to be seen

  const show = (i) => {
    current = Math.max(0, Math.min(values.length - 1, i));
    const rows = Math.ceil(values.length / columns);
    box.style.setProperty("--x", `${(100 * (current % columns)) / columns}%`);
    box.style.setProperty("--y", `${(100 * Math.floor(current / columns)) / rows}%`);
    box.setAttribute("aria-valuenow", current + 1);
    box.setAttribute("aria-valuetext", tell(current));
  };
  const lay = (width) => {
    const wanted = width < 520 ? 24 : values.length > 512 ? 48 : 32;
    if (wanted === columns) return;
    columns = wanted;
    paint(canvas, values, most, NUMBERS, columns);
    box.style.setProperty("--columns", columns);
    box.style.setProperty("--rows", canvas.height);
    show(current);
  };
  const point = (event) => {
    const edge = canvas.getBoundingClientRect();
    const x = Math.floor(((event.clientX - edge.left) / edge.width) * columns);
    const y = Math.floor(((event.clientY - edge.top) / edge.height) * canvas.height);
    if (x >= 0 && x < columns && y >= 0 && y * columns + x < values.length) show(y * columns + x);
  };
  box.addEventListener("pointermove", point);
  box.addEventListener("pointerdown", point);
  box.addEventListener("keydown", (event) => {
    const ways = {
      ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns,
      Home: -values.length, End: values.length, PageUp: -4 * columns, PageDown: 4 * columns,
    };
    if (!(event.key in ways)) return;
    event.preventDefault();
    show(current + ways[event.key]);
  });
  lay(innerWidth);
  new ResizeObserver(([entry]) => lay(entry.contentRect.width)).observe(box);
  return box;
};

const legend = (hues, below, above) =>
  make("p", { class: "legend" }, make("span", {}, below), make("span", { class: `ramp ${hues}`, "aria-hidden": "true" }), make("span", {}, above));

const bar = (share, kind = "for") =>
  make("span", { class: `bar ${kind}`, "aria-hidden": "true", style: { "--w": `${(100 * Math.max(0, Math.min(1, share))).toFixed(2)}%` } });
