/* SPDX-License-Identifier: MIT */
/*
 * Rings and chains that break the rules of 2.7, on every virtio device and by each of its interfaces. What must happen stands in the
 * table: the device asks to be reset, or answers; never anything to memory that it was not given, nor to other devices.
 */
#include "victim.h"

#define F (VIRTIO_F_INDIRECT | VIRTIO_F_EVENT_IDX)
#define DATA(v, at) ((uintptr_t)(v)->data + (at))
#define TABLE(v) ((volatile struct vring_desc *)((v)->data + 32768))
#define WAIT_MS 20000

/* Whether the first buffers of its requests are the device's to write. */
static uint16_t way(const struct victim *v)
{
	return v->dev.type == VIRTIO_RNG ? DESC_WRITE : 0;
}

static void desc(volatile struct vring_desc *d, uint64_t addr, uint32_t len, uint16_t flags, unsigned next)
{
	d->addr = addr;
	d->len = len;
	d->flags = flags;
	d->next = (uint16_t)next;
}

/* Descriptor i of the queue as the first of a request, in a buffer that is fine. */
static void fine(struct victim *v, unsigned i, uint16_t flags, unsigned next)
{
	desc(&v->vq.desc[i], DATA(v, 0), 64, way(v) | flags, next);
}

static void offer(struct victim *v, uint16_t head)
{
	virtq_publish(&v->vq, head);
	virtq_ring(&v->vq);
}

/* ---- chains ---- */

static void loop_one(struct victim *v)
{
	fine(v, 0, DESC_NEXT, 0);
	offer(v, 0);
}

static void loop_all(struct victim *v)
{
	for (unsigned i = 0; i < v->vq.size; i++)
		fine(v, i, DESC_NEXT, (i + 1) % v->vq.size);
	offer(v, 0);
}

static void loop_empty(struct victim *v)
{
	desc(&v->vq.desc[0], 0, 0, way(v) | DESC_NEXT, 1);
	desc(&v->vq.desc[1], 0, 0, way(v) | DESC_NEXT, 0);
	offer(v, 0);
}

static void next_out(struct victim *v)
{
	fine(v, 0, DESC_NEXT, v->vq.size);
	offer(v, 0);
}

static void next_far(struct victim *v)
{
	fine(v, 0, DESC_NEXT, 0xffff);
	offer(v, 0);
}

static void addr(struct victim *v, uint64_t at, uint32_t len)
{
	desc(&v->vq.desc[0], at, len, way(v), 0);
	offer(v, 0);
}

static void addr_wraps(struct victim *v)
{
	addr(v, ~UINT64_C(15), 32);
}

static void addr_last(struct victim *v)
{
	addr(v, ~UINT64_C(0), 1);
}

static void addr_past(struct victim *v)
{
	addr(v, ram_end() - 15, 16);
}

static void addr_at_end(struct victim *v)
{
	addr(v, ram_end(), 1);
}

static void addr_hole(struct victim *v)
{
	addr(v, ram_end() - 4096, 0x80000000);
}

static void addr_whole(struct victim *v)
{
	addr(v, 0, UINT32_MAX);
}

static void addr_lapic(struct victim *v)
{
	addr(v, LAPIC, 64);
}

static void addr_bar(struct victim *v)
{
	addr(v, v->modern.common ? v->modern.notify : 0xfebf0000, 64);
}

static void addr_port(struct victim *v)
{
	addr(v, UINT64_C(1) << 62, 64);
}

static void order(struct victim *v)
{
	desc(&v->vq.desc[0], DATA(v, 0), 64, DESC_WRITE | DESC_NEXT, 1);
	desc(&v->vq.desc[1], DATA(v, 64), 64, 0, 0);
	offer(v, 0);
}

static void order_late(struct victim *v)
{
	desc(&v->vq.desc[0], DATA(v, 0), 16, DESC_NEXT, 1);
	desc(&v->vq.desc[1], DATA(v, 64), 64, DESC_WRITE | DESC_NEXT, 2);
	desc(&v->vq.desc[2], DATA(v, 128), 0, DESC_NEXT, 3);
	desc(&v->vq.desc[3], DATA(v, 192), 64, DESC_WRITE, 0);
	offer(v, 0);
}

static void four_gib(struct victim *v)
{
	for (unsigned i = 0; i < 4; i++)
		desc(&v->vq.desc[i], 0, 0x40000000, way(v) | (i < 3 ? DESC_NEXT : 0), i + 1);
	offer(v, 0);
}

static void empty(struct victim *v)
{
	desc(&v->vq.desc[0], 0, 0, way(v), 0);
	offer(v, 0);
}

/* ---- indirect tables ---- */

