// The recorded responses: one step at a time, every token coloured, its numbers told on pointing.

const ROLLOUTS = DATA.rollouts;

/** The colour of a token, by what is asked for; null where it was not measured. */
function tokenColour(response, n) {
  const value = response[STATE.colour][n];
  if (value === null) return null;
  return colourAt(STATE.colour, toScale(value));
}

/** From nats to 0..1: entropies straight, covariances by the root of their size, for most are tiny. */
function toScale(value) {
  const high = ROLLOUTS.scales[STATE.colour];
  if (STATE.colour === "entropy") return value / high;
  return 0.5 + 0.5 * Math.sign(value) * Math.sqrt(Math.min(Math.abs(value) / high, 1));
}

function fromScale(t) {
  const high = ROLLOUTS.scales[STATE.colour];
  return STATE.colour === "entropy" ? t * high : Math.sign(t - 0.5) * (2 * t - 1) ** 2 * high;
}

function paint(token, response, n) {
  const rgb = tokenColour(response, n);
  token.style.backgroundColor = rgb ? css(rgb) : "transparent";
  token.style.color = rgb ? inkOn(rgb) : "inherit";
}

function describe(response, n) {
  const [id, text] = ROLLOUTS.tokens[response.tokens[n]];
  const logp = response.logp[n];
  return [
    ["token", `${JSON.stringify(text)} (id ${id}, ${n + 1} of ${response.tokens.length})`],
    ["entropy", `${show(response.entropy[n])} nats`],
    ["logp", logp === null ? show(logp) : `${show(logp)} (p = ${show(Math.exp(logp))})`],
    ["covariance", `${show(response.covariance[n])} nats`],
    ["", response.selected.includes(n) ? "treated apart by the objective" : ""],
  ].filter(([, value]) => value);
}

function tell(response, n) {
  const facts = describe(response, n);
  const line = document.getElementById("token-facts");
  line.replaceChildren(...facts.flatMap(([name, value]) => [name ? `${name} ` : "", make("b", {}, value), "\u2002 "]));
  return facts.map((fact) => fact.join(" ")).join(", ");
}

function responseCard(response) {
  const mean = (values) => {
    const known = values.filter((value) => value !== null);
    return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
  };
  const head = make("div", { class: "response-head" });
  head.append(make("span", { class: `badge ${response.correct ? "ok" : "fail"}` }, response.correct ? "\u2713 right" : "\u2715 wrong"));
  const facts = {
    reward: show(response.reward),
    advantage: show(response.advantage),
    tokens: response.tokens.length,
    "mean entropy": show(mean(response.entropy)),
    ...(ROLLOUTS.selects ? { selected: response.selected.length } : {}),
    prompt: response.promptId,
    sample: response.sample,
    update: response.update + 1,
  };
  for (const [name, value] of Object.entries(facts)) head.append(make("span", {}, `${name} `, make("b", {}, String(value))));
  for (const flag of ["truncated", "stale"]) if (response[flag]) head.append(make("span", { class: "badge warn" }, flag));
  const text = make("div", { class: "text tokens", tabindex: 0, role: "group", "aria-label": "Response; arrow keys walk through its tokens" });
  const selected = new Set(response.selected);
  response.tokens.forEach((place, n) => {
    const token = make("span", { class: selected.has(n) ? "token selected" : "token" });
    // Ends of lines stay outside, or the outline of a token would go on in the next line.
    const [, inside, ends] = /^([^]*?)(\n*)$/.exec(ROLLOUTS.tokens[place][1]);
    token.textContent = inside;
    paint(token, response, n);
    text.append(token, ends);
  });
  walkable(text, response);
  return make("li", {}, head, make("div", { class: "text prompt", tabindex: 0, role: "group", "aria-label": "Prompt" }, response.prompt), text);
}

