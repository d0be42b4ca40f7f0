#include "sernet_front_end.h"

#include <math.h>
#include <string.h>

#define FULL_SCALE 32768.0f

/* What counts as 1: the level of what was heard, if clips are divided by it. */
static float unit(float level) { return SERNET_LEVELLED > 0 ? level : FULL_SCALE; }

static int is_silence(float level) { return level <= 0.0f || level < SERNET_LEAST_LEVEL; }

static float limited(float value, float limit) {
  return value > limit ? limit : value < -limit ? -limit : value;
}

int8_t sernet_quantize(float feature) {
  const float steps = limited(feature, SERNET_CLIP) / SERNET_INPUT_SCALE;
  /* Conversion to an integer cuts off towards zero. */
  const int32_t q = (int32_t)(steps + (steps < 0.0f ? -0.5f : 0.5f)) + SERNET_INPUT_ZERO_POINT;
  return (int8_t)(q > INT8_MAX ? INT8_MAX : q < INT8_MIN ? INT8_MIN : q);
}

sernet_status sernet_whole_start(sernet_whole *w, const int16_t *audio, uint32_t n) {
  if (n > SERNET_SAMPLES) {
    audio += (n - SERNET_SAMPLES) / 2;
    n = SERNET_SAMPLES;
  }
  w->audio = audio;
  w->n = n;
  w->left = (SERNET_SAMPLES - n) / 2;
  sernet_level_start(&w->level);
  sernet_level_hear(&w->level, audio, n);
  const float level = sernet_level_value(&w->level);
  if (is_silence(level)) {
    return SERNET_SILENCE;
  }
  w->gain = 1.0f / unit(level);
  return sernet_frame_init(&w->frame);
}

void sernet_whole_features(sernet_whole *w, uint32_t frame, float features[SERNET_BINS]) {
  const uint32_t start = frame * SERNET_HOP_LENGTH;
  for (uint32_t i = 0; i < SERNET_N_FFT; ++i) {
    /* Before the clip this wraps round to a number that is too large as well. */
    const uint32_t at = start + i - w->left;
    w->frame.samples[i] = at < w->n ? limited((float)w->audio[at] * w->gain, 1.0f) : 0.0f;
  }
  sernet_frame_run(&w->frame, features);
  for (uint32_t c = 0; c < SERNET_BINS; ++c) {
    features[c] = limited(features[c], SERNET_CLIP);
  }
}

void sernet_whole_row(sernet_whole *w, uint32_t frame, int8_t row[SERNET_BINS]) {
  float features[SERNET_BINS];
  sernet_whole_features(w, frame, features);
  for (uint32_t c = 0; c < SERNET_BINS; ++c) {
    row[c] = sernet_quantize(features[c]);
  }
}

#if SERNET_LEVELLED > 0
/* A feature as if the clip had been divided by `level` before. */
static float levelled(float feature, float level) {
#if SERNET_LOG_MEL
  const float band = expf(feature) - SERNET_LOG_OFFSET;
  return logf((band > 0.0f ? band : 0.0f) * (FULL_SCALE / level) + SERNET_LOG_OFFSET);
#else
  return feature - SERNET_PER_LOG_LEVEL * logf(level / FULL_SCALE);
#endif
}

/* `n` rows of the features that the level changes. */
static void correct(const float *late, uint32_t n, float level, int8_t *rows) {
  for (uint32_t row = 0; row < n; ++row) {
    for (uint32_t c = 0; c < SERNET_LEVELLED; ++c) {
      rows[c] = sernet_quantize(level > 0.0f ? levelled(late[c], level) : SERNET_SILENT);
    }
    late += SERNET_LEVELLED;
    rows += SERNET_BINS;
  }
}
#endif

static void frame_of_history(sernet_arriving *a) {
  /* For want of the clip's level samples are limited at that of what has been heard. */
  const float level = sernet_level_value(&a->level);
  float features[SERNET_BINS];
  for (uint32_t i = 0; i < SERNET_N_FFT; ++i) {
    a->frame.samples[i] = limited((float)a->history[i], unit(level)) / FULL_SCALE;
  }
  sernet_frame_run(&a->frame, features);
  int8_t running[SERNET_BINS];
  int8_t *row = a->take != NULL ? running : a->input + a->frames * SERNET_BINS;
  for (uint32_t c = SERNET_LEVELLED; c < SERNET_BINS; ++c) {
    row[c] = sernet_quantize(features[c]);
  }
#if SERNET_LEVELLED > 0
  if (a->take != NULL) {
    correct(features, 1, level, row);
  } else {
    memcpy(a->late + a->frames * SERNET_LEVELLED, features, SERNET_LEVELLED * sizeof *features);
  }
#endif
  if (a->take != NULL) {
    a->take(a->context, row);
  }
  ++a->frames;
  a->filled = SERNET_N_FFT - SERNET_HOP_LENGTH;
  memmove(a->history, a->history + SERNET_HOP_LENGTH, a->filled * sizeof *a->history);
}

static uint32_t lesser(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* Append samples, or zeros where `samples` is NULL, which do not count for the level. */
static void append(sernet_arriving *a, const int16_t *samples, uint32_t n) {
  while (n > 0 && a->frames < SERNET_FRAMES) {
    const uint32_t some = lesser(n, SERNET_N_FFT - a->filled);
    if (samples != NULL) {
      memcpy(a->history + a->filled, samples, some * sizeof *samples);
      sernet_level_hear(&a->level, samples, some);
      samples += some;
    } else {
      memset(a->history + a->filled, 0, some * sizeof *a->history);
    }
    n -= some;
    a->filled += some;
    if (a->filled == SERNET_N_FFT) {
      frame_of_history(a);
    }
  }
  if (samples != NULL) {
    sernet_level_hear(&a->level, samples, n); /* samples after the last frame count as well */
  }
}

static sernet_status start(sernet_arriving *a, uint32_t n) {
  a->skip = n > SERNET_SAMPLES ? (n - SERNET_SAMPLES) / 2 : 0;
  a->wanted = lesser(n, SERNET_SAMPLES);
  a->filled = 0;
  a->frames = 0;
  sernet_level_start(&a->level);
  const sernet_status status = sernet_frame_init(&a->frame);
  if (status == SERNET_OK) {
    append(a, NULL, (SERNET_SAMPLES - a->wanted) / 2);
  }
  return status;
}

sernet_status sernet_deferred_start(sernet_arriving *a, int8_t *input, float *late, uint32_t n) {
  a->input = input;
  a->late = late;
  a->take = NULL;
  return start(a, n);
}

sernet_status sernet_running_start(sernet_arriving *a, sernet_row_taker take, void *context,
                                   uint32_t n) {
  a->take = take;
  a->context = context;
  return start(a, n);
}

uint32_t sernet_arriving_hear(sernet_arriving *a, const int16_t *samples, uint32_t n) {
  const uint32_t skipped = lesser(n, a->skip);
  a->skip -= skipped;
  const uint32_t taken = lesser(n - skipped, a->wanted);
  a->wanted -= taken;
  append(a, samples + skipped, taken);
  return a->frames;
}

sernet_status sernet_arriving_finish(sernet_arriving *a) {
  a->wanted = 0;
  append(a, NULL, SERNET_SAMPLES);
  const float level = sernet_level_value(&a->level);
  if (is_silence(level)) {
    return SERNET_SILENCE;
  }
#if SERNET_LEVELLED > 0
  if (a->take == NULL) {
    correct(a->late, SERNET_FRAMES, level, a->input);
  }
#endif
  return SERNET_OK;
}