static void indirect(struct victim *v, uint64_t at, uint32_t len, uint16_t flags)
{
	desc(&v->vq.desc[0], at, len, DESC_INDIRECT | flags, 1);
	fine(v, 1, 0, 0);
	offer(v, 0);
}

static void indirect_nested(struct victim *v)
{
	desc(&TABLE(v)[0], (uintptr_t)&TABLE(v)[1], 16, DESC_INDIRECT, 0);
	desc(&TABLE(v)[1], DATA(v, 0), 64, way(v), 0);
	indirect(v, (uintptr_t)TABLE(v), 16, 0);
}

static void indirect_itself(struct victim *v)
{
	desc(&TABLE(v)[0], (uintptr_t)TABLE(v), 16, DESC_INDIRECT, 0);
	indirect(v, (uintptr_t)TABLE(v), 16, 0);
}

static void indirect_ring(struct victim *v)
{
	indirect(v, (uintptr_t)v->vq.desc, 16, 0);
}

static void indirect_odd(struct victim *v)
{
	desc(&TABLE(v)[0], DATA(v, 0), 64, way(v), 0);
	indirect(v, (uintptr_t)TABLE(v), 17, 0);
}

static void indirect_empty(struct victim *v)
{
	indirect(v, (uintptr_t)TABLE(v), 0, 0);
}

static void indirect_next(struct victim *v)
{
	desc(&TABLE(v)[0], DATA(v, 0), 64, way(v), 0);
	indirect(v, (uintptr_t)TABLE(v), 16, DESC_NEXT);
}

static void indirect_outside(struct victim *v)
{
	indirect(v, ram_end() - 8, 16, 0);
}

static void indirect_long(struct victim *v)
{
	indirect(v, (uintptr_t)TABLE(v), 16 * (v->vq.size + 1u), 0);
}

static void indirect_huge(struct victim *v)
{
	indirect(v, 0, 0xfffffff0, 0);
}

static void indirect_next_out(struct victim *v)
{
	desc(&TABLE(v)[0], DATA(v, 0), 64, way(v) | DESC_NEXT, 2);
	indirect(v, (uintptr_t)TABLE(v), 32, 0);
}

static void indirect_loop(struct victim *v)
{
	desc(&TABLE(v)[0], DATA(v, 0), 64, way(v) | DESC_NEXT, 1);
	desc(&TABLE(v)[1], DATA(v, 0), 64, way(v) | DESC_NEXT, 0);
	indirect(v, (uintptr_t)TABLE(v), 32, 0);
}

/* ---- rings ---- */

static void head_out(struct victim *v)
{
	offer(v, v->vq.size);
}

static void head_far(struct victim *v)
{
	offer(v, 0xffff);
}

/* Two disk reads on one head; other devices may be done with the first when they come to the second. */
static void head_twice(struct victim *v)
{
	struct blk_header *h = (void *)v->data;

	*h = (struct blk_header){ .type = BLK_IN };
	if (v->dev.type == VIRTIO_BLK) {
		desc(&v->vq.desc[0], DATA(v, 0), sizeof(*h), DESC_NEXT, 1);
		desc(&v->vq.desc[1], DATA(v, 4096), 8192, DESC_WRITE | DESC_NEXT, 2);
		desc(&v->vq.desc[2], DATA(v, 64), 1, DESC_WRITE, 0);
	} else {
		fine(v, 0, 0, 0);
	}
	for (unsigned i = 0; i < v->vq.size; i++)
		virtq_add(&v->vq, 0);
	virtq_publish_idx(&v->vq);
	virtq_ring(&v->vq);
}

static void jump(struct victim *v, unsigned by)
{
	fine(v, 0, 0, 0);
	v->vq.avail->idx = (uint16_t)(v->vq.next_avail + by);
	virtq_ring(&v->vq);
}

static void jump_one(struct victim *v)
{
	jump(v, v->vq.size + 1u);
}

static void jump_half(struct victim *v)
{
	jump(v, 0x8000);
}

static void jump_back(struct victim *v)
{
	jump(v, 0xffff);
}

/* The device writes where it reads: any answer will do. */
static void data_is_ring(struct victim *v)
{
	struct blk_header *h = (void *)v->data;

	*h = (struct blk_header){ .type = BLK_IN };
	desc(&v->vq.desc[0], v->dev.type == VIRTIO_RNG ? (uintptr_t)v->vq.desc : DATA(v, 0), v->dev.type == VIRTIO_RNG ? 4096 : 16,
	     way(v) | DESC_NEXT, 1);
	desc(&v->vq.desc[1], (uintptr_t)v->vq.desc, 4096, DESC_WRITE | DESC_NEXT, 2);
	desc(&v->vq.desc[2], (uintptr_t)v->vq.used, 513, DESC_WRITE, 0);
	for (unsigned i = 0; i < 8; i++)
		offer(v, 0);
}

