// The charts: lines and bands over steps, heat maps, and dots. Pointing at one shows its step in all of them.

const COLUMN = (place) => DATA.columns[place];
const MARGIN = { left: 50, right: 14, top: 10, bottom: 22 };
const HEIGHT = 215;
const CHARTS = [];

class Chart {
  constructor(figure, spec) {
    this.figure = figure;
    this.spec = spec;
    this.key = figure.appendChild(make("ul", { class: "key" }));
    this.plot = figure.appendChild(make("div", { class: "plot" }));
    this.lines = (spec.lines ?? []).map((line) => ({ ...line, steps: COLUMN(line.x), values: COLUMN(line.y) }));
    this.bands = (spec.bands ?? []).map((band) => ({ ...band, steps: COLUMN(band.x), lows: COLUMN(band.low), highs: COLUMN(band.high) }));
    this.rows = (spec.heat ?? []).map((row) => ({ steps: COLUMN(row.x), values: COLUMN(row.y) }));
    this.steps = [...new Set([...this.lines, ...this.bands, ...this.rows].flatMap((part) => part.steps))].sort((a, b) => a - b);
    this.entries = this.makeKey();
    this.draw();
    this.say(null);
  }

  draw() {
    const width = Math.max(this.plot.clientWidth, 200);
    this.plot.replaceChildren();
    const svg = draw(this.plot, "svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, tabindex: 0, role: "img" });
    svg.setAttribute("aria-label", `${this.figure.querySelector("h3").textContent}, over steps. Arrow keys walk along the steps.`);
    this.right = width - MARGIN.right;
    const [first, last] = DATA.span;
    this.x = (step) => (last === first ? (MARGIN.left + this.right) / 2 : MARGIN.left + ((step - first) / (last - first)) * (this.right - MARGIN.left));
    if (this.rows.length) this.drawHeat(svg);
    else this.drawLines(svg);
    this.drawSteps(svg, first, last);
    this.cursor = draw(svg, "g", { visibility: "hidden" });
    draw(this.cursor, "line", { class: "cursor", y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom });
    this.listen(svg);
  }

  drawSteps(svg, first, last) {
    for (const step of roundTicks(first, Math.max(last, first + 1), (this.right - MARGIN.left) / 70)) {
      if (Number.isInteger(step) && step <= last) draw(svg, "text", { x: this.x(step), y: HEIGHT - 6, "text-anchor": "middle" }, String(step));
    }
  }

  drawLines(svg) {
    const values = [...this.lines.flatMap((line) => line.values), ...this.bands.flatMap((band) => [...band.lows, ...band.highs])];
    this.y = scaleOf(this.spec.scale, values, this.spec.fromZero, HEIGHT - MARGIN.bottom, MARGIN.top);
    drawGrid(svg, this.y, MARGIN.left, this.right);
    for (const band of this.bands) {
      const places = band.steps.map((step, n) => [this.x(step), this.y.at(band.lows[n]), this.y.at(band.highs[n])]).filter((_, n) => band.lows[n] !== null && band.highs[n] !== null);
      const outline = [...places.map(([x, , high]) => `${x.toFixed(1)},${high.toFixed(1)}`), ...places.reverse().map(([x, low]) => `${x.toFixed(1)},${low.toFixed(1)}`)];
      draw(svg, "path", { d: `M${outline.join("L")}Z`, fill: `var(--${band.colour})`, "fill-opacity": band.opacity });
    }
    for (const line of [...this.lines].reverse()) this.drawLine(svg, line);
  }

  drawLine(svg, line) {
    const colour = `var(--${line.colour})`;
    const smoothed = line.weight === "bold" ? smooth(line.values) : line.values;
    if (line.weight === "bold" && line.values.length >= 20) {
      draw(svg, "path", { d: this.path(line.steps, line.values), fill: "none", stroke: colour, "stroke-opacity": 0.35 });
    }
    const style = { fill: "none", stroke: colour, "stroke-width": line.weight === "bold" ? 2.4 : 1.5, "stroke-linejoin": "round" };
    if (line.weight === "dashed") style["stroke-dasharray"] = "5 4";
    draw(svg, "path", { ...style, d: this.path(line.steps, smoothed), class: "line" });
    if (line.steps.length <= 25) {
      line.steps.forEach((step, n) => {
        if (smoothed[n] !== null) draw(svg, "circle", { cx: this.x(step), cy: this.y.at(smoothed[n]), r: line.weight === "bold" ? 3 : 2.2, fill: colour });
      });
    }
  }

  path(steps, values) {
    let pen = "M";
    let d = "";
    steps.forEach((step, n) => {
      if (values[n] === null) pen = "M";
      else {
        d += `${pen}${this.x(step).toFixed(1)},${this.y.at(values[n]).toFixed(1)}`;
        pen = "L";
      }
    });
    return d || "M0,0";
  }

  drawHeat(svg) {
    const high = Math.max(...this.rows.flatMap((row) => row.values).filter((value) => value !== null), 1e-9);
    const { steps } = this.rows[0];
    const canvas = make("canvas", { width: steps.length, height: this.rows.length });
    const pen = canvas.getContext("2d");
    this.rows.forEach((row, n) =>
      row.values.forEach((value, at) => {
        if (value === null) return;
        pen.fillStyle = css(colourAt("entropy", value / high));
        pen.fillRect(at, this.rows.length - 1 - n, 1, 1);
      }),
    );
    const gap = steps.length > 1 ? (this.x(steps.at(-1)) - this.x(steps[0])) / (steps.length - 1) : 10;
    const left = Math.max(this.x(steps[0]) - gap / 2, MARGIN.left);
    const width = Math.min(this.x(steps.at(-1)) + gap / 2, this.right) - left;
    for (const [name, value] of Object.entries({ left, top: MARGIN.top, width, height: HEIGHT - MARGIN.top - MARGIN.bottom })) canvas.style[name] = `${value}px`;
    this.plot.prepend(canvas);
    const inside = HEIGHT - MARGIN.top - MARGIN.bottom;
    const marks = { start: 0.5, middle: 5, end: this.rows.length - 0.5 };
    for (const [text, row] of Object.entries(marks)) {
      draw(svg, "text", { x: MARGIN.left - 8, y: HEIGHT - MARGIN.bottom - (row / this.rows.length) * inside + 4, "text-anchor": "end" }, text);
    }
  }

  makeKey() {
    const entries = this.rows.length
      ? this.rows.map((row, n) => ({ label: ["start", "end"][[0, this.rows.length - 1].indexOf(n)], part: row })).filter((entry) => entry.label)
      : [...this.lines, ...this.bands].map((part) => ({ label: part.label, part }));
    for (const entry of entries) {
      entry.value = make("b");
      const item = make("li", {}, entry.label, entry.value);
      if (entry.part.colour) item.prepend(swatch(entry.part));
      if (entry.part.metric) item.title = entry.part.metric;
      this.key.append(item);
    }
    this.when = this.key.appendChild(make("li", { class: "when" }));
    return entries;
  }

  /** Shows the values at a step, or the last ones. */
  say(step) {
    for (const { part, value } of this.entries) {
      const at = nearest(part.steps, step ?? part.steps.at(-1));
      value.textContent = part.values ? show(part.values[at]) : `${show(part.lows[at])} to ${show(part.highs[at])}`;
    }
    this.when.textContent = step === null ? this.spec.unit : `step ${this.steps[nearest(this.steps, step)]}`;
    this.cursor.setAttribute("visibility", step === null ? "hidden" : "visible");
    if (step !== null) this.cursor.setAttribute("transform", `translate(${this.x(step)} 0)`);
  }

  listen(svg) {
    const stepAt = (event) => {
      const place = event.clientX - svg.getBoundingClientRect().left;
      const [first, last] = DATA.span;
      return this.steps[nearest(this.steps, first + ((place - MARGIN.left) / (this.right - MARGIN.left)) * (last - first))];
    };
    svg.addEventListener("pointermove", (event) => pointAt(stepAt(event)));
    svg.addEventListener("pointerleave", () => pointAt(null));
    svg.addEventListener("blur", () => pointAt(null));
    svg.addEventListener("click", (event) => document.dispatchEvent(new CustomEvent("rollouts", { detail: stepAt(event) })));
    svg.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity, PageUp: -10, PageDown: 10 }[event.key];
      if (move === undefined) return;
      event.preventDefault();
      const here = nearest(this.steps, POINTED ?? this.steps.at(-1));
      const step = this.steps[Math.min(Math.max(here + move, 0), this.steps.length - 1)];
      pointAt(step);
      speak(`step ${step}: ${this.entries.map(({ label, value }) => `${label} ${value.textContent}`).join(", ")}`);
    });
  }
}

