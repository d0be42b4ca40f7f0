/* The network in parts that run as frames arrive, with line buffers between them. */
#ifndef SERNET_STREAM_H_
#define SERNET_STREAM_H_

#include "sernet_config.h"
#include "sernet_stream_plan.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What runs the parts, 0 to SERNET_STREAM_PARTS - 1, and the head, SERNET_STREAM_PARTS. Parts run
 * one at a time, so their activations may share memory: what `input` gives is filled and used before
 * the next part is asked for. */
typedef struct {
  int8_t *(*input)(void *context, uint32_t part, uint32_t input); /* where an input is taken from */
  const int8_t *(*invoke)(void *context, uint32_t part);          /* its output; NULL: it failed */
  void *context;
} sernet_runtime;

typedef struct {
  const sernet_runtime *runtime;
  uint32_t written[SERNET_STREAM_LINES]; /* rows that have arrived */
  uint32_t steps[SERNET_STREAM_PARTS];   /* that have run */
  int32_t sums[SERNET_STREAM_CHANNELS];  /* over all that reached the average */
  int8_t rows[SERNET_STREAM_ROW_BYTES];  /* of all line buffers, each a ring */
} sernet_stream;

/* Begin a clip. */
void sernet_stream_start(sernet_stream *s, const sernet_runtime *runtime);

/* Take a frame and run all that it makes possible. SERNET_FAILED: a part did not run, or the clip
 * has all its frames. */
sernet_status sernet_stream_frame(sernet_stream *s, const int8_t row[SERNET_BINS]);

/* The network's output for what has been heard; after the last frame that of the whole clip.
 * SERNET_TOO_EARLY: no row has reached the average yet. */
sernet_status sernet_stream_result(sernet_stream *s, int8_t output[SERNET_CLASSES]);

#ifdef __cplusplus
}
#endif

#endif
