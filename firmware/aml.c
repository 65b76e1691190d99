/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation: an object that holds others starts with its opcode and PkgLength, the number of bytes from there to its
 * end, in one to four bytes as needed. That number is known only at the end. So aml_begin_* writes the opcode and remembers
 * where the body starts, and aml_end measures the body and inserts the shortest PkgLength in front of it. Insertion moves only
 * bytes of the object being closed; the places remembered for the objects around it stay right.
 */
#include "firmware/aml.h"

#include <errno.h>
#include <string.h>

#include "firmware/blob.h"
#include "vmm/endian.h"
#include "vmm/util.h"

enum { /* ACPI 6.4, 20.3 */
	OP_ZERO = 0x00,
	OP_ONE = 0x01,
	OP_NAME = 0x08,
	OP_BYTE = 0x0a,
	OP_WORD = 0x0b,
	OP_DWORD = 0x0c,
	OP_STRING = 0x0d,
	OP_QWORD = 0x0e,
	OP_SCOPE = 0x10,
	OP_BUFFER = 0x11,
	OP_PACKAGE = 0x12,
	OP_METHOD = 0x14,
	OP_DUAL_NAME = 0x2e,
	OP_MULTI_NAME = 0x2f,
	OP_EXT = 0x5b,
	OP_AND = 0x7b,
	OP_NOTIFY = 0x86,
	OP_IF = 0xa0,
	OP_EXT_REGION = 0x80, /* after OP_EXT */
	OP_EXT_FIELD = 0x81,
	OP_EXT_DEVICE = 0x82,
};

enum { /* ACPI 6.4, 6.4.2: type and length in one byte; 6.4.3, from 0x80 on: the type, and then two bytes of length */
	RES_IRQ_NO_FLAGS = 0x22,
	RES_IO = 0x47,
	RES_END = 0x79,
	RES_MEMORY32_FIXED = 0x86,
	RES_DWORD_SPACE = 0x87,
	RES_WORD_SPACE = 0x88,
	RES_INTERRUPT = 0x89,
	RES_QWORD_SPACE = 0x8a,
};

#define NAME_SEG 4
#define NAME_MAX_SEGS 255
#define PKG_LENGTH_MAX 0x0fffffffu

void aml_init(struct aml *aml, struct blob *out)
{
	*aml = (struct aml){ .out = out };
}

int aml_finish(struct aml *aml)
{
	if (aml->depth != 0)
		blob_fail(aml->out, -EINVAL);
	return aml->out->error;
}

/* Copies one segment and fills it up with '_'. Returns its length in `s`, 0 when there is none. */
static size_t name_seg(const char *s, uint8_t seg[NAME_SEG])
{
	size_t n = 0;

	memset(seg, '_', NAME_SEG);
	for (; n < NAME_SEG; n++) {
		bool lead = (s[n] >= 'A' && s[n] <= 'Z') || s[n] == '_';

		if (!lead && !(n > 0 && s[n] >= '0' && s[n] <= '9'))
			break;
		seg[n] = (uint8_t)s[n];
	}
	return n;
}

/* A NameString (20.2.2): root and parent prefixes, then the count of segments in one of its forms, then the segments. */
static void put_path(struct aml *aml, const char *path)
{
	struct blob *out = aml->out;
	size_t n_segs = 0, start;
	const char *s = path;

	if (*s == '\\')
		blob_put_byte(out, (uint8_t)*s++);
	else
		for (; *s == '^'; s++)
			blob_put_byte(out, '^');
	start = out->len;
	while (*s) {
		uint8_t seg[NAME_SEG];
		size_t n = name_seg(s, seg);

		s += n;
		/* After a segment comes the end, or a dot and another segment. */
		if (n == 0 || (*s && (*s != '.' || !s[1])) || ++n_segs > NAME_MAX_SEGS) {
			blob_fail(out, -EINVAL);
			return;
		}
		blob_put(out, seg, sizeof(seg));
		if (*s)
			s++;
	}
	if (!*path)
		blob_fail(out, -EINVAL);
	else if (n_segs == 0)
		blob_put_byte(out, 0); /* NullName: the root itself, or a parent */
	else if (n_segs == 2)
		blob_insert(out, start, (const uint8_t[]){ OP_DUAL_NAME }, 1);
	else if (n_segs > 2)
		blob_insert(out, start, (const uint8_t[]){ OP_MULTI_NAME, (uint8_t)n_segs }, 2);
}