/** Dots of two measures against each other, shaded by time, and a curve through them. */
class Dots {
  constructor(figure, spec) {
    this.figure = figure;
    this.spec = spec;
    this.plot = figure.appendChild(make("div", { class: "plot" }));
    this.key = figure.appendChild(make("ul", { class: "key" }));
    this.draw();
  }

  draw() {
    const { xs, ys, steps, curve, level } = this.spec;
    const width = Math.max(this.plot.clientWidth, 200);
    const bottom = HEIGHT - MARGIN.bottom - 14;
    this.plot.replaceChildren();
    const svg = draw(this.plot, "svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img" });
    svg.setAttribute("aria-label", this.figure.querySelector("h3").textContent);
    const x = scaleOf("linear", [...xs, ...(curve ? curve.xs : [])], this.spec.fromZero, MARGIN.left, width - MARGIN.right);
    const y = scaleOf("linear", [...ys, ...(curve ? [...curve.ys, ...(curve.lows ?? []), ...(curve.highs ?? [])] : []), ...(level ? [level.value] : [])], false, bottom, MARGIN.top);
    drawGrid(svg, y, MARGIN.left, width - MARGIN.right);
    for (const tick of apart(x.ticks, x.at, 45)) draw(svg, "text", { x: x.at(tick), y: bottom + 16, "text-anchor": "middle" }, show(tick));
    draw(svg, "text", { x: width - MARGIN.right, y: HEIGHT - 3, "text-anchor": "end" }, this.spec.xTitle);
    if (level) {
      draw(svg, "line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: y.at(level.value), y2: y.at(level.value), stroke: "var(--quiet)", "stroke-dasharray": "5 4" });
      draw(svg, "text", { x: width - MARGIN.right, y: y.at(level.value) - 5, "text-anchor": "end" }, level.label);
    }
    const corners = (values) => curve.xs.map((value, n) => `${x.at(value).toFixed(1)},${y.at(values[n]).toFixed(1)}`);
    if (curve?.lows) draw(svg, "path", { d: `M${[...corners(curve.lows), ...corners(curve.highs).reverse()].join("L")}Z`, fill: "var(--entropy)", "fill-opacity": 0.16 });
    const [first, last] = [Math.min(...steps), Math.max(...steps)];
    xs.forEach((value, n) => {
      const t = last > first ? (steps[n] - first) / (last - first) : 1;
      const dot = draw(svg, "circle", { class: "dot", cx: x.at(value), cy: y.at(ys[n]), r: 3.4, fill: css(colourAt("time", t)), "fill-opacity": 0.85 });
      draw(dot, "title", {}, `step ${steps[n]}: ${this.spec.xTitle} ${show(value)}, ${this.spec.yTitle} ${show(ys[n])}`);
    });
    if (curve) draw(svg, "path", { class: "line", d: `M${corners(curve.ys).join("L")}`, fill: "none", stroke: "var(--entropy)", "stroke-width": 2.4 });
  }

