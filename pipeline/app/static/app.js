import { draw, moveHead, shares, stretches } from "./chart.js";
import { Recorder } from "./recorder.js";

const by = (id) => document.getElementById(id);
const limits = document.body.dataset;

/**
 * As `sernet predict` prints it. Python rounds ties to the even digit and toFixed rounds them up:
 * that differs for x.25, which multiples of 1/256 often are.
 */
function percent(p) {
  const x = 100 * p;
  return `${(x % 1 === 0.25 ? x - 0.05 : x).toFixed(1)}%`;
}

let running = null; // the AbortController of the request under way
let recorder = null;
let shown = null; // the last answer: { seconds, windows }

function fail(message) {
  by("error").textContent = message;
  say("");
  by("progress").hidden = true;
}

/** What a screen reader announces; `seen` is false for what the page shows elsewhere already. */
function say(message, seen = true) {
  by("status").textContent = message;
  by("status").classList.toggle("away", !seen);
}

/** The objects of a response of JSON lines, as they arrive. */
async function* lines(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    yield* parts.map(JSON.parse);
  }
}

function cells(row, values) {
  values.forEach((value, i) => {
    const cell = document.createElement(i ? "td" : "th");
    if (!i) cell.scope = "row";
    cell.textContent = value;
    row.append(cell);
  });
  return row;
}

function showWhole({ label, probabilities, seconds }, name) {
  const inputLen = Number(limits.inputLen);
  const start = Math.max(0, (seconds - inputLen) / 2);
  by("name").textContent = `${name}, ${seconds.toFixed(1)} s`;
  by("label").textContent = label;
  by("middle").textContent =
    seconds > inputLen
      ? `In the middle ${inputLen} s, from ${start.toFixed(1)} to ${(start + inputLen).toFixed(1)} s, as sernet predict hears it.`
      : "In the whole recording, as sernet predict hears it.";
  const ranked = Object.entries(probabilities).sort(([, a], [, b]) => b - a);
  by("bars").replaceChildren(
    ...ranked.map(([each, p]) => {
      const row = cells(document.createElement("tr"), [each, percent(p)]);
      const bar = document.createElement("span");
      bar.className = each === label ? "bar strong" : "bar weak";
      bar.style.width = `${100 * p}%`;
      const cell = document.createElement("td");
      cell.className = "track";
      cell.setAttribute("aria-hidden", "true");
      cell.append(bar);
      row.insertBefore(cell, row.lastChild);
      return row;
    }),
  );
  by("columns").replaceChildren();
  for (const column of ["Window", ...Object.keys(probabilities)]) {
    const head = document.createElement("th");
    head.scope = "col";
    head.textContent = column;
    by("columns").append(head);
  }
  by("rows").replaceChildren();
  by("now").textContent = "";
  by("result").hidden = false;
  say(`${label}, ${percent(probabilities[label])}`, false);
}

function showWindow({ start, end, heard }, labels) {
  const row = cells(document.createElement("tr"), [
    `${start.toFixed(1)}–${end.toFixed(1)} s`,
    ...labels.map((label) => (heard ? percent(heard.probabilities[label]) : "silent")),
  ]);
  if (heard) row.children[1 + labels.indexOf(heard.label)].className = "most";
  by("rows").append(row);
}

function showChart(labels, windows, seconds, complete) {
  const last = windows.at(-1);
  const until = complete ? seconds : (last.start + last.end) / 2;
  const found = shares(windows, until);
  draw(by("chart"), labels, found, seconds);
  by("stretches").textContent = `Most probable: ${stretches(found)}.`;
  shown = { seconds, windows: found };
}

function showProgress(done, all, since) {
  by("progress").hidden = done === all;
  by("done").max = all;
  by("done").value = done;
  const left = done ? Math.ceil((((performance.now() - since) / done) * (all - done)) / 1000) : null;
  by("left").textContent = `${done} of ${all} windows${left ? `, about ${left} s left` : ""}`;
}

