/* SPDX-License-Identifier: MIT */
/* The balloon, from the guest's side, while a monitor moves its target and its polling. */
#include <stddef.h>
#include <stdint.h>

#include "hw/devices.h"
#include "hw/virtio_balloon_regs.h"
#include "tests/fuzz/virtio_guest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void monitor(struct guest *g)
{
	struct virtio_balloon_stats stats;
	unsigned what = guest_take(g);

	if (what & 1)
		virtio_balloon_set_target(g->dev, (uint64_t)guest_take(g) << 16);
	else
		virtio_balloon_set_polling(g->dev, what >> 1);
	virtio_balloon_stats(g->dev, &stats);
	(void)virtio_balloon_held(g->dev);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct guest g;
	struct virtio_balloon_config cfg = { .name = "balloon" };
	struct device_env env = { .loop = NULL };
	struct err err = ERR_INIT;
	struct virtio_dev *dev;

	if (size < 2)
		return 0;
	guest_init(&g);
	env.loop = g.loop;
	env.mem = g.mem;
	cfg.deflate_on_oom = data[0] & 1;
	cfg.page_reporting = data[0] & 2;
	cfg.page_poison = data[0] & 4;
	dev = virtio_balloon_create(&env, &cfg, &err);
	if (!dev)
		abort();
	guest_begin(&g, dev, data + 1, size - 1);
	guest_start(&g, ~UINT64_C(0));
	while (g.left)
		if (!guest_step(&g, guest_take(&g) % 7, ~UINT64_C(0)))
			monitor(&g);
	guest_end(&g);
	return 0;
}
