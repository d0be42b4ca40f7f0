#include "sernet_level.h"

#include <string.h>

void sernet_level_start(sernet_level *l) { l->heard = 0; }

static void keep(uint16_t *ascending, uint32_t count, uint16_t value) {
  uint32_t below = 0; /* how many are not above `value` */
  uint32_t above = count;
  while (below < above) {
    const uint32_t middle = (below + above) / 2;
    if (ascending[middle] <= value) {
      below = middle + 1;
    } else {
      above = middle;
    }
  }
  if (count < SERNET_LARGEST) {
    memmove(&ascending[below + 1], &ascending[below], (count - below) * sizeof *ascending);
    ascending[below] = value;
  } else {
    memmove(&ascending[0], &ascending[1], (below - 1) * sizeof *ascending);
    ascending[below - 1] = value;
  }
}

void sernet_level_hear(sernet_level *l, const int16_t *samples, uint32_t n) {
  for (uint32_t i = 0; i < n; ++i) {
    const int32_t x = samples[i];
    const uint16_t value = (uint16_t)(x < 0 ? -x : x); /* 32,768 fits */
    if (l->heard < SERNET_LARGEST) {
      keep(l->largest, l->heard, value);
    } else if (value > l->largest[0]) {
      keep(l->largest, SERNET_LARGEST, value);
    }
    ++l->heard;
  }
}

float sernet_level_value(const sernet_level *l) {
  if (l->heard == 0) {
    return 0.0f;
  }
  const uint32_t kept = l->heard < SERNET_LARGEST ? l->heard : SERNET_LARGEST;
  /* Rank of the percentile among all that was heard, counted from 0, in thousandths. */
  const uint64_t rank = (uint64_t)SERNET_LEVEL_PER_MILLE * (l->heard - 1);
  const uint32_t beyond = (uint32_t)(rank % 1000);
  const uint32_t lower = (uint32_t)(rank / 1000) - (l->heard - kept);
  const float fraction = (float)beyond / 1000.0f;
  const float value = (float)l->largest[lower];
  return beyond == 0 ? value : value + fraction * ((float)l->largest[lower + 1] - value);
}