async function problem(response) {
  const answer = await response.json().catch(() => null);
  return answer?.error ?? `The server answered ${response.status}; the terminal that it runs in says more.`;
}

async function listen(recording, name, signal) {
  const response = await fetch("/classify", { method: "POST", body: recording, signal });
  if (!response.ok) {
    const message = await problem(response);
    if (!signal.aborted) fail(`${name}: ${message}`);
    return;
  }
  const answers = lines(response);
  const { value: whole } = await answers.next();
  const labels = Object.keys(whole.probabilities);
  showWhole(whole, name);
  const windows = [];
  const since = performance.now();
  showProgress(0, whole.windows, since);
  for await (const window of answers) {
    windows.push(window);
    showWindow(window, labels);
    showChart(labels, windows, whole.seconds, windows.length === whole.windows);
    showProgress(windows.length, whole.windows, since);
  }
  if (windows.length < whole.windows) fail(`${name}: the server stopped before the end; the terminal that it runs in says why.`);
}

/** Ask for `recording`, a Blob; what was under way is dropped. */
async function classify(recording, name) {
  running?.abort();
  const own = new AbortController();
  running = own;
  by("error").textContent = "";
  by("result").hidden = true;
  by("progress").hidden = true;
  by("chart").replaceChildren();
  shown = null;
  const player = by("player");
  if (player.src) URL.revokeObjectURL(player.src);
  // The server has the same limit; said here, 20 MB need not be sent to be refused.
  if (recording.size > Number(limits.maxBytes)) {
    fail(`${name}: over the limit of ${Number(limits.maxBytes).toLocaleString("en")} bytes: cut it`);
    return;
  }
  player.src = URL.createObjectURL(recording);
  say(`Listening to ${name} …`);
  try {
    await listen(recording, name, own.signal);
  } catch (error) {
    if (own.signal.aborted) return;
    fail(`${name}: no answer from the server (${error.message}); is sernet app still running?`);
  }
}

function showRecording(on) {
  by("recording").hidden = !on;
  by("record").textContent = on ? "Stop and listen" : "Record";
  by("record").classList.toggle("on", on);
}

function stopRecording() {
  const done = recorder;
  recorder = null;
  showRecording(false);
  classify(done.stop(), "your recording");
}

async function startRecording() {
  by("error").textContent = "";
  by("record").disabled = true;
  try {
    recorder = await Recorder.start((seconds, level) => {
      by("clock").textContent = `${seconds.toFixed(1)} s`;
      by("level").value = level;
      if (recorder && seconds >= Number(limits.recordingSeconds)) stopRecording();
    });
    showRecording(true);
    say("Recording");
  } catch (error) {
    fail(
      error.name === "NotAllowedError"
        ? "The browser does not let this page use the microphone: allow it, or choose a file."
        : `No microphone (${error.message}): connect one, or choose a file.`,
    );
  } finally {
    by("record").disabled = false;
  }
}

by("record").addEventListener("click", () => (recorder ? stopRecording() : startRecording()));
by("file").addEventListener("change", ({ target }) => {
  if (target.files.length) classify(target.files[0], target.files[0].name);
  target.value = ""; // so that the same file can be chosen again
});

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  by("drop").classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) by("drop").classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  by("drop").classList.remove("over");
  const { files } = event.dataTransfer;
  if (files.length === 1) classify(files[0], files[0].name);
  else fail(`${files.length} files were dropped, expected one`);
});

by("player").addEventListener("timeupdate", ({ target }) => {
  if (!shown) return;
  const second = target.currentTime;
  moveHead(by("chart"), second, shown.seconds);
  const here = shown.windows.find(({ from, to }) => second >= from && second <= to);
  if (!here) return;
  const { label, probabilities } = here.heard ?? { label: "silence" };
  by("now").textContent = `At ${second.toFixed(1)} s: ${label}${probabilities ? `, ${percent(probabilities[label])}` : ""}`;
});
