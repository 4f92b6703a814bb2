// Scales and ticks: from values to places on the screen.

/** The scale of an axis: `at` gives the place of a value, `ticks` where to write numbers. */
function scaleOf(kind, values, fromZero, from, to) {
  const known = values.filter((value) => value !== null);
  const positive = known.filter((value) => value > 0);
  if (kind === "log" && positive.length) return logScale(positive, from, to);
  if (kind === "symlog") return symlogScale(known, from, to);
  let low = fromZero ? Math.min(0, ...known) : Math.min(...known);
  let high = fromZero ? Math.max(0, ...known) : Math.max(...known);
  if (low === high) [low, high] = low === 0 ? [0, 1] : [low - Math.abs(low) / 10, high + Math.abs(high) / 10];
  const pad = (high - low) * 0.05;
  if (!(fromZero && low === 0)) low -= pad;
  if (!(fromZero && high === 0)) high += pad;
  const at = (value) => from + ((value - low) / (high - low)) * (to - from);
  return { at, ticks: roundTicks(low, high, Math.abs(to - from) / 34) };
}

/** About `count` round numbers from `low` to `high`. */
function roundTicks(low, high, count) {
  const rough = (high - low) / Math.max(count, 2);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough);
  const ticks = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) ticks.push(Number((n * step).toPrecision(12)));
  return ticks;
}

function logScale(positive, from, to) {
  const low = Math.log10(Math.min(...positive)) - 0.1;
  const high = Math.log10(Math.max(...positive)) + 0.1;
  const at = (value) => (value > 0 ? from + ((Math.log10(value) - low) / (high - low)) * (to - from) : from);
  const factors = high - low < 1.6 ? [1, 2, 5] : [1];
  return { at, ticks: apart(decades(low, high, factors), at) };
}

function symlogScale(values, from, to) {
  const sizes = values.map(Math.abs).filter((size) => size > 0).sort((a, b) => a - b);
  // Linear below the smaller third, but over no more than three powers of ten: most tokens have next to nothing.
  const bulk = sizes.length ? Math.max(sizes[Math.floor(sizes.length / 3)], sizes.at(-1) / 1000) : 1;
  const bend = (value) => Math.asinh(value / bulk);
  const low = bend(Math.min(0, ...values)) - 0.15;
  const high = bend(Math.max(0, ...values)) + 0.15;
  const at = (value) => from + ((bend(value) - low) / (high - low)) * (to - from);
  const positive = decades(Math.log10(bulk), Math.log10(sizes.at(-1) ?? 1) + 0.3, [1]);
  const inside = [0, ...positive, ...positive.map((value) => -value)].filter((value) => bend(value) >= low && bend(value) <= high);
  return { at, ticks: apart(inside, at) };
}

function decades(low, high, factors) {
  const found = [];
  for (let power = Math.floor(low); power <= Math.ceil(high); power++) {
    for (const factor of factors) found.push(Number((factor * 10 ** power).toPrecision(6)));
  }
  return found.filter((value) => Math.log10(value) >= low && Math.log10(value) <= high);
}

/** Those ticks that leave room for their numbers, the earlier ones first. */
function apart(ticks, at, pixels = 20) {
  const kept = [];
  for (const tick of ticks) if (kept.every((other) => Math.abs(at(other) - at(tick)) >= pixels)) kept.push(tick);
  return kept;
}

/** Moving mean over a twentieth of the points, narrower near the ends, so that it lags nowhere. */
function smooth(values) {
  const half = values.length < 20 ? 0 : Math.max(1, Math.floor(values.length / 40));
  return values.map((_, at) => {
    const reach = Math.min(half, at, values.length - 1 - at);
    const known = values.slice(at - reach, at + reach + 1).filter((value) => value !== null);
    return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
  });
}
