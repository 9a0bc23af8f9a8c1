/* keys_rows.h: shorthand of the files that hold the table's rows. */
#ifndef SPEC_KEYS_ROWS_H
#define SPEC_KEYS_ROWS_H

#include <math.h>

#include "core/mem.h"
#include "spec/keys.h"
#include "spec/spec.h"

#define AT(field)                                                              \
	.at = offsetof(struct spec, field),                                    \
	.size = sizeof(((struct spec *)0)->field)
#define RANGE(lo, hi) .ranged = true, .min = (lo), .max = (hi)
#define AT_LEAST(lo) RANGE(lo, INFINITY)

#define SECONDS 1000.0
#define HOURS (3600 * SECONDS)
#define MIB 1048576.0

#define KIND_WHY(kind)                                                         \
	"kind \"" kind "\" is not served by this version of Soma; supported: " \
	"RealtimeAPI, TrafficSplitter. Remove this api from the file to "      \
	"deploy the others"

enum {
	RT = KIND_REALTIME,
	RA = RT | KIND_ASYNC,
	RB = RT | KIND_BATCH,
	RAB = RA | KIND_BATCH,
	RABT = RAB | KIND_TASK,
	ALL = RABT | KIND_SPLITTER,

	PY = FOR_PYTHON,
	TF = FOR_TENSORFLOW,
	ONNX_CLASS = FOR_ONNX_CLASS,
	CMD = FOR_COMMAND,
	/* What soma.worker runs, and what soma-host does. */
	CLASSES = FOR_PYTHON | FOR_ONNX_CLASS,
	NATIVE = FOR_ENGINE | FOR_ONNX,
	OURS = CLASSES | NATIVE,
};

#endif
