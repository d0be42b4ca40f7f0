#include "sernet_memory.h"

#ifdef SERNET_STREAM
SERNET_RAM SERNET_ALIGNED uint8_t sernet_arena[SERNET_STREAM_ARENA_BYTES];
SERNET_RAM sernet_stream sernet_network;
#else
SERNET_RAM SERNET_ALIGNED uint8_t sernet_arena[SERNET_ARENA_BYTES];
#endif

#ifdef SERNET_KEEP_AUDIO
SERNET_RAM int16_t sernet_audio[SERNET_SAMPLES];
sernet_whole sernet_front_end;
#else
sernet_arriving sernet_front_end;
#if !defined(SERNET_STREAM) && SERNET_LEVELLED > 0
SERNET_RAM float sernet_late[SERNET_LATE];
#endif
#endif
