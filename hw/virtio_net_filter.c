/* SPDX-License-Identifier: MIT */
/*
 * What a virtio network card receives (Virtio 1.2, 5.1.6.5.1 to 5.1.6.5.3): the driver's modes, its own address, its tables of addresses
 * and of VLANs. A card is promiscuous until a driver says otherwise, as drivers without a control queue expect; that is what QEMU does too.
 */
#include <string.h>

#include "hw/virtio_net_priv.h"

#define ETHER_TYPE 12
#define ETHER_VLAN 0x8100
#define VLAN_ID 0xfff

void vnet_filter_reset(struct virtio_net *net, bool vlans_on)
{
	net->filter = (struct vnet_filter){ .promisc = true, .vlans_on = vlans_on };
}

static uint64_t mac_number(const uint8_t *mac)
{
	uint64_t v = 0;

	memcpy(&v, mac, 6);
	return v;
}

static bool in_table(const struct vnet_filter *f, unsigned first, unsigned n, uint64_t mac)
{
	for (unsigned i = first; i < first + n; i++)
		if (mac_number(f->macs[i]) == mac)
			return true;
	return false;
}

static bool vlan_pass(const struct vnet_filter *f, const uint8_t *top)
{
	unsigned id = (top[ETHER_TYPE + 2] << 8 | top[ETHER_TYPE + 3]) & VLAN_ID;

	if (!f->vlans_on || (top[ETHER_TYPE] << 8 | top[ETHER_TYPE + 1]) != ETHER_VLAN)
		return true;
	return f->vlans[id / 32] & BIT(id % 32);
}

bool vnet_filter_pass(const struct virtio_net *net, const uint8_t top[VNET_FRAME_TOP])
{
	static const uint8_t broadcast[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };
	const struct vnet_filter *f = &net->filter;
	uint64_t to = mac_number(top);

	if (f->promisc)
		return true;
	if (!vlan_pass(f, top))
		return false;
	if (!(top[0] & 1)) {
		if (f->nouni)
			return false;
		return f->alluni || f->uni_overflow || to == atomic_load_explicit(&net->mac, memory_order_relaxed) ||
		       in_table(f, 0, f->n_uni, to);
	}
	if (to == mac_number(broadcast))
		return !f->nobcast;
	if (f->nomulti)
		return false;
	return f->allmulti || f->multi_overflow || in_table(f, f->n_uni, f->n_multi, to);
}
