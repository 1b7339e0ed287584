"use strict";

/** An element with attributes; children are text or elements, never HTML. */
function make(tag, attributes, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

let audioContext = null;
function context() {
  audioContext = audioContext || new AudioContext();
  return audioContext;
}

function bytesOf(uri) {
  const text = atob(uri.slice(uri.indexOf(",") + 1));
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes.buffer;
}

const decoded = new WeakMap();

/** The samples of a condition, decoded once for all that play it. */
function decode(condition) {
  if (!decoded.has(condition))
    decoded.set(condition, context().decodeAudioData(bytesOf(condition.audio)));
  return decoded.get(condition);
}

const FADE = 0.004; // seconds: time constant of every change of gain, so that none clicks

/** All conditions of a clip, playing together; one of them is heard. So a change of what is heard
 * is a change of gains, at the same instant of the audio. */
class Ensemble {
  static playing = null;
  static wanted = null; // what was asked for last: it may still be decoding

  constructor(conditions, matched) {
    this.conditions = conditions;
    this.matched = matched;
    this.heard = 0;
    this.offset = 0;
    this.loop = false;
    this.buffers = null;
    this.voices = null;
    this.onchange = () => {};
  }

  async load() {
    this.buffers = await Promise.all(this.conditions.map(decode));
    // All loop over the same stretch: else one that is a sample longer would fall behind.
    this.duration = Math.min(...this.buffers.map((buffer) => buffer.duration));
  }

  get position() {
    if (!this.voices) return this.offset;
    const at = this.offset + context().currentTime - this.started;
    return this.loop ? at % this.duration : Math.min(at, this.duration);
  }

  get isWanted() { return Ensemble.wanted !== null && Ensemble.wanted.ensemble === this; }

  async play() {
    const wanted = Ensemble.wanted = { ensemble: this };
    await this.load();
    await context().resume();
    // Meanwhile it may have been paused, or another asked for.
    if (Ensemble.wanted !== wanted || this.voices) return;
    if (Ensemble.playing) Ensemble.playing.pause();
    Ensemble.playing = this;
    if (this.offset >= this.duration - 0.01) this.offset = 0;
    this.started = context().currentTime + 0.02;
    this.voices = this.buffers.map((buffer, i) => {
      const source = new AudioBufferSourceNode(context(), {
        buffer, loop: this.loop, loopStart: 0, loopEnd: this.duration,
      });
      const gain = new GainNode(context(), { gain: 0 });
      gain.gain.setTargetAtTime(this.gainOf(i), this.started, FADE);
      source.connect(gain).connect(context().destination);
      source.start(this.started, this.offset);
      return { source, gain };
    });
    const voices = this.voices;
    voices[0].source.onended = () => {
      if (this.voices === voices) { this.stop(); this.offset = 0; this.onchange(); }
    };
    this.onchange();
  }

  stop() {
    if (this.isWanted) Ensemble.wanted = null;
    if (!this.voices) return;
    const voices = this.voices, now = context().currentTime;
    this.voices = null;
    for (const { source, gain } of voices) {
      gain.gain.cancelScheduledValues(now);
      gain.gain.setTargetAtTime(0, now, FADE);
      source.stop(now + 6 * FADE);
    }
    if (Ensemble.playing === this) Ensemble.playing = null;
  }

  pause() {
    const at = Math.max(0, this.position);
    this.stop();
    this.offset = at;
    this.onchange();
  }

  async toggle() { if (this.voices || this.isWanted) this.pause(); else await this.play(); }

  async seek(seconds) {
    const was = Boolean(this.voices) || this.isWanted;
    this.stop();
    this.offset = Math.max(0, Math.min(seconds, this.duration || seconds));
    if (was) await this.play();
    this.onchange();
  }

  async setLoop(loop) {
    const at = this.position;
    this.loop = loop;
    if (this.voices) await this.seek(at);
    this.onchange();
  }

  gainOf(i) {
    return i === this.heard ? (this.matched ? this.conditions[i].gain : 1) : 0;
  }

  choose(i) {
    this.heard = i;
    if (this.voices) {
      // Not before the start, whose own change of gain would undo this one.
      const time = Math.max(context().currentTime, this.started);
      this.voices.forEach(({ gain }, k) => gain.gain.setTargetAtTime(this.gainOf(k), time, FADE));
    }
    this.onchange();
  }
}

function clock(seconds) {
  return seconds.toFixed(1) + " s";
}

/** Play button, position and loop of an ensemble; `update` is called on every frame it plays. */
function transport(ensemble, seconds, update) {
  const play = make("button", { type: "button", class: "main play", onclick: () => ensemble.toggle() }, "Play");
  const seek = make("input", {
    type: "range", min: 0, max: seconds, step: 0.01, value: 0, "aria-label": "Position in seconds",
    oninput: () => ensemble.seek(Number(seek.value)),
  });
  const loop = make("button", {
    type: "button", class: "loop", "aria-pressed": String(ensemble.loop), onclick: () => ensemble.setLoop(!ensemble.loop),
  }, "Loop");
  const time = make("span", { class: "soft" }, clock(0));
  const show = () => {
    const at = Math.max(0, ensemble.position);
    play.textContent = ensemble.voices ? "Pause" : "Play";
    loop.setAttribute("aria-pressed", String(ensemble.loop));
    seek.value = at;
    time.textContent = clock(at);
    update(at);
    if (ensemble.voices) requestAnimationFrame(show);
  };
  ensemble.onchange = show;
  return make("div", { class: "row" }, play, loop, make("span", { class: "seek" }, seek), time);
}

/** Buttons of which one is chosen, as radio buttons are: one tab stop, arrows move. */
function radios(label, names, choose) {
  const buttons = names.map((name, i) => make("button", {
    type: "button", role: "radio", "aria-checked": "false", tabindex: -1, onclick: () => choose(i),
  }, ...name));
  const group = make("div", { class: "conditions", role: "radiogroup", "aria-label": label }, ...buttons);
  group.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const at = buttons.findIndex((b) => b.getAttribute("aria-checked") === "true");
    const next = (at + step + buttons.length) % buttons.length;
    choose(next);
    buttons[next].focus();
  });
  group.show = (chosen) => buttons.forEach((button, i) => {
    button.setAttribute("aria-checked", String(i === chosen));
    button.tabIndex = i === chosen ? 0 : -1;
  });
  group.show(0);
  return group;
}

/** Keys of a player while it has the focus. names: the key of each condition. */
function keys(element, ensemble, choose, count, names = "o1234567890") {
  element.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const range = event.target.matches("input, select");
    const named = event.key.length === 1 ? names.indexOf(event.key) : -1;
    if (event.key === " " && !event.target.matches("button:not(.play):not([role=radio]), select")) {
      if (!event.repeat) ensemble.toggle();
    } else if (event.key === "ArrowLeft" && !range) ensemble.seek(ensemble.position - 1);
    else if (event.key === "ArrowRight" && !range) ensemble.seek(ensemble.position + 1);
    else if (named >= 0 && named < count) choose(named);
    else if (event.key === "l") ensemble.setLoop(!ensemble.loop);
    else return;
    event.preventDefault();
  });
  // Some browsers press a button when the space bar comes up, whatever it did when it went down.
  element.addEventListener("keyup", (event) => {
    if (event.key === " " && event.target.matches(".play, [role=radio]")) event.preventDefault();
  });
}