  say() {}
}

function drawGrid(svg, scale, left, right) {
  for (const tick of scale.ticks) {
    const y = scale.at(tick);
    draw(svg, "line", { class: tick === 0 ? "zero" : "grid", x1: left, x2: right, y1: y, y2: y });
    draw(svg, "text", { x: left - 8, y: y + 4, "text-anchor": "end" }, show(tick));
  }
}

function swatch({ colour, opacity, weight }) {
  const svg = draw(make("span"), "svg", { width: 20, height: 10, "aria-hidden": "true" });
  if (opacity) draw(svg, "rect", { width: 20, height: 10, rx: 2, fill: `var(--${colour})`, "fill-opacity": Math.min(opacity * 1.6, 1) });
  else {
    const line = draw(svg, "line", { x1: 0, x2: 20, y1: 5, y2: 5, stroke: `var(--${colour})`, "stroke-width": weight === "bold" ? 3 : 2 });
    if (weight === "dashed") line.setAttribute("stroke-dasharray", "5 3");
  }
  return svg;
}

/** Where in rising `steps` the one nearest to `step` is. */
function nearest(steps, step) {
  let [low, high] = [0, steps.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (steps[middle] < step) low = middle + 1;
    else high = middle;
  }
  return low > 0 && step - steps[low - 1] <= steps[low] - step ? low - 1 : low;
}

let POINTED = null;

function pointAt(step) {
  POINTED = step;
  for (const chart of CHARTS) chart.say(step);
}

function drawCharts() {
  for (const figure of document.querySelectorAll("figure[data-chart]")) {
    const spec = DATA.charts[figure.dataset.chart];
    CHARTS.push(spec.xs ? new Dots(figure, spec) : new Chart(figure, spec));
  }
  const again = () => {
    for (const chart of CHARTS) chart.draw();
    pointAt(POINTED);
  };
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) again();
    width = innerWidth;
  });
  DARK.addEventListener("change", again);
}
