/* SPDX-License-Identifier: MIT */
/*
 * A virtio console whose reader does not read: the guest is not held for longer than it takes to see that (vmm/chardev.h), other devices go on, a
 * reset gives the queue back. Then the reader reads, and output goes on. bytes=N is more than anybody holds.
 */
#include "victim.h"

#define PIECE 4096
#define HELD_MS 20000
#define PATIENCE_MS 20000

static bool send(struct victim *v, unsigned ms)
{
	struct buffer b = { v->data, PIECE };

	return virtio_request(&v->vq, &b, 1, 0, NULL, ms);
}

static void flood(void *arg)
{
	struct victim *v, *rng;
	unsigned n = 0, most = (unsigned)(arg_u64("bytes", 1 << 20) / PIECE);

	(void)arg;
	victims_start();
	v = victim_of(VIRTIO_CONSOLE);
	rng = victim_of(VIRTIO_RNG);
	memset(v->data, 'x', PIECE);
	while (n < most && send(v, HELD_MS))
		n++;
	test(n == most, "%u bytes of output were taken though nobody reads", n * PIECE);
	test(virtio_status(&v->dev) & VIRTIO_DRIVER_OK && victim_request(rng), "other devices go on");
	test(victim_begin(v, 0), "a reset gives the queue back");
	print("flood: done\n");
	test(send(v, PATIENCE_MS) && send(v, PATIENCE_MS), "output goes on once somebody reads");
}

void payload_main(void)
{
	tsc_khz();
	user_call(flood, NULL);
}
