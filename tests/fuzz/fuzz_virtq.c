/* SPDX-License-Identifier: MIT */
/*
 * Any bytes as a virtqueue: the configuration, then guest memory, which is as small as a page so that rings, tables and buffers
 * overlap, then what the device does. Whatever pop hands out must lie inside guest memory, and the accounts of what is in flight must
 * agree with a count made here.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "hw/virtq.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/guest_mem.h"
#include "vmm/util.h"

#define RAM 8192
#define STEPS 256
#define IOVS 16

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_config {
	uint8_t size_log2, flags;
	le16 desc, avail, used;
};

struct fuzz_state {
	struct virtq vq;
	uint8_t *ram;
	uint16_t heads[VIRTQ_SIZE_MAX];
	unsigned n_heads;
};

static void check_chain(const struct fuzz_state *s, const struct virtq_chain *c, unsigned max)
{
	uint64_t out = 0, in = 0;

	if (c->n_out + c->n_in > max || c->head >= s->vq.cfg.size)
		abort();
	for (size_t i = 0; i < c->n_out + c->n_in; i++) {
		uint8_t *p = c->iov[i].iov_base;
		volatile uint8_t byte;

		if (p < s->ram || c->iov[i].iov_len == 0 || !range_ok((uint64_t)(p - s->ram), c->iov[i].iov_len, RAM))
			abort();
		byte = p[c->iov[i].iov_len - 1]; /* for the sanitizer */
		(void)byte;
		*(i < c->n_out ? &out : &in) += c->iov[i].iov_len;
	}
	if (out != c->out_len || in != c->in_len)
		abort();
	/* A device writes what it was given, which may be the rings. */
	for (size_t i = c->n_out; i < c->n_out + c->n_in; i++)
		memset(c->iov[i].iov_base, 0x11, min_u64(c->iov[i].iov_len, 4));
}

static void pop(struct fuzz_state *s, unsigned max)
{
	struct iovec iov[IOVS];
	struct virtq_chain chain;
	int rc = virtq_pop(&s->vq, &chain, iov, max);

	if (rc == 1)
		check_chain(s, &chain, max);
	if (rc == 1 || rc == -E2BIG) {
		for (unsigned i = 0; i < s->n_heads; i++)
			if (s->heads[i] == chain.head)
				abort();
		s->heads[s->n_heads++] = chain.head;
	} else if (rc != 0 && (rc != -EINVAL || !s->vq.broken || !s->vq.why)) {
		abort();
	}
}

static void step(struct fuzz_state *s, uint8_t what)
{
	unsigned at;

	switch (what % 8) {
	case 0:
	case 1:
	case 2:
		pop(s, what / 8 % (IOVS + 1));
		break;
	case 3:
	case 4:
		if (s->n_heads == 0)
			break;
		at = what / 8 % s->n_heads;
		virtq_push(&s->vq, s->heads[at], what);
		s->heads[at] = s->heads[--s->n_heads];
		break;
	case 5:
		(void)virtq_should_interrupt(&s->vq);
		break;
	case 6:
		virtq_doorbell_off(&s->vq);
		break;
	default:
		(void)virtq_doorbell_on(&s->vq);
		break;
	}
	if (s->vq.n_in_flight != s->n_heads)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct guest_mem *mem; /* one for all inputs: mapping takes longer than the rest */
	static struct fuzz_state s;
	const struct gm_range range = { .gpa = 0, .size = RAM };
	struct err err = ERR_INIT;
	struct fuzz_config in;
	struct virtq_config cfg;
	size_t n_mem;

	if (!mem && !(mem = gm_create(&range, 1, &err)))
		abort();
	if (size < sizeof(in))
		return 0;
	memset(&s, 0, sizeof(s));
	memcpy(&in, data, sizeof(in));
	data += sizeof(in);
	size -= sizeof(in);
	s.ram = gm_map(mem, 0, RAM);
	memset(s.ram, 0, RAM);
	/* A quarter of the rest are steps. */
	n_mem = min_u64(size - size / 4, RAM);
	memcpy(s.ram, data, n_mem);
	cfg = (struct virtq_config){
		.size = (uint16_t)(in.flags & 4 ? in.size_log2 : 1u << in.size_log2 % 11),
		.desc = le16_get(in.desc), .avail = le16_get(in.avail), .used = le16_get(in.used),
		.indirect = in.flags & 1, .event_idx = in.flags & 2,
	};
	if (!(in.flags & 8)) {
		cfg.desc &= ~15u;
		cfg.avail &= ~1u;
		cfg.used &= ~3u;
	}
	if (virtq_init(&s.vq, mem, &cfg) < 0)
		return 0;
	for (size_t i = 0; i < size - n_mem && i < STEPS; i++)
		step(&s, data[n_mem + i]);
	while (s.n_heads)
		virtq_push(&s.vq, s.heads[--s.n_heads], 0);
	if (s.vq.n_in_flight)
		abort();
	return 0;
}
