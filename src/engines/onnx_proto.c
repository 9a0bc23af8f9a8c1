#include "onnx_proto.h"

/* False at the end or after ten bytes. */
static bool take_varint(struct onnx_bytes *b, uint64_t *ret)
{
	*ret = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		unsigned char c;

		if (b->p == b->end)
			return false;
		c = *b->p++;
		*ret |= (uint64_t)(c & 0x7f) << shift;
		if (!(c & 0x80))
			return true;
	}
	return false;
}

enum onnx_found onnx_next(struct onnx_bytes *b, struct onnx_field *f)
{
	uint64_t tag, n = 0;

	if (b->p == b->end)
		return ONNX_END;
	if (!take_varint(b, &tag))
		return ONNX_CUT;
	f->number = (uint32_t)(tag >> 3);
	f->wire = (uint32_t)(tag & 7);
	if (f->number == 0 || tag >> 32)
		return ONNX_WRONG;
	switch (f->wire) {
	case ONNX_VARINT:
		return take_varint(b, &f->value) ? ONNX_FOUND : ONNX_CUT;
	case ONNX_64:
		n = 8;
		break;
	case ONNX_32:
		n = 4;
		break;
	case ONNX_BYTES:
		if (!take_varint(b, &n))
			return ONNX_CUT;
		break;
	default:
		return ONNX_WRONG;
	}
	if (n > (uint64_t)(b->end - b->p))
		return ONNX_CUT;
	f->data = (struct onnx_bytes){b->p, b->p + n};
	b->p += n;
	return ONNX_FOUND;
}
