/* SPDX-License-Identifier: MIT */
/* The entropy device, from the guest's side. */
#include <stddef.h>
#include <stdint.h>

#include "hw/devices.h"
#include "tests/fuzz/virtio_guest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct guest g;
	struct virtio_rng_config cfg = { .name = "rng", .max_bytes = UINT64_MAX, .period_ms = 1 };
	struct device_env env = { .loop = NULL };
	struct err err = ERR_INIT;
	struct virtio_dev *dev;

	if (size < 2)
		return 0;
	guest_init(&g);
	env.loop = g.loop;
	env.mem = g.mem;
	if (data[0] < 128)
		cfg.max_bytes = 1 + data[0];
	dev = virtio_rng_create(&env, &cfg, &err);
	if (!dev)
		abort();
	guest_begin(&g, dev, data + 1, size - 1);
	guest_start(&g, VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC);
	while (g.left)
		guest_step(&g, guest_take(&g) % 6, ~UINT64_C(0));
	guest_end(&g);
	return 0;
}
