/* SPDX-License-Identifier: MIT */
/*
 * Little-endian wire fields. le16, le32 and le64 are one-member structs, so that a wire field cannot be used as a number, or a
 * number stored as a wire field, without a conversion the compiler sees; they have an alignment of one, so that a wire struct
 * made of them has no holes and may stand at any address. They are the one exception to "no typedef'd structs".
 */
#ifndef VMM_ENDIAN_H
#define VMM_ENDIAN_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

typedef struct { uint8_t b[2]; } le16;
typedef struct { uint8_t b[4]; } le32;
typedef struct { uint8_t b[8]; } le64;

/* Loads and stores at any alignment. */
static inline uint16_t load_le16(const void *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return le16toh(v);
}

static inline uint32_t load_le32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static inline uint64_t load_le64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static inline void store_le16(void *p, uint16_t v)
{
	v = htole16(v);
	memcpy(p, &v, sizeof(v));
}

static inline void store_le32(void *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

static inline void store_le64(void *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
}

static inline uint16_t le16_get(le16 v)
{
	return load_le16(v.b);
}

static inline uint32_t le32_get(le32 v)
{
	return load_le32(v.b);
}

static inline uint64_t le64_get(le64 v)
{
	return load_le64(v.b);
}

static inline le16 le16_of(uint16_t v)
{
	le16 r = { { 0 } };

	store_le16(r.b, v);
	return r;
}

static inline le32 le32_of(uint32_t v)
{
	le32 r = { { 0 } };

	store_le32(r.b, v);
	return r;
}

static inline le64 le64_of(uint64_t v)
{
	le64 r = { { 0 } };

	store_le64(r.b, v);
	return r;
}

/* A register access of 1 to 8 bytes as a number, and back: what bus handlers get and give. Bytes beyond `len` are not touched. */
static inline uint64_t load_le(const void *p, unsigned len)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < len && i < 8; i++)
		v |= (uint64_t)((const uint8_t *)p)[i] << (8 * i);
	return v;
}

static inline void store_le(void *p, uint64_t v, unsigned len)
{
	for (unsigned i = 0; i < len && i < 8; i++)
		((uint8_t *)p)[i] = (uint8_t)(v >> (8 * i));
}

#endif
