/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation
 *
 * Every port and memory access of the guest that leaves KVM looks a region up here, so the lookup takes no lock and never
 * waits, not even for a writer that the host has descheduled half-way. Writers are rare (start-up, a guest moving a BAR).
 *
 * The truth is `sorted`, guarded by `lock`. Readers see one of two published copies of it, chosen by the lowest bit of `seq`. A
 * writer publishes twice: it flips `seq` to send readers to the other copy, rewrites the copy they left, flips back, and rewrites
 * the second. A reader that began before a flip may find the copy rewritten under its hands; it looks at `seq` afterwards, and
 * starts over when it changed. Nothing of the entry is used before that check. So each lookup sees the regions either wholly
 * before or wholly after a change: this is what makes bus_move one step.
 *
 * Memory ordering, with no fences (thread sanitizers do not model them). All fields of a copy are atomics.
 *  - Writer: store seq = s + 1, then store-release each field, then store-release seq = s + 2.
 *  - Reader: load-acquire seq, load-acquire fields, load seq again.
 *  A reader that gets any field of a rewrite synchronizes with its store-release; the store of seq before it happens before the
 *  reader's second load of seq, which then sees that value or a later one: it differs from the first load, and the reader retries.
 *  A reader whose first load sees the value that ends a rewrite synchronizes with it, and sees all of that rewrite's fields.
 *  `seq` does not come round to the same value within a lookup: that would take 2^63 changes.
 *  What a device wrote before bus_add is visible to its handlers by the same edges.
 */
#include "vmm/bus.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "vmm/err.h"
#include "vmm/util.h"

/* A region as readers see it: all they need of it, so that they never touch the device's bus_region. */
struct bus_entry {
	_Atomic uint64_t first, last; /* addresses, inclusive */
	_Atomic(const struct bus_ops *) ops;
	_Atomic(void *) dev;
};

struct bus_copy {
	_Atomic unsigned n;
	struct bus_entry entry[BUS_MAX_REGIONS];
};

struct bus {
	const char *name;
	uint64_t last;
	_Atomic uint64_t seq; /* written under `lock`, read by bus_find */
	struct bus_copy copy[2];

	pthread_mutex_t lock; /* writers; guards what follows */
	unsigned n;
	struct bus_region *sorted[BUS_MAX_REGIONS]; /* by base */
};

/* What is at an address: a region, or a gap between regions (ops NULL). */
struct bus_hit {
	uint64_t first, last;
	const struct bus_ops *ops;
	void *dev;
};

struct bus *bus_create(const char *name, uint64_t last, struct err *err)
{
	struct bus *bus = sparse_alloc(sizeof(*bus));

	if (!bus) {
		err_set(err, -ENOMEM, "%s bus: not enough memory on the host", name);
		return NULL;
	}
	bus->name = name;
	bus->last = last;
	pthread_mutex_init(&bus->lock, NULL);
	return bus;
}

void bus_destroy(struct bus *bus)
{
	if (!bus)
		return;
	pthread_mutex_destroy(&bus->lock);
	sparse_free(bus, sizeof(*bus));
}

static uint64_t region_last(const struct bus_region *r)
{
	return r->base + (r->size - 1);
}

static void bus_fill_copy(const struct bus *bus, struct bus_copy *copy)
{
	for (unsigned i = 0; i < bus->n; i++) {
		const struct bus_region *r = bus->sorted[i];
		struct bus_entry *e = &copy->entry[i];

		atomic_store_explicit(&e->first, r->base, memory_order_release);
		atomic_store_explicit(&e->last, region_last(r), memory_order_release);
		atomic_store_explicit(&e->ops, r->ops, memory_order_release);
		atomic_store_explicit(&e->dev, r->dev, memory_order_release);
	}
	atomic_store_explicit(&copy->n, bus->n, memory_order_release);
}

/* Makes `sorted` what readers see. `seq` is even between calls: then readers are at copy 0. */
static void bus_publish(struct bus *bus)
{
	uint64_t seq = atomic_load_explicit(&bus->seq, memory_order_relaxed);

	for (unsigned i = 0; i < 2; i++) {
		atomic_store_explicit(&bus->seq, ++seq, memory_order_release);
		bus_fill_copy(bus, &bus->copy[i]);
	}
}

