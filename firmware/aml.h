/* SPDX-License-Identifier: MIT */
/*
 * An encoder for the ACPI Machine Language (ACPI 6.4, chapter 20): what the DSDT needs of it.
 *
 * Objects are written in order. Those that hold others are opened by aml_begin_* and closed by aml_end, and nest:
 *
 *	aml_begin_device(&aml, "COM1");
 *	aml_name(&aml, "_UID");
 *	aml_int(&aml, 1);
 *	aml_end(&aml);
 *
 * The first failure sticks in the blob, so only aml_finish needs a check. -EINVAL: a name, string or number that the language
 * cannot express, or begin and end that do not pair; -ENOSPC and -ENOMEM from the blob.
 *
 * Thread: one at a time.
 */
#ifndef FIRMWARE_AML_H
#define FIRMWARE_AML_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blob;

#define AML_MAX_DEPTH 8

struct aml {
	struct blob *out; /* borrowed */
	unsigned depth;
	struct {
		size_t start;   /* offset of what the PkgLength counts, without itself */
		bool resources; /* a resource template, which aml_end closes in its own way */
	} open[AML_MAX_DEPTH];
};

/* Appends to `out`. */
void aml_init(struct aml *aml, struct blob *out);

/* 0 when all is closed and nothing has failed; else the first error. */
int aml_finish(struct aml *aml);

/*
 * Name(path, ...): one object must follow. A path is as in ASL: an optional "\" or "^"s, then segments of one to four of A-Z,
 * 0-9 and _ with "." between.
 */
void aml_name(struct aml *aml, const char *path);

void aml_int(struct aml *aml, uint64_t v);
void aml_string(struct aml *aml, const char *s); /* 7-bit, no controls */
/* A hardware id: the 32-bit form when it has the shape of an EISA id ("PNP0501"), else a string ("ACPI0007"). */
void aml_hid(struct aml *aml, const char *hid);

void aml_begin_scope(struct aml *aml, const char *path);
void aml_begin_device(struct aml *aml, const char *path);
void aml_begin_package(struct aml *aml, uint8_t n_elements);
void aml_begin_method(struct aml *aml, const char *path, unsigned n_args); /* serialized; at most 7 arguments */
/* If (path & mask): what follows is done when a bit of `mask` is set in the integer that `path` names, which is read once. */
void aml_begin_if_bits(struct aml *aml, const char *path, uint64_t mask);
void aml_end(struct aml *aml);

/* Notify (path, value): tells the device's driver. In a method. */
void aml_notify(struct aml *aml, const char *path, uint8_t value);
/* I/O ports as an operation region (19.6.100), and one field over all of it, of 1, 2 or 4 bytes, read and written whole. */
void aml_port_field(struct aml *aml, const char *region, const char *field, uint16_t port, unsigned bytes);

/* A resource template, closed by aml_end, holding only the descriptors below (ACPI 6.4, 6.4.2 and 6.4.3). */
void aml_begin_resources(struct aml *aml);
void aml_io(struct aml *aml, uint16_t base, uint16_t len); /* fixed ports, 16 bits decoded; at most 255 */
void aml_irq(struct aml *aml, uint8_t irq);                /* ISA 0 to 15, edge-triggered, active high, exclusive */
void aml_memory(struct aml *aml, uint32_t base, uint32_t len); /* fixed, writable */
void aml_interrupt(struct aml *aml, uint32_t gsi, bool shared); /* any GSI (6.4.3.6), level-triggered, active high */

/* A range that a bridge hands on to its bus (6.4.3.5), fixed; in the shortest of 2 (not memory), 4 or 8-byte numbers. `len` is not 0. */
enum aml_space { AML_MEMORY, AML_PORTS, AML_BUSES };
void aml_window(struct aml *aml, enum aml_space space, uint64_t base, uint64_t len);

#endif
