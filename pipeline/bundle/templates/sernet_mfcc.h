/* One frame of samples to its cepstral coefficients. */
#ifndef SERNET_MFCC_H_
#define SERNET_MFCC_H_

#include "sernet_config.h"

#ifdef SERNET_USE_CMSIS_DSP
#include "dsp/transform_functions.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Working memory; the caller writes a frame's samples into `frame`, within plus or minus 1. */
typedef struct {
  float frame[SERNET_N_FFT]; /* overwritten by sernet_mfcc_run */
#ifdef SERNET_USE_CMSIS_DSP
  float scratch[2 * SERNET_N_FFT]; /* arm_mfcc_f32 takes the magnitude of as many complex numbers */
  arm_mfcc_instance_f32 instance;
#endif
} sernet_mfcc;

/* Once, before the first frame. */
sernet_status sernet_mfcc_init(sernet_mfcc *m);

/* Coefficients of `m->frame`, not yet limited. */
void sernet_mfcc_run(sernet_mfcc *m, float coefficients[SERNET_N_MFCC]);

#ifdef __cplusplus
}
#endif

#endif
