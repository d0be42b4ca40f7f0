/** Runs in the audio thread: hands on what the microphone gives, a copy of each block. */
class Tap extends AudioWorkletProcessor {
  process([[block]]) {
    if (block) this.port.postMessage(block.slice());
    return true;
  }
}

registerProcessor("tap", Tap);
