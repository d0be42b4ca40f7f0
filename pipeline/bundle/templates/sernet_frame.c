#include "sernet_frame.h"

#include "sernet_tables.h"

#ifdef SERNET_USE_CMSIS_DSP

sernet_status sernet_frame_init(sernet_frame *f) {
  /* The function of this length alone, so that the linker drops the tables of all the others. */
  const arm_status status = SERNET_ARM_MFCC_INIT(
      &f->instance, SERNET_N_MELS, SERNET_BINS, sernet_basis, sernet_filter_positions,
      sernet_filter_lengths, sernet_filters, sernet_window);
  return status == ARM_MATH_SUCCESS ? SERNET_OK : SERNET_NO_FFT;
}

static void transform(sernet_frame *f, float features[SERNET_BINS]) {
  arm_mfcc_f32(&f->instance, f->samples, features, f->scratch);
}

#else

#include <math.h>
#include <string.h>

#define HALF (SERNET_N_FFT / 2)
#define QUARTER (SERNET_N_FFT / 4)

/* cos(2 pi k / SERNET_N_FFT) and the sine, 0 <= k < HALF, from the table of a quarter of a wave. */
static float cosine(uint32_t k) {
  return k <= QUARTER ? sernet_cosine[k] : -sernet_cosine[HALF - k];
}

static float sine(uint32_t k) {
  return k <= QUARTER ? sernet_cosine[QUARTER - k] : sernet_cosine[k - QUARTER];
}

static void swap(float *a, float *b) {
  const float kept = *a;
  *a = *b;
  *b = kept;
}

/* Discrete Fourier transform of HALF complex numbers in place, radix 2, decimation in time. */
static void fft(float *z) {
  uint32_t reversed = 0;
  for (uint32_t i = 0; i < HALF; ++i) {
    if (i < reversed) {
      swap(&z[2 * i], &z[2 * reversed]);
      swap(&z[2 * i + 1], &z[2 * reversed + 1]);
    }
    uint32_t bit = HALF >> 1;
    while (bit != 0 && (reversed & bit) != 0) {
      reversed ^= bit;
      bit >>= 1;
    }
    reversed |= bit;
  }
  for (uint32_t size = 1; size < HALF; size *= 2) {
    for (uint32_t j = 0; j < size; ++j) {
      const uint32_t angle = j * (HALF / size);
      const float wr = cosine(angle);
      const float wi = -sine(angle);
      for (uint32_t i = j; i < HALF; i += 2 * size) {
        float *a = &z[2 * i];
        float *b = &z[2 * (i + size)];
        const float re = wr * b[0] - wi * b[1];
        const float im = wr * b[1] + wi * b[0];
        b[0] = a[0] - re;
        b[1] = a[1] - im;
        a[0] += re;
        a[1] += im;
      }
    }
  }
}

/* SERNET_N_FFT real samples to the magnitudes of bins 0 to HALF - 1, in place.
 *
 * Even samples are taken as real parts and odd ones as imaginary parts of half as many complex
 * numbers; their transform holds the spectra of both, which are then told apart. The bin at half
 * the sample rate is not computed: no mel band reaches it. */
static void magnitudes(float *x) {
  fft(x);
  x[0] = fabsf(x[0] + x[1]);
  for (uint32_t k = 1; k <= HALF / 2; ++k) {
    float *a = &x[2 * k];
    float *b = &x[2 * (HALF - k)];
    const float even_re = 0.5f * (a[0] + b[0]);
    const float even_im = 0.5f * (a[1] - b[1]);
    const float odd_re = 0.5f * (a[1] + b[1]);
    const float odd_im = 0.5f * (b[0] - a[0]);
    const float wr = cosine(k);
    const float wi = -sine(k);
    const float re = wr * odd_re - wi * odd_im;
    const float im = wr * odd_im + wi * odd_re;
    a[0] = sqrtf((even_re + re) * (even_re + re) + (even_im + im) * (even_im + im));
    b[0] = sqrtf((even_re - re) * (even_re - re) + (even_im - im) * (even_im - im));
  }
  for (uint32_t k = 1; k < HALF; ++k) {
    x[k] = x[2 * k];
  }
}

sernet_status sernet_frame_init(sernet_frame *f) {
  (void)f;
  return SERNET_OK;
}

static void transform(sernet_frame *f, float features[SERNET_BINS]) {
  float *x = f->samples;
  float *mel = f->samples + HALF; /* free once the magnitudes are in the first half */
  for (uint32_t i = 0; i < SERNET_N_FFT; ++i) {
    x[i] *= sernet_window[i];
  }
  magnitudes(x);
  const float *filter = sernet_filters;
  for (uint32_t band = 0; band < SERNET_N_MELS; ++band) {
    const float *bins = x + sernet_filter_positions[band];
    const uint32_t length = sernet_filter_lengths[band];
    float sum = 0.0f;
    for (uint32_t i = 0; i < length; ++i) {
      sum += bins[i] * filter[i];
    }
    filter += length;
    mel[band] = logf(sum + SERNET_ARM_OFFSET);
  }
#if SERNET_LOG_MEL
  memcpy(features, mel, SERNET_BINS * sizeof *features);
#else
  const float *row = sernet_basis;
  for (uint32_t c = 0; c < SERNET_BINS; ++c) {
    float sum = 0.0f;
    for (uint32_t band = 0; band < SERNET_N_MELS; ++band) {
      sum += row[band] * mel[band];
    }
    features[c] = sum;
    row += SERNET_N_MELS;
  }
#endif
}

#endif

void sernet_frame_run(sernet_frame *f, float features[SERNET_BINS]) {
  transform(f, features);
  for (uint32_t c = 0; c < SERNET_SHIFTED; ++c) {
    features[c] += SERNET_SHIFT;
  }
}
