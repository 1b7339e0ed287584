// Both ends of the sound card, on its own thread.

const BLOCK = 480; // samples in a message: 20 ms at 24 kHz

/** Posts the microphone's first channel as Int16Array blocks. */
class Capture extends AudioWorkletProcessor {
  block = new Int16Array(BLOCK);
  filled = 0;

  process([input]) {
    for (const sample of input[0] ?? []) {
      this.block[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
      if (this.filled === BLOCK) {
        this.port.postMessage(this.block.buffer, [this.block.buffer]);
        this.block = new Int16Array(BLOCK);
        this.filled = 0;
      }
    }
    return true;
  }
}

/**
 * Plays the blocks that it is sent. It begins when 60 ms have come, so that a message may be late by
 * as much. What gathers beyond 100 ms is dropped where it is silent, and beyond 300 ms anyway: the
 * delay cannot grow.
 */
class Playback extends AudioWorkletProcessor {
  blocks = [];
  place = 0; // in the first block
  ready = 0; // samples
  playing = false;

  constructor() {
    super();
    this.port.onmessage = ({ data }) => {
      const block = new Int16Array(data);
      this.blocks.push(block);
      this.ready += block.length;
      while (this.ready > 0.1 * sampleRate && this.blocks[0].every((sample) => sample === 0)) {
        this.dropFirst();
      }
      while (this.ready > 0.3 * sampleRate) this.dropFirst();
      if (this.ready >= 0.06 * sampleRate) this.playing = true;
      this.port.postMessage(this.ready / sampleRate);
    };
  }

  dropFirst() {
    this.ready -= this.blocks[0].length - this.place;
    this.blocks.shift();
    this.place = 0;
  }

  process(inputs, [output]) {
    for (let i = 0; this.playing && i < output[0].length; i++) {
      if (!this.blocks.length) {
        this.playing = false;
        break;
      }
      output[0][i] = this.blocks[0][this.place++] / 32768;
      this.ready--;
      if (this.place === this.blocks[0].length) this.dropFirst();
    }
    return true;
  }
}

registerProcessor("capture", Capture);
registerProcessor("playback", Playback);