/* The index of the first region in `sorted` whose base is not below `base`. */
static unsigned bus_slot(const struct bus *bus, uint64_t base)
{
	unsigned i = 0;

	while (i < bus->n && bus->sorted[i]->base < base)
		i++;
	return i;
}

static int bus_index(const struct bus *bus, const struct bus_region *region)
{
	for (unsigned i = 0; i < bus->n; i++)
		if (bus->sorted[i] == region)
			return (int)i;
	return -1;
}

static void bus_insert(struct bus *bus, struct bus_region *region)
{
	unsigned i = bus_slot(bus, region->base);

	memmove(&bus->sorted[i + 1], &bus->sorted[i], (bus->n - i) * sizeof(bus->sorted[0]));
	bus->sorted[i] = region;
	bus->n++;
}

static void bus_take_out(struct bus *bus, unsigned i)
{
	bus->n--;
	memmove(&bus->sorted[i], &bus->sorted[i + 1], (bus->n - i) * sizeof(bus->sorted[0]));
}

/* Whether `region` may stand at `base`; where it stands now does not count. */
static int bus_check_place(const struct bus *bus, const struct bus_region *region, uint64_t base, struct err *err)
{
	uint64_t last;

	if (base > bus->last || region->size - 1 > bus->last - base)
		return err_set(err, -ERANGE,
			       "%s: %s 0x%" PRIx64 " with size 0x%" PRIx64 " does not fit: the last one is 0x%" PRIx64,
			       region->name, bus->name, base, region->size, bus->last);
	last = base + (region->size - 1);
	for (unsigned i = 0; i < bus->n; i++) {
		const struct bus_region *r = bus->sorted[i];

		if (r != region && r->base <= last && base <= region_last(r))
			return err_set(err, -EEXIST,
				       "%s: %s 0x%" PRIx64 "-0x%" PRIx64 " is taken by %s (0x%" PRIx64 "-0x%" PRIx64
				       "); give one of them another address",
				       region->name, bus->name, base, last, r->name, r->base, region_last(r));
	}
	return 0;
}

static int bus_check_region(const struct bus *bus, const struct bus_region *region, struct err *err)
{
	unsigned width = region->ops->width;

	if (region->size == 0)
		return err_set(err, -EINVAL, "%s: a %s region of size 0", region->name, bus->name);
	if (width != 1 && width != 2 && width != 4 && width != 8)
		return err_set(err, -EINVAL, "%s: a %s region with accesses of %u bytes; 1, 2, 4 and 8 exist", region->name,
			       bus->name, width);
	return 0;
}

int bus_add(struct bus *bus, struct bus_region *region, struct err *err)
{
	int ret = bus_check_region(bus, region, err);

	if (ret < 0)
		return ret;
	pthread_mutex_lock(&bus->lock);
	if (bus_index(bus, region) >= 0)
		ret = err_set(err, -EEXIST, "%s: is on the %s bus already", region->name, bus->name);
	else
		ret = bus_check_place(bus, region, region->base, err);
	if (ret == 0 && bus->n == BUS_MAX_REGIONS)
		ret = err_set(err, -ENOSPC, "%s: the %s bus is full (%d regions); use fewer devices", region->name, bus->name,
			      BUS_MAX_REGIONS);
	if (ret == 0) {
		bus_insert(bus, region);
		bus_publish(bus);
	}
	pthread_mutex_unlock(&bus->lock);
	return ret;
}

void bus_each(struct bus *bus, void (*fn)(void *opaque, const struct bus_region *region), void *opaque)
{
	pthread_mutex_lock(&bus->lock);
	for (unsigned i = 0; i < bus->n; i++)
		fn(opaque, bus->sorted[i]);
	pthread_mutex_unlock(&bus->lock);
}

void bus_remove(struct bus *bus, struct bus_region *region)
{
	int i;

	pthread_mutex_lock(&bus->lock);
	i = bus_index(bus, region);
	if (i >= 0) {
		bus_take_out(bus, (unsigned)i);
		bus_publish(bus);
	}
	pthread_mutex_unlock(&bus->lock);
}

