/* The front end against the golden clips, on a computer:
 *   cc -std=c99 -O2 host_test.c sernet_front_end.c sernet_level.c sernet_frame.c sernet_tables.c \
 *      sernet_golden.c sernet_golden_audio.c -lm -o host_test && ./host_test
 * Prints what differs; exit status 1 when one is off. */
#include <math.h>
#include <stdio.h>

#include "sernet_front_end.h"
#include "sernet_golden.h"

/* The pipeline computes in another order and partly in 64 bits. */
#define FEATURE_TOLERANCE 1e-3f
#define STEP_TOLERANCE 1 /* of int8, where a value lies half-way between two steps */
#define VALUES (SERNET_FRAMES * SERNET_BINS)

static sernet_whole whole;
static sernet_arriving arriving;
static float features[VALUES];
static int8_t input[VALUES];
static float late[SERNET_LATE > 0 ? SERNET_LATE : 1];

static int steps_off(const char *name, const char *way, const int8_t *golden) {
  int most = 0;
  unsigned off = 0;
  for (uint32_t i = 0; i < VALUES; ++i) {
    const int step = input[i] < golden[i] ? golden[i] - input[i] : input[i] - golden[i];
    most = step > most ? step : most;
    off += step != 0;
  }
  printf("%s: %s: int8 differs by at most %d, in %u of %u places\n", name, way, most, off, VALUES);
  return most > STEP_TOLERANCE;
}

static int test_whole(const sernet_golden_clip *clip, const sernet_golden_recording *heard) {
  if (sernet_whole_start(&whole, heard->audio, heard->samples) != SERNET_OK) {
    return 1;
  }
  float largest = 0.0f;
  for (uint32_t t = 0; t < SERNET_FRAMES; ++t) {
    sernet_whole_features(&whole, t, features + t * SERNET_BINS);
  }
  for (uint32_t i = 0; i < VALUES; ++i) {
    largest = fmaxf(largest, fabsf(features[i] - heard->features[i]));
    input[i] = sernet_quantize(features[i]);
  }
  printf("%s: features differ by at most %g\n", clip->name, (double)largest);
  return steps_off(clip->name, "whole", clip->input) || !(largest <= FEATURE_TOLERANCE);
}

static int test_deferred(const char *name, const sernet_golden_recording *heard) {
  if (sernet_deferred_start(&arriving, input, late, heard->samples) != SERNET_OK) {
    return 1;
  }
  sernet_arriving_hear(&arriving, heard->audio, heard->samples);
  if (sernet_arriving_finish(&arriving) != SERNET_OK) {
    return 1;
  }
  return steps_off(name, "deferred", heard->deferred);
}

int main(void) {
  int failed = 0;
  for (uint32_t k = 0; k < SERNET_GOLDEN_CLIPS; ++k) {
    failed |= test_whole(&sernet_golden[k], &sernet_golden_audio[k]);
    failed |= test_deferred(sernet_golden[k].name, &sernet_golden_audio[k]);
  }
  return failed;
}
