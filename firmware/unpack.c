/* SPDX-License-Identifier: MIT */
/*
 * Where it can be, decoding is a single pass over whole buffers: the output is its own history, so that no window has to be
 * kept and copied out of (gzip, zstd, lz4). liblzma keeps one of its own, which may be as large as the unpacked kernel; it is mapped,
 * not taken from the heap, so that it surely goes back to the host.
 *
 * A run unpacks one kernel or none. So libzstd, liblz4 and liblzma are loaded when a kernel wants one of them: to load it takes 0.2 ms, to
 * unpack a hundred or more. A reset unpacks the kernel again, with the library that is there by then. libdeflate is part of the program
 * anyway, for qcow2.
 */
#include "firmware/unpack.h"

#include <errno.h>
#include <libdeflate.h>
#include <lz4.h>
#include <lzma.h>
#include <string.h>
#include <sys/mman.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "vmm/dynlib.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/util.h"

/* "lz4 -l" cuts its input into blocks of 8 MiB, each packed by itself behind its packed size. */
#define LZ4_LEGACY_MAGIC 0x184C2102u
#define LZ4_LEGACY_BLOCK (8 * MIB)
/* What xz and lzma data may ask the decoder to keep: the largest dictionary that Linux is packed with is 128 MiB. */
#define LZMA_MEMORY_MAX (256 * MIB)

static int corrupt(enum unpack_format format, const char *why, struct err *err)
{
	return err_set(err, -EINVAL, "%s data is corrupt: %s", unpack_format_name(format), why);
}

static int too_large(enum unpack_format format, size_t cap, struct err *err)
{
	return err_set(err, -EINVAL, "%s data unpacks to more than the %zu bytes it has room for", unpack_format_name(format), cap);
}

static int unloadable(enum unpack_format format, struct err *err)
{
	return err_prefix(err, "%s data needs a decoder", unpack_format_name(format));
}

static int unpack_gzip(const uint8_t *src, size_t len, uint8_t *dst, size_t cap, size_t *out, struct err *err)
{
	struct libdeflate_decompressor *d = libdeflate_alloc_decompressor();
	enum libdeflate_result rc;

	if (!d)
		return err_set(err, -ENOMEM, "gzip: no memory for the decoder");
	rc = libdeflate_gzip_decompress_ex(d, src, len, dst, cap, NULL, out); /* verifies the checksum; bytes may follow */
	libdeflate_free_decompressor(d);
	switch (rc) {
	case LIBDEFLATE_SUCCESS:
		return 0;
	case LIBDEFLATE_INSUFFICIENT_SPACE:
		return too_large(UNPACK_GZIP, cap, err);
	default:
		return corrupt(UNPACK_GZIP, "it does not decode, or ends early", err);
	}
}

struct zstd_functions {
	__typeof__(ZSTD_decompress) *decompress;
	__typeof__(ZSTD_getErrorCode) *error_code;
	__typeof__(ZSTD_getErrorName) *error_name;
};

static const struct dynlib zstd_lib = {
	.file = "libzstd.so.1",
	.functions = (const struct dynlib_function[]){
		{ "ZSTD_decompress", offsetof(struct zstd_functions, decompress) },
		{ "ZSTD_getErrorCode", offsetof(struct zstd_functions, error_code) },
		{ "ZSTD_getErrorName", offsetof(struct zstd_functions, error_name) },
	},
	.n = 3,
};

static int unpack_zstd(const uint8_t *src, size_t len, uint8_t *dst, size_t cap, size_t *out, struct err *err)
{
	struct zstd_functions zstd;
	size_t n;

	if (dynlib_load(&zstd_lib, &zstd, err) < 0)
		return unloadable(UNPACK_ZSTD, err);
	n = zstd.decompress(dst, cap, src, len);
	switch (zstd.error_code(n)) {
	case ZSTD_error_no_error:
		*out = n;
		return 0;
	case ZSTD_error_dstSize_tooSmall:
		return too_large(UNPACK_ZSTD, cap, err);
	case ZSTD_error_memory_allocation:
		return err_set(err, -ENOMEM, "zstd: no memory for the decoder");
	default:
		return corrupt(UNPACK_ZSTD, zstd.error_name(n), err);
	}
}