int bus_move(struct bus *bus, struct bus_region *region, uint64_t base, struct err *err)
{
	int i, ret;

	pthread_mutex_lock(&bus->lock);
	i = bus_index(bus, region);
	if (i < 0)
		ret = err_set(err, -ENOENT, "%s: is not on the %s bus", region->name, bus->name);
	else
		ret = bus_check_place(bus, region, base, err);
	if (ret == 0) {
		bus_take_out(bus, (unsigned)i);
		region->base = base;
		bus_insert(bus, region);
		bus_publish(bus);
	}
	pthread_mutex_unlock(&bus->lock);
	return ret;
}

/* Binary search in one copy. What it finds is worth something only when `seq` did not change meanwhile. */
static void copy_find(const struct bus_copy *copy, uint64_t addr, struct bus_hit *hit)
{
	unsigned lo = 0, hi = atomic_load_explicit(&copy->n, memory_order_acquire);

	hit->first = 0;
	hit->last = UINT64_MAX;
	hit->ops = NULL;
	hit->dev = NULL;
	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;
		const struct bus_entry *e = &copy->entry[mid];
		uint64_t first = atomic_load_explicit(&e->first, memory_order_acquire);
		uint64_t last = atomic_load_explicit(&e->last, memory_order_acquire);

		if (addr < first) {
			hit->last = first - 1;
			hi = mid;
		} else if (addr > last) {
			lo = mid + 1;
		} else {
			hit->first = first;
			hit->last = last;
			hit->ops = atomic_load_explicit(&e->ops, memory_order_acquire);
			hit->dev = atomic_load_explicit(&e->dev, memory_order_acquire);
			return;
		}
	}
}

static void bus_find(struct bus *bus, uint64_t addr, struct bus_hit *hit)
{
	uint64_t seq = atomic_load_explicit(&bus->seq, memory_order_acquire), now;

	for (;;) {
		copy_find(&bus->copy[seq & 1], addr, hit);
		now = atomic_load_explicit(&bus->seq, memory_order_acquire);
		if (now == seq)
			return;
		seq = now;
	}
}

/* How many of `len` bytes at `addr` make the next piece: to the region's end, and within `width` bytes of the device. */
static unsigned piece_len(const struct bus_hit *hit, uint64_t addr, unsigned len)
{
	uint64_t left = hit->last - addr; /* beyond the first byte */

	if (left < len - 1)
		len = (unsigned)left + 1;
	if (hit->ops) {
		unsigned width = hit->ops->width;
		unsigned room = width - ((addr - hit->first) & (width - 1));

		if (len > room)
			len = room;
	}
	return len;
}

static bool bus_access(struct bus *bus, uint64_t addr, uint8_t *read_buf, const uint8_t *write_buf, unsigned len)
{
	struct bus_hit hit = { .first = 1, .last = 0 }; /* nothing is in it */
	bool claimed = false;

	for (unsigned done = 0, n = 0; done < len; done += n, addr += n) {
		if (addr < n)
			break; /* beyond the last address there is nothing; it does not go on at 0 */
		if (addr < hit.first || addr > hit.last)
			bus_find(bus, addr, &hit);
		n = piece_len(&hit, addr, len - done);
		if (!hit.ops)
			continue;
		claimed = true;
		if (read_buf && hit.ops->read)
			hit.ops->read(hit.dev, addr - hit.first, read_buf + done, n);
		else if (write_buf && hit.ops->write)
			hit.ops->write(hit.dev, addr - hit.first, write_buf + done, n);
	}
	return claimed;
}

bool bus_read(struct bus *bus, uint64_t addr, uint8_t *buf, unsigned len)
{
	memset(buf, 0xff, len);
	return bus_access(bus, addr, buf, NULL, len);
}

bool bus_write(struct bus *bus, uint64_t addr, const uint8_t *buf, unsigned len)
{
	return bus_access(bus, addr, NULL, buf, len);
}

bool bus_name(struct bus *bus, uint64_t addr, char *name, size_t size)
{
	bool found = false;

	pthread_mutex_lock(&bus->lock);
	for (unsigned i = 0; i < bus->n && !found; i++) {
		found = addr >= bus->sorted[i]->base && addr <= region_last(bus->sorted[i]);
		if (found)
			snprintf(name, size, "%s", bus->sorted[i]->name);
	}
	pthread_mutex_unlock(&bus->lock);
	return found;
}