/** Pointer and arrow keys choose a token, whose numbers are then told. */
function walkable(text, response) {
  let current = -1;
  const choose = (n) => {
    text.children[current]?.classList.remove("current");
    current = n;
    text.children[n]?.classList.add("current");
    return n >= 0 ? tell(response, n) : "";
  };
  text.addEventListener("pointerover", (event) => {
    const n = [...text.children].indexOf(event.target);
    if (n >= 0) choose(n);
  });
  text.addEventListener("pointerleave", () => choose(-1));
  text.addEventListener("blur", () => choose(-1));
  text.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -10, ArrowDown: 10, Home: -Infinity, End: Infinity }[event.key];
    if (move === undefined) return;
    event.preventDefault();
    speak(choose(Math.min(Math.max(current + move, 0), text.children.length - 1)));
  });
}

const MEANINGS = {
  entropy: "the stronger the colour, the more uncertain the policy was",
  covariance: "purple lowers the entropy, green raises it",
};

function showScale() {
  const stops = Array.from({ length: 21 }, (_, n) => css(colourAt(STATE.colour, n / 20)));
  const bar = make("div", { class: "bar" });
  bar.style.background = `linear-gradient(to right, ${stops.join(", ")})`;
  const marks = [0, 0.25, 0.5, 0.75, 1].map((t) => make("span", {}, show(fromScale(t), 2)));
  marks[0].prepend(STATE.colour === "covariance" ? "\u2264 " : "");
  marks.at(-1).prepend("\u2265 ");
  marks.at(-1).append(" nats");
  document.getElementById("meaning").textContent = MEANINGS[STATE.colour];
  document.getElementById("scale").replaceChildren(bar, make("div", { class: "marks" }, ...marks));
}

function showRollouts() {
  const steps = ROLLOUTS.steps.map((entry) => entry.step);
  const place = nearest(steps, STATE.step ?? steps.at(-1));
  STATE.step = steps[place];
  for (const name of ["colour", "which"]) document.querySelector(`input[name=${name}][value=${STATE[name]}]`).checked = true;
  const slider = document.getElementById("step");
  slider.max = steps.length - 1;
  slider.value = place;
  slider.setAttribute("aria-valuetext", `step ${STATE.step}`);
  document.getElementById("step-number").textContent = STATE.step;
  document.getElementById("earlier").disabled = place === 0;
  document.getElementById("later").disabled = place === steps.length - 1;
  showScale();
  const wanted = { all: () => true, right: (response) => response.correct, wrong: (response) => !response.correct }[STATE.which];
  const cards = ROLLOUTS.steps[place].responses.filter(wanted).map(responseCard);
  if (!cards.length) cards.push(make("li", {}, `No ${STATE.which} response was recorded at this step.`));
  const list = document.getElementById("responses");
  const isShort = ({ tokens, prompt }) => tokens.length <= 30 && prompt.length <= 60;
  list.classList.toggle("short", ROLLOUTS.steps[place].responses.every(isShort));
  list.replaceChildren(...cards);
}

function startRollouts() {
  const change = (changes) => {
    Object.assign(STATE, changes);
    showRollouts();
    writeHash();
  };
  const stepAt = (place) => ROLLOUTS.steps[Math.min(Math.max(place, 0), ROLLOUTS.steps.length - 1)].step;
  const slider = document.getElementById("step");
  slider.addEventListener("input", () => change({ step: stepAt(Number(slider.value)) }));
  document.getElementById("earlier").addEventListener("click", () => change({ step: stepAt(Number(slider.value) - 1) }));
  document.getElementById("later").addEventListener("click", () => change({ step: stepAt(Number(slider.value) + 1) }));
  for (const name of ["colour", "which"]) {
    for (const radio of document.querySelectorAll(`input[name=${name}]`)) radio.addEventListener("change", () => change({ [name]: radio.value }));
  }
  document.addEventListener("rollouts", (event) => {
    change({ step: event.detail });
    document.getElementById("rollouts").scrollIntoView();
  });
  addEventListener("hashchange", () => {
    readHash();
    showRollouts();
  });
  DARK.addEventListener("change", showRollouts);
  showRollouts();
}

readHash();
drawCharts();
if (ROLLOUTS) startRollouts();
