"use strict";
// What the other scripts share: the data, making elements, writing numbers, colours, and the state in the hash.

const DATA = JSON.parse(document.getElementById("data").textContent);
const DARK = matchMedia("(prefers-color-scheme: dark)");

/** A new element; texts become text, never markup. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A new element of a drawing, inside `parent`. */
function draw(parent, tag, attributes = {}, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text) element.textContent = text;
  parent.append(element);
  return element;
}

/** A number by so many significant digits; a dash where it was not measured. */
function show(value, digits = 3) {
  if (value === null || value === undefined) return "\u2013";
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value).replace("-", "\u2212");
  const size = Math.abs(value);
  const text = size < 1e-4 || size >= 1e6 ? value.toExponential(digits - 1) : String(Number(value.toPrecision(digits)));
  return text.replace("-", "\u2212");
}

// Lightness rises or falls all the way, so that a scale reads without hue as well.
const RAMPS = {
  entropy: {
    light: ["#fffdf8", "#fde5b8", "#f9b365", "#dd6a2f", "#93301a"],
    dark: ["#1a1e23", "#4b2d22", "#97461f", "#e58332", "#ffdc8f"],
  },
  covariance: {
    light: ["#0b6b5f", "#6dbcae", "#fcfcfb", "#b39ad6", "#54308c"],
    dark: ["#7fe3d0", "#2f7f74", "#1a1e23", "#7153a8", "#d4bcff"],
  },
  time: {
    light: ["#c3d9ec", "#7fb0da", "#3f83c0", "#1c5c9c", "#0c3566"],
    dark: ["#24425f", "#2f6699", "#4a93d1", "#85c1f5", "#d6ebff"],
  },
};

function channels(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

/** The colour at `t` (0 to 1) of a ramp, as [red, green, blue]. */
function colourAt(ramp, t) {
  const stops = RAMPS[ramp][DARK.matches ? "dark" : "light"].map(channels);
  const place = Math.min(Math.max(t, 0), 1) * (stops.length - 1);
  const low = Math.min(Math.floor(place), stops.length - 2);
  return stops[low].map((value, channel) => Math.round(value + (stops[low + 1][channel] - value) * (place - low)));
}

/** Black or white, whichever can be read on the colour: relative luminance as WCAG has it. */
function inkOn(rgb) {
  const [r, g, b] = rgb.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000000" : "#ffffff";
}

const css = (rgb) => `rgb(${rgb.join(", ")})`;

const STATE = { colour: "entropy", step: null, which: "all" };
const CHOICES = { colour: ["entropy", "covariance"], which: ["all", "right", "wrong"] };

/** Takes from the address what it says of the state, as #colour=covariance&step=20. */
function readHash() {
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    if (Object.hasOwn(CHOICES, name) && CHOICES[name].includes(value)) STATE[name] = value;
    if (name === "step" && /^\d+$/.test(value)) STATE.step = Number(value);
  }
}

/** Keeps the state in the address, so that a reload or a copied address shows the same. */
function writeHash() {
  history.replaceState(null, "", `#colour=${STATE.colour}&step=${STATE.step}&which=${STATE.which}`);
}

function speak(text) {
  document.getElementById("spoken").textContent = text;
}
