/* SPDX-License-Identifier: MIT */
/*
 * The memory of a machine as an ELF core (System V ABI, chapter 5; the notes as Linux writes them): what gdb and crash open. A program header
 * for each range of memory, with physical addresses for virtual ones, and one for the notes, which are the caller's.
 *
 * Thread: dump_write any, with no vCPU running; it blocks, and another thread may look at `completed` and set `cancel`.
 */
#ifndef VMM_DUMP_H
#define VMM_DUMP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct err;
struct guest_mem;

/* Notes, one after the other. Zero to begin with. */
struct dump_notes {
	uint8_t *data; /* owned */
	size_t len;
};

/* Appends one; copies. 0 or -ENOMEM. */
int dump_notes_add(struct dump_notes *notes, const char *name, uint32_t type, const void *desc, size_t len);
void dump_notes_fini(struct dump_notes *notes);

struct dump {
	const struct guest_mem *mem; /* borrowed */
	const struct dump_notes *notes; /* borrowed */
	uint64_t begin, length; /* only this part of physical memory; `length` 0: all */
	int fd;                 /* borrowed; written from where it stands, blocking or not */
	_Atomic uint64_t completed; /* bytes of memory that have been written */
	atomic_bool cancel;
};

/* Bytes of memory that will be written. 0: there is none in that part. */
uint64_t dump_total(const struct dump *dump);
/*
 * Writes it. Zeroes become holes where `fd` is a regular file without anything behind its position. 0, or -errno with `err`; -ECANCELED when
 * `cancel` was set, which it sees within a fraction of a second whatever `fd` is.
 */
int dump_write(struct dump *dump, struct err *err);

#endif
