const SVG = "http://www.w3.org/2000/svg";

/**
 * Each moment of the recording belongs to the window whose middle is nearest; the first and the
 * last window reach to the recording's ends.
 */
export function shares(windows, seconds) {
  const middle = ({ start, end }) => (start + end) / 2;
  return windows.map((window, i) => ({
    ...window,
    from: i === 0 ? 0 : (middle(windows[i - 1]) + middle(window)) / 2,
    to: i === windows.length - 1 ? seconds : (middle(window) + middle(windows[i + 1])) / 2,
  }));
}

/** The most probable class over time, in words. */
export function stretches(shares) {
  const joined = [];
  for (const { from, to, heard } of shares) {
    const label = heard ? heard.label : "silence";
    const last = joined.at(-1);
    if (last && last.label === label) last.to = to;
    else joined.push({ label, from, to });
  }
  return joined.map(({ label, from, to }) => `${label} from ${from.toFixed(1)} to ${to.toFixed(1)} s`).join(", ");
}

function element(name, className, text = "") {
  const made = document.createElement(name);
  made.className = className;
  made.textContent = text;
  return made;
}

/** Steps of a class as an outline in a box of `seconds` by 1, where `taken` says yes. */
function outline(shares, label, taken) {
  const step = ({ from, to, heard }) => {
    const top = 1 - heard.probabilities[label];
    return `M${from} 1V${top}H${to}V1Z`;
  };
  return shares.filter(({ heard }) => heard && taken(heard)).map(step).join("");
}

function row(shares, seconds, label) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${seconds} 1`);
  svg.setAttribute("preserveAspectRatio", "none");
  for (const [name, taken] of [
    ["weak", (heard) => heard.label !== label],
    ["strong", (heard) => heard.label === label],
  ]) {
    const path = document.createElementNS(SVG, "path");
    path.setAttribute("class", name);
    path.setAttribute("d", outline(shares, label, taken));
    svg.append(path);
  }
  return svg;
}

/** Ticks at round seconds, about six of them. */
function axis(seconds) {
  const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60].find((s) => seconds / s <= 6.5) ?? 60;
  const line = element("div", "axis");
  for (let i = 0; i * step <= seconds; i += 1) {
    // The last one is written to the left of its line, where there is room.
    const late = i * step > 0.9 * seconds;
    const tick = element("span", late ? "tick late" : "tick", `${Number((i * step).toFixed(1))} s`);
    tick.style.left = `${(100 * i * step) / seconds}%`;
    line.append(tick);
  }
  return line;
}

/** A row per class and an axis, in place of what `chart` holds. */
export function draw(chart, labels, shares, seconds) {
  const rows = labels.flatMap((label) => [
    element("span", "class", label),
    row(shares, seconds, label),
  ]);
  const head = element("div", "head");
  head.hidden = true;
  chart.replaceChildren(...rows, axis(seconds), head);
}

/** Where the playback stands. */
export function moveHead(chart, second, seconds) {
  const head = chart.querySelector(".head");
  if (!head) return;
  head.hidden = false;
  head.style.setProperty("--at", Math.min(1, second / seconds));
}
