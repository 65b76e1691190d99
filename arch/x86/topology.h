/* SPDX-License-Identifier: MIT */
/*
 * From -smp to APIC ids: each level of the topology has its own bit field in the id, wide enough for its count (Intel SDM volume
 * 3, 9.9.1), so ids have gaps when counts are not powers of two.
 *
 * Pure functions.
 */
#ifndef ARCH_X86_TOPOLOGY_H
#define ARCH_X86_TOPOLOGY_H

#include <stdint.h>

struct topology {
	unsigned sockets, cores, threads; /* threads per core, cores per socket; each at least 1 */
};

/* Bits needed to number `n` things, n >= 1: 0 for 1, 1 for 2, 2 for 3 and 4. */
static inline unsigned topology_bits(unsigned n)
{
	unsigned bits = 0;

	while ((1u << bits) < n)
		bits++;
	return bits;
}

/* How far an APIC id is shifted right to give the core's number in the system, and the package's. */
static inline unsigned topology_core_shift(const struct topology *t)
{
	return topology_bits(t->threads);
}

static inline unsigned topology_package_shift(const struct topology *t)
{
	return topology_bits(t->threads) + topology_bits(t->cores);
}

/* vCPU `index` counts threads first, then cores, then sockets. */
static inline uint32_t topology_apic_id(const struct topology *t, unsigned index)
{
	unsigned thread = index % t->threads;
	unsigned core = index / t->threads % t->cores;
	unsigned socket = index / t->threads / t->cores;

	return socket << topology_package_shift(t) | core << topology_core_shift(t) | thread;
}

#endif
