/* SPDX-License-Identifier: MIT */
/*
 * Two CPUs against each virtio device: one rings while the other resets and activates; one submits while the other changes descriptors,
 * indirect tables, headers and indices that the device is reading. Every buffer that is ever named lies in the device's data or where
 * there is no memory, so nothing else may change. The first CPU is in ring 3, for speed.
 */
#include "victim.h"

#define F (VIRTIO_F_INDIRECT | VIRTIO_F_EVENT_IDX)
#define ROUND_MS 60
#define PATIENCE_MS 20000

static struct victim *v;
static volatile bool stop, other_done;
static volatile uint32_t rounds;

/* Descriptors 0 to 2: a disk's read; others take the first. */
static void chain_fine(void)
{
	volatile struct vring_desc *d = v->vq.desc, *t = (void *)(v->data + 32768);
	uint64_t data = (uintptr_t)v->data;

	*(struct blk_header *)v->data = (struct blk_header){ .type = BLK_IN };
	if (v->dev.type == VIRTIO_BLK) {
		d[0] = (struct vring_desc){ data, 16, DESC_NEXT, 1 };
		d[1] = (struct vring_desc){ data + 4096, 4096, DESC_WRITE | DESC_NEXT, 2 };
		d[2] = (struct vring_desc){ data + 64, 1, DESC_WRITE, 0 };
		d[3] = (struct vring_desc){ (uintptr_t)t, 48, DESC_INDIRECT, 0 };
		for (unsigned i = 0; i < 3; i++)
			t[i] = d[i];
	} else {
		d[0] = (struct vring_desc){ data, 64, v->dev.type == VIRTIO_RNG ? DESC_WRITE : 0, 0 };
		d[3] = (struct vring_desc){ (uintptr_t)t, 16, DESC_INDIRECT, 0 };
		t[0] = d[0];
	}
}

/* Until the time is up and the other CPU has had a turn: on a busy machine it may begin late. */
static bool going(uint64_t end)
{
	uint64_t now = rdtsc();

	return now < end || (rounds == 0 && now < end + tsc_khz() * PATIENCE_MS);
}

/* ---- rings while the other resets ---- */

static void ringer(void *arg)
{
	uint64_t end = rdtsc() + tsc_khz() * ROUND_MS;
	uint16_t n = 0;

	(void)arg;
	while (going(end)) {
		chain_fine();
		v->vq.avail->ring[n & v->vq.mask] = n & 1 ? 3 : 0;
		v->vq.avail->idx = ++n;
		virtq_ring(&v->vq);
	}
	stop = true;
}

static void resetter(void *arg)
{
	(void)arg;
	while (!stop) {
		victim_begin(v, F);
		rounds++;
	}
	other_done = true;
}

/* ---- submits while the other changes ---- */

/* Each of the fields that the device reads, between right and wrong. */
static void changer(void *arg)
{
	uint64_t end = rdtsc() + tsc_khz() * ROUND_MS;
	volatile struct vring_desc *d = v->vq.desc, *t = (void *)(v->data + 32768);
	volatile struct blk_header *h = (void *)v->data;
	uint64_t data = (uintptr_t)v->data + 4096;

	(void)arg;
	for (unsigned i = 0; going(end); i++) {
		volatile struct vring_desc *x = i & 64 ? &t[1] : &d[1];
		unsigned what = i >> 8 & 7;

		if (v->dev.type != VIRTIO_BLK)
			x--;
		if (what == 0)
			x->len = i & 1 ? 64 : 0xffffffff;
		else if (what == 1)
			x->addr = i & 1 ? data : ~UINT64_C(15);
		else if (what == 2)
			x->next = i & 1 ? 2 : 0xffff;
		else if (what == 3)
			d[3].len = i & 1 ? 48 : 0xfffffff0;
		else if (what == 4)
			h->sector = i & 1 ? 0 : UINT64_C(1) << 55;
		else if (what == 5)
			h->type = i & 1 ? BLK_IN : BLK_DISCARD;
		else if (what == 6)
			v->vq.avail->ring[i & v->vq.mask] = i & 1 ? 0 : 0xfffe;
		else
			x->addr = i & 1 ? data : LAPIC;
	}
	stop = true;
}

static void submitter(void *arg)
{
	(void)arg;
	while (!stop) {
		if (rounds % 16 == 0 && virtio_status(&v->dev) & VIRTIO_NEEDS_RESET)
			victim_begin(v, F);
		chain_fine();
		virtq_publish(&v->vq, rounds & 1 ? 3 : 0);
		virtq_ring(&v->vq);
		for (unsigned i = 0; i < 50 && virtq_poll(&v->vq, NULL) < 0; i++)
			cpu_relax();
		rounds++;
	}
	other_done = true;
}

/* ---- */

static void begin(void *arg)
{
	(void)arg;
	victim_begin(v, F);
	chain_fine();
}

static void after(void *arg)
{
	victim_after(v, rounds > 0, arg);
}

static void race(void (*first)(void *arg), void (*second)(void *arg), const char *what)
{
	stop = other_done = false;
	rounds = 0;
	user_call(begin, NULL);
	smp_call_async(1, second, NULL);
	user_call(first, NULL);
	while (!other_done)
		cpu_relax();
	user_call(after, (void *)what);
}

static void start(void *arg)
{
	(void)arg;
	victims_start();
}

void payload_main(void)
{
	tsc_khz();
	if (!test(smp_start() >= 1, "a second CPU"))
		return;
	user_call(start, NULL);
	for (size_t i = 0; i < n_victims; i++)
		for (int legacy = 0; legacy < 2; legacy++) {
			v = &victims[i];
			if (!victim_interface(v, legacy))
				continue;
			race(ringer, resetter, "resets and activations while it is rung");
			race(changer, submitter, "fields that change while they are read");
		}
}
