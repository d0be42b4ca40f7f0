#include "sernet_stream.h"

#include <string.h>

static int32_t lesser(int32_t a, int32_t b) { return a < b ? a : b; }

static int32_t greater(int32_t a, int32_t b) { return a > b ? a : b; }

/* The first row that window `w` of a step covers; it may lie before the clip. */
static int32_t first_row(const sernet_input *in, uint32_t step, uint32_t w) {
  return lesser((int32_t)(step * in->windows + w), in->last) * in->stride - in->top;
}

static int is_ready(const sernet_stream *s, uint32_t part) {
  const sernet_part *p = &sernet_parts[part];
  const uint32_t step = s->steps[part];
  if (step >= p->steps) {
    return 0;
  }
  for (uint32_t i = 0; i < p->inputs; ++i) {
    const sernet_input *in = &sernet_inputs[p->first_input + i];
    const int32_t end = first_row(in, step, in->windows - 1) + (in->kernel - 1) * in->dilation + 1;
    if ((int32_t)s->written[in->line] < lesser(end, sernet_lines[in->line].height)) {
      return 0;
    }
  }
  return 1;
}

/* Lay the rows that a step sees below each other, as the part wants them. */
static void gather(const sernet_stream *s, const sernet_input *in, uint32_t step, int8_t *out) {
  const sernet_line *line = &sernet_lines[in->line];
  const int8_t *ring = s->rows + line->offset;
  for (uint32_t w = 0; w < in->windows; ++w) {
    const int32_t first = first_row(in, step, w);
    const int32_t low = greater(first, 0);
    const int32_t high = lesser(first + in->kernel, line->height);
    for (int32_t r = 0; r < in->rows; ++r) {
      /* A pool averages rows that exist, each as often as the others. */
      const int32_t row = in->repeat ? low + r * (high - low) / in->rows : first + r * in->dilation;
      if (row >= 0 && row < line->height) {
        memcpy(out, ring + (uint32_t)row % line->rows * line->row_bytes, line->row_bytes);
      } else {
        memset(out, line->zero_point, line->row_bytes);
      }
      out += line->row_bytes;
    }
  }
}

static void write_row(sernet_stream *s, uint32_t number, const int8_t *row) {
  const sernet_line *line = &sernet_lines[number];
  if (line->rows > 0) {
    memcpy(s->rows + line->offset + s->written[number] % line->rows * line->row_bytes, row,
           line->row_bytes);
  }
  if (number == SERNET_STREAM_MEAN_LINE) {
    for (uint32_t i = 0; i < line->row_bytes; ++i) {
      s->sums[i % SERNET_STREAM_CHANNELS] += row[i];
    }
  }
  ++s->written[number];
}

static sernet_status run(sernet_stream *s, uint32_t part) {
  const sernet_part *p = &sernet_parts[part];
  const sernet_runtime *runtime = s->runtime;
  for (uint32_t i = 0; i < p->inputs; ++i) {
    gather(s, &sernet_inputs[p->first_input + i], s->steps[part],
           runtime->input(runtime->context, part, i));
  }
  const int8_t *row = runtime->invoke(runtime->context, part);
  if (row == NULL) {
    return SERNET_FAILED;
  }
  write_row(s, p->output, row);
  ++s->steps[part];
  return SERNET_OK;
}

void sernet_stream_start(sernet_stream *s, const sernet_runtime *runtime) {
  s->runtime = runtime;
  memset(s->written, 0, sizeof s->written);
  memset(s->steps, 0, sizeof s->steps);
  memset(s->sums, 0, sizeof s->sums);
}

sernet_status sernet_stream_frame(sernet_stream *s, const int8_t row[SERNET_BINS]) {
  if (s->written[0] >= SERNET_FRAMES) {
    return SERNET_FAILED;
  }
  write_row(s, 0, row);
  /* The parts nearest to the end go first, so that few rows wait. */
  uint32_t after = SERNET_STREAM_PARTS;
  while (after > 0) {
    if (!is_ready(s, after - 1)) {
      --after;
      continue;
    }
    const sernet_status status = run(s, after - 1);
    if (status != SERNET_OK) {
      return status;
    }
    after = SERNET_STREAM_PARTS;
  }
  return SERNET_OK;
}

/* x * multiplier / 2^31 * 2^shift as TFLite rounds it: halves away from zero, twice. */
static int32_t scaled(int64_t x, int64_t multiplier, int32_t shift) {
  const int64_t one = 1;
  const int64_t product = x * (one << greater(shift, 0)) * multiplier;
  const int64_t high = (product + (product < 0 ? 1 - (one << 30) : one << 30)) / (one << 31);
  const int32_t right = greater(-shift, 0);
  const int64_t size = high < 0 ? -high : high;
  const int64_t rounded = (size + ((one << right) >> 1)) >> right;
  return (int32_t)(high < 0 ? -rounded : rounded);
}

sernet_status sernet_stream_result(sernet_stream *s, int8_t output[SERNET_CLASSES]) {
  const sernet_runtime *runtime = s->runtime;
  const uint32_t count = s->written[SERNET_STREAM_MEAN_LINE] * SERNET_STREAM_MEAN_COLUMNS;
  if (count == 0) {
    return SERNET_TOO_EARLY;
  }
  /* TFLite's MEAN: the division by `count` goes into the multiplier, with as many bits as it has. */
  int32_t bits = 0;
  while (count >> bits > 1) {
    ++bits;
  }
  bits = lesser(bits, 31 + SERNET_STREAM_MEAN_SHIFT);
  const int64_t multiplier = ((int64_t)SERNET_STREAM_MEAN_MULTIPLIER * ((int64_t)1 << bits)) / count;
  int8_t *average = runtime->input(runtime->context, SERNET_STREAM_PARTS, 0);
  for (uint32_t c = 0; c < SERNET_STREAM_CHANNELS; ++c) {
    const int64_t sum = s->sums[c] - (int64_t)SERNET_STREAM_MEAN_ZERO_POINT * count;
    const int32_t q = scaled(sum, multiplier, SERNET_STREAM_MEAN_SHIFT - bits);
    average[c] = (int8_t)greater(lesser(q + SERNET_STREAM_AVERAGE_ZERO_POINT, INT8_MAX), INT8_MIN);
  }
  const int8_t *found = runtime->invoke(runtime->context, SERNET_STREAM_PARTS);
  if (found == NULL) {
    return SERNET_FAILED;
  }
  memcpy(output, found, SERNET_CLASSES);
  return SERNET_OK;
}
