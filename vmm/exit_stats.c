/* SPDX-License-Identifier: MIT */
#include "vmm/exit_stats.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "vmm/bus.h"
#include "vmm/exit.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define SHOWN 48 /* lines; the rest is one more */
#define FULL (EXIT_STATS_ROWS - EXIT_STATS_ROWS / 4)

struct exit_stats *exit_stats_create(void)
{
	struct exit_stats *stats = calloc(1, sizeof(*stats));

	if (stats)
		stats->others.key.kind = EXIT_KIND_OTHERS;
	return stats;
}

static bool same(const struct exit_key *a, const struct exit_key *b)
{
	return a->addr == b->addr && a->kind == b->kind && a->width == b->width;
}

/* The key's row, or the free one that is to be its. There is always one that is free. */
static struct exit_row *find(struct exit_stats *stats, const struct exit_key *key)
{
	/* Fibonacci hashing: neighbouring addresses end up far apart. */
	uint64_t hash = (key->addr ^ (uint64_t)key->kind << 61 ^ (uint64_t)key->width << 48) * UINT64_C(0x9e3779b97f4a7c15);
	unsigned i = (unsigned)(hash >> 32) % EXIT_STATS_ROWS;

	while (stats->rows[i].count && !same(&stats->rows[i].key, key))
		i = (i + 1) % EXIT_STATS_ROWS;
	return &stats->rows[i];
}

static void add(struct exit_stats *stats, const struct exit_key *key, uint64_t count, int64_t ns)
{
	struct exit_row *row = key->kind == EXIT_KIND_OTHERS ? &stats->others : find(stats, key);

	if (row != &stats->others && row->count == 0) {
		if (stats->used == FULL) {
			row = &stats->others;
		} else {
			stats->used++;
			row->key = *key;
		}
	}
	row->count += count;
	row->ns += ns;
}

void exit_stats_count(struct exit_stats *stats, const struct exit_key *key, int64_t ns)
{
	add(stats, key, 1, ns);
}

void exit_stats_add(struct exit_stats *stats, const struct exit_stats *from)
{
	for (unsigned i = 0; i < EXIT_STATS_ROWS; i++)
		if (from->rows[i].count)
			add(stats, &from->rows[i].key, from->rows[i].count, from->rows[i].ns);
	add(stats, &from->others.key, from->others.count, from->others.ns);
}

/* Most frequent first; the same number of times: by address, so that two runs can be compared. */
static int compare(const void *a, const void *b)
{
	const struct exit_row *x = a, *y = b;

	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	if (x->key.addr != y->key.addr)
		return x->key.addr < y->key.addr ? -1 : 1;
	return (int)x->key.kind - (int)y->key.kind;
}

static const char *const kind_words[EXIT_KINDS] = {
	[EXIT_KIND_IN] = "in",
	[EXIT_KIND_OUT] = "out",
	[EXIT_KIND_MMIO_READ] = "read",
	[EXIT_KIND_MMIO_WRITE] = "write",
	[EXIT_KIND_REASON] = "exit",
	[EXIT_KIND_OTHERS] = "others",
};

static void log_row(const struct exit_row *row, uint64_t total, struct bus *pio, struct bus *mmio)
{
	bool port = row->key.kind == EXIT_KIND_IN || row->key.kind == EXIT_KIND_OUT;
	char where[96] = "", device[64] = "";

	if (row->key.kind == EXIT_KIND_REASON) {
		snprintf(where, sizeof(where), " %s", exit_reason_name((unsigned)row->key.addr));
	} else if (row->key.kind != EXIT_KIND_OTHERS) {
		if (!bus_name(port ? pio : mmio, row->key.addr, device, sizeof(device)))
			snprintf(device, sizeof(device), "nothing");
		snprintf(where, sizeof(where), " %" PRIu32 " 0x%" PRIx64 " %s", row->key.width, row->key.addr, device);
	}
	log_info("exits: %9" PRIu64 " %5.1f %% %8.2f us  %s%s", row->count, 100.0 * (double)row->count / (double)total,
		 (double)row->ns / 1000 / (double)row->count, kind_words[row->key.kind], where);
}

void exit_stats_log(struct exit_stats *stats, struct bus *pio, struct bus *mmio)
{
	uint64_t total = stats->others.count;
	int64_t ns = stats->others.ns;

	qsort(stats->rows, EXIT_STATS_ROWS, sizeof(stats->rows[0]), compare);
	for (unsigned i = 0; i < stats->used; i++) {
		total += stats->rows[i].count;
		ns += stats->rows[i].ns;
	}
	for (unsigned i = SHOWN; i < stats->used; i++) {
		stats->others.count += stats->rows[i].count;
		stats->others.ns += stats->rows[i].ns;
	}
	log_info("exits: %" PRIu64 " in all, %.3f ms in Kite; how often, share, time each, what with how many bytes where", total, (double)ns / 1e6);
	for (unsigned i = 0; i < stats->used && i < SHOWN; i++)
		log_row(&stats->rows[i], total, pio, mmio);
	if (stats->others.count)
		log_row(&stats->others, total, pio, mmio);
}