struct lz4_functions {
	__typeof__(LZ4_decompress_safe) *decompress;
};

static const struct dynlib lz4_lib = {
	.file = "liblz4.so.1",
	.functions = (const struct dynlib_function[]){ { "LZ4_decompress_safe", offsetof(struct lz4_functions, decompress) } },
	.n = 1,
};

/* The frame has no end mark: it ends with its data. Another magic may stand between blocks, where two files were joined. */
static int unpack_lz4(const uint8_t *src, size_t len, uint8_t *dst, size_t cap, size_t *out, struct err *err)
{
	size_t pos = 4, done = 0;
	struct lz4_functions lz4;

	if (dynlib_load(&lz4_lib, &lz4, err) < 0)
		return unloadable(UNPACK_LZ4, err);
	while (pos < len) {
		uint32_t packed;
		size_t room;
		int n;

		if (len - pos < 4)
			return corrupt(UNPACK_LZ4, "it ends early", err);
		packed = load_le32(src + pos);
		pos += 4;
		if (packed == LZ4_LEGACY_MAGIC)
			continue;
		if (packed == 0 || packed > LZ4_COMPRESSBOUND(LZ4_LEGACY_BLOCK))
			return corrupt(UNPACK_LZ4, "a block's size is impossible", err);
		if (packed > len - pos)
			return corrupt(UNPACK_LZ4, "it ends early", err);
		room = min_u64(LZ4_LEGACY_BLOCK, cap - done);
		n = lz4.decompress((const char *)src + pos, (char *)dst + done, (int)packed, (int)room);
		if (n < 0 && room < LZ4_LEGACY_BLOCK)
			return err_set(err, -EINVAL, "lz4 data is corrupt, or unpacks to more than the %zu bytes it has room for",
				       cap);
		if (n < 0)
			return corrupt(UNPACK_LZ4, "a block does not decode", err);
		pos += packed;
		done += (size_t)n;
	}
	*out = done;
	return 0;
}

/* The length of a mapping, before what the decoder gets. 64 bytes keep its alignment. */
struct lzma_chunk {
	_Alignas(64) size_t size;
};

static void *chunk_alloc(void *opaque, size_t n, size_t size)
{
	struct lzma_chunk *c;
	uint64_t bytes;

	(void)opaque;
	if (!mul_u64(n, size, &bytes) || !add_u64(bytes, sizeof(*c), &bytes))
		return NULL;
	c = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (c == MAP_FAILED)
		return NULL;
	if (bytes >= 2 * MIB)
		(void)madvise(c, bytes, MADV_HUGEPAGE);
	c->size = bytes;
	return c + 1;
}

static void chunk_free(void *opaque, void *p)
{
	struct lzma_chunk *c = p;

	(void)opaque;
	if (c)
		munmap(c - 1, c[-1].size);
}

static const lzma_allocator chunk_allocator = { .alloc = chunk_alloc, .free = chunk_free };

struct lzma_functions {
	__typeof__(lzma_stream_decoder) *stream_decoder;
	__typeof__(lzma_alone_decoder) *alone_decoder;
	__typeof__(lzma_code) *code;
	__typeof__(lzma_end) *end;
	__typeof__(lzma_memusage) *memusage;
};

static const struct dynlib lzma_lib = {
	.file = "liblzma.so.5",
	.functions = (const struct dynlib_function[]){
		{ "lzma_stream_decoder", offsetof(struct lzma_functions, stream_decoder) },
		{ "lzma_alone_decoder", offsetof(struct lzma_functions, alone_decoder) },
		{ "lzma_code", offsetof(struct lzma_functions, code) },
		{ "lzma_end", offsetof(struct lzma_functions, end) },
		{ "lzma_memusage", offsetof(struct lzma_functions, memusage) },
	},
	.n = 5,
};

