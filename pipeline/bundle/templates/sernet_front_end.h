/* Samples from the microphone to the network's int8 input, in one of two ways.
 *
 * whole: the clip's samples are kept (2 bytes each); the level is that of the clip. This is what the
 * network was trained on.
 *
 * arriving: no samples are kept but those of one frame. Frames are computed as samples arrive, limited
 * at the level of what has been heard up to their end. Otherwise the level only changes the first
 * SERNET_LEVELLED features of a frame (coefficient 0 of MFCC, all of log-mel), which are corrected: at
 * the end by the clip's level (deferred), or at once by the level so far (running). */
#ifndef SERNET_FRONT_END_H_
#define SERNET_FRONT_END_H_

#include "sernet_config.h"
#include "sernet_level.h"
#include "sernet_frame.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A feature as the network takes it: to the nearest step, halves away from zero, limited. */
int8_t sernet_quantize(float feature);

typedef struct {
  sernet_frame frame;
  sernet_level level;
  const int16_t *audio;
  uint32_t n;
  uint32_t left; /* zeros before the clip */
  float gain;
} sernet_whole;

/* Begin with a recording of `n` samples, which has to stay where it is. A longer one than
 * SERNET_SAMPLES is cut around its centre, a shorter one padded on both sides.
 * SERNET_SILENCE: the level is 0, or below SERNET_LEAST_LEVEL. */
sernet_status sernet_whole_start(sernet_whole *w, const int16_t *audio, uint32_t n);

/* Features of a frame, 0 <= frame < SERNET_FRAMES, in any order. */
void sernet_whole_features(sernet_whole *w, uint32_t frame, float features[SERNET_BINS]);

/* The same as a row of the network's input. */
void sernet_whole_row(sernet_whole *w, uint32_t frame, int8_t row[SERNET_BINS]);

/* Takes a complete row of the network's input. */
typedef void (*sernet_row_taker)(void *context, const int8_t row[SERNET_BINS]);

typedef struct {
  sernet_frame frame;
  sernet_level level;
  int8_t *input;         /* deferred: all rows */
  float *late;           /* deferred: what the level changes of each frame, before correction */
  sernet_row_taker take; /* running: where each row goes */
  void *context;         /* of `take` */
  uint32_t skip;         /* samples to pass over before the clip */
  uint32_t wanted;       /* samples of the clip that are still to come */
  uint32_t filled;       /* of `history` */
  uint32_t frames;       /* computed so far */
  int16_t history[SERNET_N_FFT];
} sernet_arriving;

/* Begin a clip of which `n` samples will come: SERNET_SAMPLES, unless it is known to be shorter or
 * longer. `input` takes the rows, SERNET_FRAMES x SERNET_BINS: the network's input tensor, say.
 * They are complete after sernet_arriving_finish. `late`
 * is working memory of SERNET_LATE floats. */
sernet_status sernet_deferred_start(sernet_arriving *a, int8_t *input, float *late, uint32_t n);

/* The same, but each row is complete at once, and goes to `take`. */
sernet_status sernet_running_start(sernet_arriving *a, sernet_row_taker take, void *context,
                                   uint32_t n);

/* Hear `n` samples, any number at a time. The number of frames computed so far. */
uint32_t sernet_arriving_hear(sernet_arriving *a, const int16_t *samples, uint32_t n);

/* Complete the clip: frames that lack samples get zeros. SERNET_SILENCE: the level is 0, or below
 * SERNET_LEAST_LEVEL. */
sernet_status sernet_arriving_finish(sernet_arriving *a);

#ifdef __cplusplus
}
#endif

#endif
