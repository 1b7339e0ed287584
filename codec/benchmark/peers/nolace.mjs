// Decode Opus packets with libopus's neural enhancer NoLACE:
//
//     node nolace.mjs PACKAGE PACKETS CHANNELS
//
// PACKAGE: folder of @wasm-audio-decoders/opus-ml. PACKETS: file of packets, each after its length
// as a uint32, little-endian. Writes 48 kHz float32 samples of the first channel, little-endian,
// with the pre-skip, to stdout.
import { readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [folder, source, channels] = process.argv.slice(2);
const { OpusMLDecoder } = await import(pathToFileURL(join(folder, "index.js")));

const data = readFileSync(source);
const packets = [];
for (let at = 0; at < data.length; ) {
  const start = at + 4;
  at = start + data.readUInt32LE(at);
  packets.push(new Uint8Array(data.subarray(start, at)));
}

const decoder = new OpusMLDecoder({
  channels: Number(channels),
  sampleRate: 48000,
  speechQualityEnhancement: "nolace",
});
await decoder.ready;
const { channelData, errors } = decoder.decodeFrames(packets);
if (errors.length) throw new Error(errors[0].message);

const samples = Buffer.alloc(4 * channelData[0].length);
channelData[0].forEach((value, index) => samples.writeFloatLE(value, 4 * index));
for (let at = 0; at < samples.length; ) at += writeSync(1, samples, at);