void aml_name(struct aml *aml, const char *path)
{
	blob_put_byte(aml->out, OP_NAME);
	put_path(aml, path);
}

#define INT_MAX_BYTES 9

/* The shortest form of an integer. Returns its bytes. */
static size_t encode_int(uint64_t v, uint8_t buf[INT_MAX_BYTES])
{
	unsigned bytes = v <= UINT8_MAX ? 1 : v <= UINT16_MAX ? 2 : v <= UINT32_MAX ? 4 : 8;

	if (v <= 1) {
		buf[0] = v ? OP_ONE : OP_ZERO;
		return 1;
	}
	buf[0] = bytes == 1 ? OP_BYTE : bytes == 2 ? OP_WORD : bytes == 4 ? OP_DWORD : OP_QWORD;
	store_le(buf + 1, v, bytes);
	return 1 + bytes;
}

void aml_int(struct aml *aml, uint64_t v)
{
	uint8_t buf[INT_MAX_BYTES];
	size_t n = encode_int(v, buf);

	blob_put(aml->out, buf, n);
}

void aml_string(struct aml *aml, const char *s)
{
	for (const char *p = s; *p; p++)
		if (*p < ' ' || *p > '~')
			blob_fail(aml->out, -EINVAL);
	blob_put_byte(aml->out, OP_STRING);
	blob_put(aml->out, s, strlen(s) + 1);
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Three letters of five bits each and four hexadecimal digits, the most significant byte first (ACPI 6.4, 19.3.4). */
static bool eisa_id(const char *s, uint8_t id[4])
{
	uint32_t v = 0;

	if (strlen(s) != 7)
		return false;
	for (int i = 0; i < 3; i++) {
		if (s[i] < 'A' || s[i] > 'Z')
			return false;
		v = v << 5 | (uint32_t)(s[i] - 'A' + 1);
	}
	for (int i = 3; i < 7; i++) {
		if (hex_digit(s[i]) < 0)
			return false;
		v = v << 4 | (uint32_t)hex_digit(s[i]);
	}
	for (int i = 0; i < 4; i++)
		id[i] = (uint8_t)(v >> (24 - 8 * i));
	return true;
}

void aml_hid(struct aml *aml, const char *hid)
{
	uint8_t id[4];

	if (!eisa_id(hid, id)) {
		aml_string(aml, hid);
		return;
	}
	blob_put_byte(aml->out, OP_DWORD);
	blob_put(aml->out, id, sizeof(id));
}

static void begin(struct aml *aml, bool resources)
{
	if (aml->depth >= AML_MAX_DEPTH) {
		blob_fail(aml->out, -EINVAL);
		return;
	}
	aml->open[aml->depth].start = aml->out->len;
	aml->open[aml->depth].resources = resources;
	aml->depth++;
}

void aml_begin_scope(struct aml *aml, const char *path)
{
	blob_put_byte(aml->out, OP_SCOPE);
	begin(aml, false);
	put_path(aml, path);
}

void aml_begin_device(struct aml *aml, const char *path)
{
	blob_put(aml->out, (const uint8_t[]){ OP_EXT, OP_EXT_DEVICE }, 2);
	begin(aml, false);
	put_path(aml, path);
}

void aml_begin_package(struct aml *aml, uint8_t n_elements)
{
	blob_put_byte(aml->out, OP_PACKAGE);
	begin(aml, false);
	blob_put_byte(aml->out, n_elements);
}

#define METHOD_MAX_ARGS 7
#define METHOD_SERIALIZED BIT(3)

void aml_begin_method(struct aml *aml, const char *path, unsigned n_args)
{
	if (n_args > METHOD_MAX_ARGS)
		blob_fail(aml->out, -EINVAL);
	blob_put_byte(aml->out, OP_METHOD);
	begin(aml, false);
	put_path(aml, path);
	blob_put_byte(aml->out, (uint8_t)(n_args | METHOD_SERIALIZED));
}

void aml_begin_if_bits(struct aml *aml, const char *path, uint64_t mask)
{
	blob_put_byte(aml->out, OP_IF);
	begin(aml, false);
	blob_put_byte(aml->out, OP_AND);
	put_path(aml, path);
	aml_int(aml, mask);
	blob_put_byte(aml->out, 0); /* the result is stored nowhere */
}

void aml_notify(struct aml *aml, const char *path, uint8_t value)
{
	blob_put_byte(aml->out, OP_NOTIFY);
	put_path(aml, path);
	aml_int(aml, value);
}

#define REGION_PORTS 1 /* SystemIO */

void aml_port_field(struct aml *aml, const char *region, const char *field, uint16_t port, unsigned bytes)
{
	uint8_t seg[NAME_SEG];
	uint8_t access = bytes == 1 ? 1 : bytes == 2 ? 2 : 3; /* ByteAcc, WordAcc, DWordAcc; no lock; the rest preserved */

	if ((bytes != 1 && bytes != 2 && bytes != 4) || port + bytes > UINT16_MAX + 1u || !name_seg(field, seg))
		blob_fail(aml->out, -EINVAL);
	blob_put(aml->out, (const uint8_t[]){ OP_EXT, OP_EXT_REGION }, 2);
	put_path(aml, region);
	blob_put_byte(aml->out, REGION_PORTS);
	aml_int(aml, port);
	aml_int(aml, bytes);
	blob_put(aml->out, (const uint8_t[]){ OP_EXT, OP_EXT_FIELD }, 2);
	begin(aml, false);
	put_path(aml, region);
	blob_put_byte(aml->out, access);
	blob_put(aml->out, seg, sizeof(seg));
	blob_put_byte(aml->out, (uint8_t)(8 * bytes)); /* a PkgLength of one byte, in bits */
	aml_end(aml);
}

void aml_begin_resources(struct aml *aml)
{
	blob_put_byte(aml->out, OP_BUFFER);
	begin(aml, true);
}

/* Inserts the PkgLength (20.2.4) of the `body` bytes that start at `at`; it counts itself. */
static void insert_pkg_length(struct blob *out, size_t at, size_t body)
{
	unsigned bytes = body + 1 <= 0x3f ? 1 : body + 2 <= 0xfff ? 2 : body + 3 <= 0xfffff ? 3 : 4;
	uint8_t buf[4];
	uint32_t total;

	if (body > PKG_LENGTH_MAX - bytes) {
		blob_fail(out, -EINVAL);
		return;
	}
	total = (uint32_t)body + bytes;
	if (bytes == 1) {
		buf[0] = (uint8_t)total;
	} else {
		/* The lead byte: how many follow, and the four lowest bits. */
		buf[0] = (uint8_t)((bytes - 1) << 6 | (total & 0xf));
		store_le(buf + 1, total >> 4, bytes - 1);
	}
	blob_insert(out, at, buf, bytes);
}

void aml_end(struct aml *aml)
{
	struct blob *out = aml->out;
	uint8_t size[INT_MAX_BYTES];
	size_t start;

	if (aml->depth == 0) {
		blob_fail(out, -EINVAL);
		return;
	}
	start = aml->open[--aml->depth].start;
	if (aml->open[aml->depth].resources) {
		/* An end tag whose checksum of zero means "not checked" (6.4.2.9); then the buffer's own size in front. */
		blob_put(out, (const uint8_t[]){ RES_END, 0 }, 2);
		blob_insert(out, start, size, encode_int(out->len - start, size));
	}
	insert_pkg_length(out, start, out->len - start);
}

static bool in_resources(struct aml *aml)
{
	bool ok = aml->depth > 0 && aml->open[aml->depth - 1].resources;

	if (!ok)
		blob_fail(aml->out, -EINVAL);
	return ok;
}

void aml_io(struct aml *aml, uint16_t base, uint16_t len)
{
	uint8_t d[8] = { RES_IO, 1 /* 16 bits decoded */, [6] = 1 /* alignment */ };

	if (!in_resources(aml))
		return;
	if (len == 0 || len > UINT8_MAX || base + len > UINT16_MAX + 1) {
		blob_fail(aml->out, -EINVAL);
		return;
	}
	store_le16(d + 2, base); /* lowest and highest base: it cannot move */
	store_le16(d + 4, base);
	d[7] = (uint8_t)len;
	blob_put(aml->out, d, sizeof(d));
}

void aml_irq(struct aml *aml, uint8_t irq)
{
	uint8_t d[3] = { RES_IRQ_NO_FLAGS };

	if (!in_resources(aml))
		return;
	if (irq > 15) {
		blob_fail(aml->out, -EINVAL);
		return;
	}
	store_le16(d + 1, (uint16_t)BIT(irq));
	blob_put(aml->out, d, sizeof(d));
}

void aml_memory(struct aml *aml, uint32_t base, uint32_t len)
{
	uint8_t d[12] = { RES_MEMORY32_FIXED, sizeof(d) - 3, [3] = 1 /* writable */ };

	if (!in_resources(aml))
		return;
	store_le32(d + 4, base);
	store_le32(d + 8, len);
	blob_put(aml->out, d, sizeof(d));
}

#define INTERRUPT_CONSUMER BIT(0) /* level-triggered and active high are 0 */
#define INTERRUPT_SHARED BIT(3)

void aml_interrupt(struct aml *aml, uint32_t gsi, bool shared)
{
	uint8_t d[9] = { RES_INTERRUPT, sizeof(d) - 3, [3] = INTERRUPT_CONSUMER, [4] = 1 /* of them */ };

	if (!in_resources(aml))
		return;
	if (shared)
		d[3] |= INTERRUPT_SHARED;
	store_le32(d + 5, gsi);
	blob_put(aml->out, d, sizeof(d));
}

#define SPACE_FIXED 0x0c /* general flags: neither end moves; handed on, not consumed */
#define SPACE_HEAD 6

void aml_window(struct aml *aml, enum aml_space space, uint64_t base, uint64_t len)
{
	static const uint8_t specific[] = {
		[AML_MEMORY] = 1, /* writable, not cacheable */
		[AML_PORTS] = 3,  /* all of them, not only those that ISA decodes */
		[AML_BUSES] = 0,
	};
	uint64_t last = base + (len - 1);
	unsigned bytes = last > UINT32_MAX ? 8 : last > UINT16_MAX || space == AML_MEMORY ? 4 : 2;
	uint8_t d[SPACE_HEAD + 5 * 8] = { bytes == 8 ? RES_QWORD_SPACE : bytes == 4 ? RES_DWORD_SPACE : RES_WORD_SPACE };

	if (!in_resources(aml))
		return;
	if (len == 0 || last < base) {
		blob_fail(aml->out, -EINVAL);
		return;
	}
	store_le16(d + 1, (uint16_t)(SPACE_HEAD - 3 + 5 * bytes));
	d[3] = (uint8_t)space;
	d[4] = SPACE_FIXED;
	d[5] = specific[space];
	/* Granularity 0, first, last, translation 0, length. */
	store_le(d + SPACE_HEAD + bytes, base, bytes);
	store_le(d + SPACE_HEAD + 2 * bytes, last, bytes);
	store_le(d + SPACE_HEAD + 4 * bytes, len, bytes);
	blob_put(aml->out, d, SPACE_HEAD + 5 * bytes);
}