/* ---- the table ---- */

enum outcome { BREAKS, ANSWERS, ANY };

/* Its name, what it does, what comes of it: on disks, and on others. */
static const struct attack {
	const char *name;
	void (*run)(struct victim *v);
	enum outcome blk, other;
	bool no_indirect; /* without the feature */
} attacks[] = {
	{ "a descriptor that is its own next", loop_one, BREAKS, BREAKS, false },
	{ "a loop of all descriptors", loop_all, BREAKS, BREAKS, false },
	{ "a loop of empty buffers", loop_empty, BREAKS, BREAKS, false },
	{ "next one past the table", next_out, BREAKS, BREAKS, false },
	{ "next 65535", next_far, BREAKS, BREAKS, false },
	{ "address and length wrap", addr_wraps, BREAKS, BREAKS, false },
	{ "the last byte of the address space", addr_last, BREAKS, BREAKS, false },
	{ "a buffer that ends one byte past RAM", addr_past, BREAKS, BREAKS, false },
	{ "a buffer where RAM ends", addr_at_end, BREAKS, BREAKS, false },
	{ "a buffer across the PCI hole", addr_hole, BREAKS, BREAKS, false },
	{ "a buffer of all the address space below 4 GiB", addr_whole, BREAKS, BREAKS, false },
	{ "a buffer on the local APIC", addr_lapic, BREAKS, BREAKS, false },
	{ "a buffer on the device's own registers", addr_bar, BREAKS, BREAKS, false },
	{ "a buffer in the far distance", addr_port, BREAKS, BREAKS, false },
	{ "readable after writable", order, BREAKS, BREAKS, false },
	{ "an empty readable buffer among writable ones", order_late, BREAKS, BREAKS, false },
	{ "a chain of 4 GiB", four_gib, BREAKS, BREAKS, false },
	{ "an empty chain", empty, BREAKS, ANSWERS, false },
	{ "an indirect table in an indirect table", indirect_nested, BREAKS, BREAKS, false },
	{ "an indirect table in itself", indirect_itself, BREAKS, BREAKS, false },
	{ "the ring as an indirect table", indirect_ring, BREAKS, BREAKS, false },
	{ "an indirect table of 17 bytes", indirect_odd, BREAKS, BREAKS, false },
	{ "an indirect table of 0 bytes", indirect_empty, BREAKS, BREAKS, false },
	{ "indirect and next", indirect_next, BREAKS, BREAKS, false },
	{ "an indirect table across the end of RAM", indirect_outside, BREAKS, BREAKS, false },
	{ "an indirect table longer than the queue", indirect_long, BREAKS, BREAKS, false },
	{ "an indirect table of 4 GiB", indirect_huge, BREAKS, BREAKS, false },
	{ "next outside an indirect table", indirect_next_out, BREAKS, BREAKS, false },
	{ "a loop in an indirect table", indirect_loop, BREAKS, BREAKS, false },
	{ "indirect without having negotiated it", indirect_odd, BREAKS, BREAKS, true },
	{ "head one past the table", head_out, BREAKS, BREAKS, false },
	{ "head 65535", head_far, BREAKS, BREAKS, false },
	{ "the same head twice in flight", head_twice, BREAKS, ANY, false },
	{ "the available index ahead by the size and one", jump_one, BREAKS, BREAKS, false },
	{ "the available index ahead by 32768", jump_half, BREAKS, BREAKS, false },
	{ "the available index one back", jump_back, BREAKS, BREAKS, false },
	{ "answers over the rings", data_is_ring, ANY, ANY, false },
};

static void attack(struct victim *v, const struct attack *a)
{
	enum outcome want = v->dev.type == VIRTIO_BLK ? a->blk : a->other;
	bool ok = victim_begin(v, a->no_indirect ? 0 : F);

	memset(v->data, 0, VICTIM_DATA);
	a->run(v);
	if (want == BREAKS)
		ok = ok && victim_broken(v, WAIT_MS) && virtq_poll(&v->vq, NULL) < 1;
	else if (want == ANSWERS)
		ok = ok && virtq_wait(&v->vq, NULL, WAIT_MS) >= 0 && !(virtio_status(&v->dev) & VIRTIO_NEEDS_RESET);
	else
		delay_us(3000);
	victim_after(v, ok, a->name);
}

static void attack_all(void *arg)
{
	(void)arg;
	victims_start();
	for (size_t i = 0; i < n_victims; i++)
		for (int legacy = 0; legacy < 2; legacy++)
			for (size_t n = 0; n < ARRAY_SIZE(attacks) && victim_interface(&victims[i], legacy); n++)
				attack(&victims[i], &attacks[n]);
}

void payload_main(void)
{
	tsc_khz();
	user_call(attack_all, NULL);
}
