/* The level of a clip: a high percentile of |x|, exact, without keeping the samples. */
#ifndef SERNET_LEVEL_H_
#define SERNET_LEVEL_H_

#include "sernet_config.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The percentile lies among the largest values, so they are all that is kept. */
typedef struct {
  uint32_t heard;                   /* samples */
  uint16_t largest[SERNET_LARGEST]; /* of |x|, ascending; the first min(heard, SERNET_LARGEST) */
} sernet_level;

void sernet_level_start(sernet_level *l);

/* Hear `n` more samples, up to SERNET_SAMPLES in all. */
void sernet_level_hear(sernet_level *l, const int16_t *samples, uint32_t n);

/* The percentile of what was heard, in steps of int16, as numpy.percentile interpolates it. */
float sernet_level_value(const sernet_level *l);

#ifdef __cplusplus
}
#endif

#endif
