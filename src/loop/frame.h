/* frame.h: the frames of a replica's control channel
 * (docs/internals/control-channel.md). */
#ifndef LOOP_FRAME_H
#define LOOP_FRAME_H

#include <stdint.h>

enum { FRAME_VERSION = 1, FRAME_PAYLOAD_MAX = 160 * 1024 };

/* Numbers are never reused. */
enum frame_type {
	FRAME_CONFIG = 1,
	FRAME_PING = 2,
	FRAME_QUERY = 3,
	FRAME_STOP = 4,
	FRAME_FORK = 5,

	FRAME_LOADING = 32,
	FRAME_READY = 33,
	FRAME_FAILED = 34,
	FRAME_PONG = 35,
	FRAME_STUCK = 36,
	FRAME_STAGES = 37,
	FRAME_SLOT_FREE = 38,
	FRAME_BYE = 39,
	FRAME_BATCHING = 40,
	FRAME_FORKED = 41,
	FRAME_UNSAFE = 42,
};

/* Head of each message; the payload follows. Host byte order: both ends are
 * on one machine. */
struct frame {
	uint8_t type;
	uint8_t version;
	uint16_t zero;
	uint32_t arg;
};

#endif
