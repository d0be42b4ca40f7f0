/* The network as a flatbuffer, and the names of its outputs. */
#ifndef SERNET_MODEL_H_
#define SERNET_MODEL_H_

#include "sernet_config.h"

#ifdef __cplusplus
extern "C" {
#endif

extern const uint8_t sernet_model[SERNET_MODEL_BYTES];
extern const char *const sernet_labels[SERNET_CLASSES]; /* in UTF-8 */

#ifdef __cplusplus
}
#endif

#endif
