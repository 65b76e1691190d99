/* SPDX-License-Identifier: MIT */
/*
 * -d exits: how often vCPUs left KVM_RUN, by what for and where, and how long Kite took for it. A vCPU has one of its own, so counting
 * takes no lock; they are added up when the machine has ended.
 *
 * Where a guest accesses more different addresses than EXIT_STATS_ROWS, the later ones are counted together: a guest chooses the
 * addresses, and gets no memory for them.
 *
 * Thread: one at a time.
 */
#ifndef VMM_EXIT_STATS_H
#define VMM_EXIT_STATS_H

#include <stdint.h>

struct bus;

#define EXIT_STATS_ROWS 1024

enum exit_kind {
	EXIT_KIND_IN,
	EXIT_KIND_OUT,
	EXIT_KIND_MMIO_READ,
	EXIT_KIND_MMIO_WRITE,
	EXIT_KIND_REASON, /* neither: the address is KVM's exit reason */
	EXIT_KIND_OTHERS, /* those that found no room */
	EXIT_KINDS,
};

struct exit_key {
	enum exit_kind kind;
	uint64_t addr;
	uint32_t width; /* bytes of an access; 0: not one */
};

struct exit_row {
	struct exit_key key;
	uint64_t count; /* 0: the row is free */
	int64_t ns;     /* in Kite, all of them together */
};

struct exit_stats {
	unsigned used;
	struct exit_row others;
	struct exit_row rows[EXIT_STATS_ROWS]; /* a hash table with linear probing */
};

/* NULL without memory. Freed with free(). */
struct exit_stats *exit_stats_create(void);

void exit_stats_count(struct exit_stats *stats, const struct exit_key *key, int64_t ns);

/* Adds what `from` has. */
void exit_stats_add(struct exit_stats *stats, const struct exit_stats *from);

/*
 * The histogram, most frequent first, on the log: a line each, with the name of the device that is at the address now. Orders the rows, so
 * that nothing can be counted any more.
 */
void exit_stats_log(struct exit_stats *stats, struct bus *pio, struct bus *mmio);

#endif
