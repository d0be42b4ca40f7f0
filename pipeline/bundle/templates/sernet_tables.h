/* Tables of the front end, in flash. Filters and basis (the DCT, or for log-mel the identity) are laid out as arm_mfcc_init_f32 takes them. */
#ifndef SERNET_TABLES_H_
#define SERNET_TABLES_H_

#include "sernet_config.h"

#ifdef __cplusplus
extern "C" {
#endif

extern const float sernet_window[SERNET_N_FFT];
extern const uint32_t sernet_filter_positions[SERNET_N_MELS];
extern const uint32_t sernet_filter_lengths[SERNET_N_MELS];
extern const float sernet_filters[SERNET_FILTER_COEFFICIENTS];
/* The portable code takes the bands of log-mel as they are. */
#if defined(SERNET_USE_CMSIS_DSP) || !SERNET_LOG_MEL
#define SERNET_HAS_BASIS
extern const float sernet_basis[SERNET_BINS * SERNET_N_MELS];
#endif

#ifndef SERNET_USE_CMSIS_DSP
extern const float sernet_cosine[SERNET_N_FFT / 4 + 1]; /* a quarter of a wave */
#endif

#ifdef __cplusplus
}
#endif

#endif
