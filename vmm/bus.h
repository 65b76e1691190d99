/* SPDX-License-Identifier: MIT */
/*
 * An address bus: port I/O or memory-mapped I/O. It finds the device that owns an address and calls its handler.
 *
 * Access rules, the same for every device, so that no handler sees an access that leaves its region:
 *  - an access that crosses the end of a region is split there, and each part goes where it belongs;
 *  - an access wider than the region's `width` is split into pieces of that width, lowest address first, as the bus hardware
 *    does with narrow devices; a misaligned access is split so that no piece crosses a multiple of `width`, counted from the
 *    region's base (so a piece may have 3 bytes, too);
 *  - what nobody claims reads as all ones, and writes to it are dropped.
 *
 * Handlers run in the vCPU thread that made the access, possibly several at once, and never under the bus's lock: a device
 * locks itself. Buffers hold the guest's bytes in little-endian order.
 *
 * Thread: bus_read and bus_write from any thread, also while a region is added, moved or removed. A handler that has
 * already begun may still run when bus_remove returns: pause the vCPUs before destroying its device. bus_add, bus_move and
 * bus_remove serialize among themselves.
 */
#ifndef VMM_BUS_H
#define VMM_BUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bus;
struct err;

#define BUS_MAX_REGIONS 512
#define BUS_ANY_WIDTH 8

struct bus_ops {
	/* 1 <= len <= width; offset + len <= size. `buf` arrives filled with ones. NULL: reads as all ones. */
	void (*read)(void *dev, uint64_t offset, uint8_t *buf, unsigned len);
	/* NULL: writes are dropped. */
	void (*write)(void *dev, uint64_t offset, const uint8_t *buf, unsigned len);
	unsigned width; /* widest access that the device takes: 1, 2, 4 or 8 */
};

/* Owned by the device, not changed or freed while on a bus. */
struct bus_region {
	const char *name; /* for messages: "serial0" */
	uint64_t base;    /* the bus writes it in bus_move */
	uint64_t size;    /* bytes, not 0 */
	const struct bus_ops *ops;
	void *dev; /* first argument of the handlers */
};

/* `name` for messages ("I/O port", "memory"), borrowed; addresses go from 0 to `last`. NULL with `err` set on failure. */
struct bus *bus_create(const char *name, uint64_t last, struct err *err);
void bus_destroy(struct bus *bus);

/*
 * Places a region. Errors, with nothing changed: -EEXIST when it overlaps another (the message names both), -ERANGE when it
 * does not fit the bus, -ENOSPC when the bus is full, -EINVAL for size 0 or a bad width.
 */
int bus_add(struct bus *bus, struct bus_region *region, struct err *err);
void bus_remove(struct bus *bus, struct bus_region *region);
/* As bus_remove and bus_add in one step: no access finds the region in neither place. Same errors, then it stays where it was. */
int bus_move(struct bus *bus, struct bus_region *region, uint64_t base, struct err *err);

/* Calls `fn` for every region, from the lowest address on, under the bus's lock of writers: `fn` may read what it is given, and no more. */
void bus_each(struct bus *bus, void (*fn)(void *opaque, const struct bus_region *region), void *opaque);

/* `len` 1 to 8. Returns whether any region claimed a byte of it. */
bool bus_read(struct bus *bus, uint64_t addr, uint8_t *buf, unsigned len);
bool bus_write(struct bus *bus, uint64_t addr, const uint8_t *buf, unsigned len);

/*
 * The name of the region at `addr`, copied (cut to `size`, with its terminator). False when nothing is there. Any thread; takes the lock that
 * bus_add takes.
 */
bool bus_name(struct bus *bus, uint64_t addr, char *name, size_t size);

#endif