static int lzma_error(enum unpack_format format, lzma_ret rc, uint64_t memory, size_t room, size_t cap, struct err *err)
{
	switch (rc) {
	case LZMA_MEM_ERROR:
		return err_set(err, -ENOMEM, "%s: no memory for the decoder", unpack_format_name(format));
	case LZMA_MEMLIMIT_ERROR:
		return err_set(err, -EINVAL, "%s data wants %ju MiB of memory to be unpacked; at most %ju are given",
			       unpack_format_name(format), (uintmax_t)(memory / MIB), (uintmax_t)(LZMA_MEMORY_MAX / MIB));
	case LZMA_BUF_ERROR:
		return room == 0 ? too_large(format, cap, err) : corrupt(format, "it ends early", err);
	case LZMA_OPTIONS_ERROR:
		return corrupt(format, "it is packed in a way that liblzma does not know", err);
	default:
		return corrupt(format, "it does not decode", err);
	}
}

static int unpack_lzma(enum unpack_format format, const uint8_t *src, size_t len, uint8_t *dst, size_t cap, size_t *out,
		       struct err *err)
{
	lzma_stream s = LZMA_STREAM_INIT;
	struct lzma_functions lzma;
	lzma_ret rc;
	int ret = 0;

	if (dynlib_load(&lzma_lib, &lzma, err) < 0)
		return unloadable(format, err);
	s.allocator = &chunk_allocator;
	if (format == UNPACK_XZ)
		rc = lzma.stream_decoder(&s, LZMA_MEMORY_MAX, 0);
	else
		rc = lzma.alone_decoder(&s, LZMA_MEMORY_MAX);
	s.next_in = src;
	s.avail_in = len;
	s.next_out = dst;
	s.avail_out = cap;
	/* A second call without progress is LZMA_BUF_ERROR. */
	while (rc == LZMA_OK)
		rc = lzma.code(&s, LZMA_FINISH);
	*out = cap - s.avail_out;
	if (rc != LZMA_STREAM_END)
		ret = lzma_error(format, rc, lzma.memusage(&s), s.avail_out, cap, err);
	lzma.end(&s);
	return ret;
}

static const struct {
	const char *name;
	uint8_t magic[UNPACK_MAGIC_MAX];
	uint8_t len;
} formats[] = {
	[UNPACK_UNKNOWN] = { "unknown", { 0 }, 0 },
	[UNPACK_GZIP] = { "gzip", { 0x1f, 0x8b }, 2 },
	[UNPACK_ZSTD] = { "zstd", { 0x28, 0xb5, 0x2f, 0xfd }, 4 },
	[UNPACK_LZ4] = { "lz4", { 0x02, 0x21, 0x4c, 0x18 }, 4 },
	[UNPACK_XZ] = { "xz", { 0xfd, '7', 'z', 'X', 'Z', 0x00 }, 6 },
	/* No magic of its own: the properties lc=3 lp=0 pb=2, and a dictionary of at least 64 KiB. */
	[UNPACK_LZMA] = { "lzma", { 0x5d, 0x00, 0x00 }, 3 },
};

enum unpack_format unpack_detect(const uint8_t *data, size_t len)
{
	for (size_t i = UNPACK_UNKNOWN + 1; i < ARRAY_SIZE(formats); i++)
		if (len >= formats[i].len && memcmp(data, formats[i].magic, formats[i].len) == 0)
			return (enum unpack_format)i;
	return UNPACK_UNKNOWN;
}

const char *unpack_format_name(enum unpack_format format)
{
	return formats[format].name;
}

int unpack(enum unpack_format format, const uint8_t *src, size_t len, uint8_t *dst, size_t cap, size_t *out, struct err *err)
{
	*out = 0;
	switch (format) {
	case UNPACK_GZIP:
		return unpack_gzip(src, len, dst, cap, out, err);
	case UNPACK_ZSTD:
		return unpack_zstd(src, len, dst, cap, out, err);
	case UNPACK_LZ4:
		return unpack_lz4(src, len, dst, cap, out, err);
	case UNPACK_XZ:
	case UNPACK_LZMA:
		return unpack_lzma(format, src, len, dst, cap, out, err);
	case UNPACK_UNKNOWN:
		break;
	}
	return err_set(err, -EINVAL, "compressed in a format that Kite does not know");
}
