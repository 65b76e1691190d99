/* SPDX-License-Identifier: MIT */
/*
 * Unpacks the compressed payload of a Linux bzImage, from memory to memory, with the decoders of libdeflate, libzstd, liblz4
 * and liblzma. The payload is a stranger's: output never goes past `cap`, memory for the decoder is limited, and every loop consumes
 * input, so that the time is bounded by the sizes of both buffers.
 *
 * Thread: any; a pure function of its arguments.
 */
#ifndef FIRMWARE_UNPACK_H
#define FIRMWARE_UNPACK_H

#include <stddef.h>
#include <stdint.h>

struct err;

enum unpack_format {
	UNPACK_UNKNOWN,
	UNPACK_GZIP, /* RFC 1952 */
	UNPACK_ZSTD, /* RFC 8878 */
	UNPACK_LZ4,  /* the legacy frame of "lz4 -l" */
	UNPACK_XZ,
	UNPACK_LZMA, /* the .lzma file format of LZMA Utils */
};

#define UNPACK_MAGIC_MAX 6

/* By the first bytes; `len` may be anything, UNPACK_MAGIC_MAX is enough. */
enum unpack_format unpack_detect(const uint8_t *data, size_t len);

/* For messages: "lz4". Static. */
const char *unpack_format_name(enum unpack_format format);

/*
 * Unpacks `src` into `dst`, at most `cap` bytes; `*out` says how many. -EINVAL with `err` when the data is corrupt, ends early or
 * is more than `cap`; -ENOMEM when the decoder cannot get its memory; -ELIBACC when it is not installed. `dst` then holds rubbish.
 */
int unpack(enum unpack_format format, const uint8_t *src, size_t len, uint8_t *dst, size_t cap, size_t *out, struct err *err);

#endif
