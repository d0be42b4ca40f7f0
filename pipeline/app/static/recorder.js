import { encode } from "./wav.js";

/**
 * Records the microphone as PCM at the device's own rate: what MediaRecorder writes, libsndfile
 * cannot read.
 */
export class Recorder {
  /** `onBlock(seconds, level)`: what is recorded so far, and the peak of the last block. */
  static async start(onBlock) {
    const stream = await navigator.mediaDevices.getUserMedia({
      // The corpora's recordings went through none of these.
      audio: { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false },
    });
    const recorder = new Recorder(stream, onBlock);
    try {
      await recorder.#connect();
    } catch (problem) {
      recorder.#close();
      throw problem;
    }
    return recorder;
  }

  #stream;
  #onBlock;
  #context = new AudioContext();
  #blocks = [];
  #length = 0;

  constructor(stream, onBlock) {
    this.#stream = stream;
    this.#onBlock = onBlock;
  }

  async #connect() {
    await this.#context.audioWorklet.addModule("/static/tap.js");
    const tap = new AudioWorkletNode(this.#context, "tap", { numberOfOutputs: 0 });
    tap.port.onmessage = ({ data }) => {
      this.#blocks.push(data);
      this.#length += data.length;
      const level = data.reduce((most, y) => Math.max(most, Math.abs(y)), 0);
      this.#onBlock(this.#length / this.#context.sampleRate, level);
    };
    this.#context.createMediaStreamSource(this.#stream).connect(tap);
  }

  #close() {
    this.#stream.getTracks().forEach((track) => track.stop());
    this.#context.close();
  }

  /** What was recorded, as a wav file; the microphone is let go. */
  stop() {
    this.#close();
    const samples = new Float32Array(this.#length);
    let offset = 0;
    for (const block of this.#blocks) {
      samples.set(block, offset);
      offset += block.length;
    }
    return encode(samples, this.#context.sampleRate);
  }
}
