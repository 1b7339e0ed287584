// The page: microphone to WebSocket, WebSocket to loudspeaker, and what happens in between.

const RATE = 24000; // of the model; a browser that cannot record at it sends its own

const find = (id) => document.getElementById(id);
const NAMES = {
  off: "Not connected",
  listening: "Listening",
  hearing: "Hearing you",
  thinking: "Thinking",
  speaking: "Speaking",
  interrupted: "Interrupted: go on",
};
const COUNTERS = { "turn ended": "turns", "reply began": "replies", "reply interrupted": "interruptions" };
const MOST_EVENTS = 200;

let talk = null; // what is open between Start and Stop

function show(state) {
  document.body.dataset.state = state;
  find("now").textContent = NAMES[state];
  for (const item of find("states").children) {
    if (item.dataset.state === state) item.setAttribute("aria-current", "true");
    else item.removeAttribute("aria-current");
  }
}

function complain(text) {
  find("problem").textContent = text;
  find("problem").hidden = !text;
}

/** The level of int16 samples in dBFS, -60 at least. */
function level(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const rms = Math.sqrt(sum / Math.max(1, samples.length)) / 32768;
  return Math.max(-60, 20 * Math.log10(rms + 1e-9));
}

/** Shows a level that falls slowly, as meters do. */
function meter(id, samples) {
  find(id).value = Math.max(level(samples), find(id).value - 2);
}

function list(seconds, text) {
  const item = document.createElement("li");
  const time = document.createElement("time");
  time.textContent = `${seconds.toFixed(2)} s`;
  item.append(time, text);
  find("events").append(item);
  if (find("events").childElementCount > MOST_EVENTS) find("events").firstElementChild.remove();
  find("events").scrollTop = find("events").scrollHeight;
}

function happened(event) {
  if (event.kind === "ready") {
    show("listening");
    return;
  }
  const counter = COUNTERS[event.kind];
  if (counter) find(counter).textContent = Number(find(counter).textContent) + 1;
  find("late").textContent = event.late;
  list(event.seconds, event.error ? `${event.kind}: ${event.error}` : event.kind);
  // "Interrupted" lasts for the turn that interrupts.
  if (event.kind === "reply interrupted") talk.interrupted = true;
  if (event.kind === "turn ended" || event.kind === "turn dropped") talk.interrupted = false;
  show(talk.interrupted ? "interrupted" : event.state);
}

/** Opens the microphone at the model's rate, or, where the browser refuses, at its own. */
async function openMicrophone() {
  const stream = await navigator.mediaDevices.getUserMedia({
    audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true },
  });
  try {
    const context = new AudioContext({ sampleRate: RATE, latencyHint: "interactive" });
    return { stream, context, source: context.createMediaStreamSource(stream) };
  } catch {
    const context = new AudioContext({ latencyHint: "interactive" });
    return { stream, context, source: context.createMediaStreamSource(stream) };
  }
}

async function start() {
  complain("");
  if (!navigator.mediaDevices) {
    complain("The browser gives the microphone only to https pages and to localhost.");
    return;
  }
  find("start").disabled = true;
  try {
    const { stream, context, source } = await openMicrophone();
    talk = { stream, context, interrupted: false };
    await context.audioWorklet.addModule("worklets.js");
    const capture = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
    const playback = new AudioWorkletNode(context, "playback", { outputChannelCount: [1] });
    playback.connect(context.destination);
    const address = new URL(`talk?rate=${context.sampleRate}`, location.href);
    address.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(address);
    socket.binaryType = "arraybuffer";
    talk.socket = socket;
    socket.onopen = () => source.connect(capture);
    socket.onclose = ({ code, reason }) => {
      if (talk?.socket === socket) stop();
      if (code !== 1000) complain(reason || "The server has closed the connection.");
    };
    socket.onmessage = ({ data }) => {
      if (typeof data === "string") happened(JSON.parse(data));
      else {
        meter("reply", new Int16Array(data));
        playback.port.postMessage(data, [data]);
      }
    };
    capture.port.onmessage = ({ data }) => {
      meter("you", new Int16Array(data));
      if (socket.readyState === WebSocket.OPEN) socket.send(data);
    };
    playback.port.onmessage = ({ data }) => {
      find("buffer").textContent = Math.round(1000 * data);
    };
    find("start").textContent = "Stop";
  } catch (error) {
    stop();
    complain(
      error.name === "NotAllowedError"
        ? "The page may not use the microphone. Allow it in the browser, then start again."
        : error.message,
    );
  }
  find("start").disabled = false;
}

function stop() {
  const open = talk;
  talk = null;
  open?.stream.getTracks().forEach((track) => track.stop());
  open?.context.close();
  open?.socket?.close(1000);
  find("start").textContent = "Start";
  for (const id of ["you", "reply"]) find(id).value = -60;
  show("off");
}

find("start").addEventListener("click", () => (talk ? stop() : start()));
show("off");
