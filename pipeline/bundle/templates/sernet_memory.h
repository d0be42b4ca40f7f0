/* All the RAM that the network and its front end take, in one place; the linker's map shows it.
 *
 * SERNET_KEEP_AUDIO: the clip is recorded, then classified. SERNET_STREAM: the network runs as frames
 * arrive. Neither: frames are computed as samples arrive, then classified. */
#ifndef SERNET_MEMORY_H_
#define SERNET_MEMORY_H_

#include <stddef.h>

#include "sernet_front_end.h"
#ifdef SERNET_STREAM
#include "sernet_stream.h"
#endif

#ifdef __cplusplus
extern "C" {
#endif

#ifdef SERNET_STREAM
extern uint8_t sernet_arena[SERNET_STREAM_ARENA_BYTES];
extern sernet_stream sernet_network;
#else
extern uint8_t sernet_arena[SERNET_ARENA_BYTES];
#endif

#ifdef SERNET_KEEP_AUDIO
extern int16_t sernet_audio[SERNET_SAMPLES];
extern sernet_whole sernet_front_end;
#else
extern sernet_arriving sernet_front_end;
#ifndef SERNET_STREAM
#if SERNET_LEVELLED > 0
extern float sernet_late[SERNET_LATE];
#else
#define sernet_late NULL /* nothing waits for the level */
#endif
#endif
#endif

#ifdef __cplusplus
}
#endif

#endif
