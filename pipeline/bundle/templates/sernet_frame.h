/* One frame of samples to its features: MFCC or log-mel. */
#ifndef SERNET_FRAME_H_
#define SERNET_FRAME_H_

#include "sernet_config.h"

#ifdef SERNET_USE_CMSIS_DSP
#include "dsp/transform_functions.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Working memory; the caller writes a frame's samples into `samples`, within plus or minus 1. */
typedef struct {
  float samples[SERNET_N_FFT]; /* overwritten by sernet_frame_run */
#ifdef SERNET_USE_CMSIS_DSP
  float scratch[2 * SERNET_N_FFT]; /* arm_mfcc_f32 takes the magnitude of as many complex numbers */
  arm_mfcc_instance_f32 instance;
#endif
} sernet_frame;

/* Once, before the first frame. */
sernet_status sernet_frame_init(sernet_frame *f);

/* Features of `f->samples`, not yet limited. */
void sernet_frame_run(sernet_frame *f, float features[SERNET_BINS]);

#ifdef __cplusplus
}
#endif

#endif
