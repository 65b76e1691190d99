/* SPDX-License-Identifier: MIT */
/*
 * virtio-net's control queue (Virtio 1.2, 5.1.6.5).
 *
 * A command is a chain of buffers in any layout: class and number are the first two bytes of the readable part, what is left of it the
 * arguments, and the answer is the first byte of the writable part. Arguments are copied once, checked, and used; nothing is as long as the driver
 * says. A command whose feature was not negotiated, or that is shorter than its arguments, is answered with an error and changes nothing; bytes
 * behind the arguments are ignored, since later versions of the specification may add some.
 */
#include <errno.h>
#include <string.h>

#include "hw/virtio_net_priv.h"
#include "vmm/iov.h"

#define CTRL_TURN 64 /* commands that are done before the loop sees to others */

typedef uint8_t ctrl_fn(struct virtio_net *net, uint8_t command, struct iov_cursor *c);

static bool ctrl_has(const struct virtio_net *net, uint64_t feature)
{
	return virtio_has(&net->dev, feature);
}

/* 5.1.6.5.1 */
static uint8_t ctrl_rx(struct virtio_net *net, uint8_t command, struct iov_cursor *c)
{
	struct vnet_filter *f = &net->filter;
	bool *const modes[VNET_CTRL_RX_COMMANDS] = {
		[VNET_CTRL_RX_PROMISC] = &f->promisc,	[VNET_CTRL_RX_ALLMULTI] = &f->allmulti, [VNET_CTRL_RX_ALLUNI] = &f->alluni,
		[VNET_CTRL_RX_NOMULTI] = &f->nomulti,	[VNET_CTRL_RX_NOUNI] = &f->nouni,	[VNET_CTRL_RX_NOBCAST] = &f->nobcast,
	};
	uint8_t on;

	if (command >= VNET_CTRL_RX_COMMANDS || !ctrl_has(net, command < VNET_CTRL_RX_ALLUNI ? VNET_F_CTRL_RX : VNET_F_CTRL_RX_EXTRA))
		return VNET_CTRL_ERR;
	if (iov_cursor_read(c, &on, sizeof(on)) != sizeof(on))
		return VNET_CTRL_ERR;
	*modes[command] = on;
	return VNET_CTRL_OK;
}

/*
 * One list of addresses, behind those that `f` has. A list that is too long for the table means that everything of its kind is received. False:
 * it is longer than the command.
 */
static bool mac_list(struct vnet_filter *f, struct iov_cursor *c, uint8_t *n, bool *overflow)
{
	unsigned have = f->n_uni + f->n_multi;
	uint64_t bytes;
	le32 entries;

	if (iov_cursor_read(c, &entries, sizeof(entries)) != sizeof(entries))
		return false;
	bytes = (uint64_t)le32_get(entries) * 6;
	if (bytes > c->left)
		return false;
	*overflow = bytes > (VNET_FILTER_MACS - have) * 6u;
	if (*overflow) {
		iov_cursor_skip(c, bytes);
		return true;
	}
	iov_cursor_read(c, f->macs[have], bytes);
	*n = (uint8_t)(bytes / 6);
	return true;
}

static uint8_t mac_table_set(struct virtio_net *net, struct iov_cursor *c)
{
	struct vnet_filter f = net->filter;

	f.n_uni = f.n_multi = 0;
	if (!ctrl_has(net, VNET_F_CTRL_RX) || !mac_list(&f, c, &f.n_uni, &f.uni_overflow) || !mac_list(&f, c, &f.n_multi, &f.multi_overflow))
		return VNET_CTRL_ERR;
	net->filter = f;
	return VNET_CTRL_OK;
}

/* 5.1.6.5.2 */
static uint8_t ctrl_mac(struct virtio_net *net, uint8_t command, struct iov_cursor *c)
{
	uint8_t mac[6];

	if (command == VNET_CTRL_MAC_TABLE_SET)
		return mac_table_set(net, c);
	if (command != VNET_CTRL_MAC_ADDR_SET || !ctrl_has(net, VNET_F_CTRL_MAC_ADDR) || iov_cursor_read(c, mac, sizeof(mac)) != sizeof(mac))
		return VNET_CTRL_ERR;
	vnet_set_mac(net, mac);
	return VNET_CTRL_OK;
}

/* 5.1.6.5.3 */
static uint8_t ctrl_vlan(struct virtio_net *net, uint8_t command, struct iov_cursor *c)
{
	struct vnet_filter *f = &net->filter;
	le16 arg;
	unsigned id;

	if (command > VNET_CTRL_VLAN_DEL || !ctrl_has(net, VNET_F_CTRL_VLAN) || iov_cursor_read(c, &arg, sizeof(arg)) != sizeof(arg))
		return VNET_CTRL_ERR;
	id = le16_get(arg);
	if (id >= VNET_FILTER_VLANS)
		return VNET_CTRL_ERR;
	f->n_vlans -= (f->vlans[id / 32] >> id % 32) & 1;
	f->vlans[id / 32] &= ~BIT(id % 32);
	if (command == VNET_CTRL_VLAN_ADD) {
		f->vlans[id / 32] |= BIT(id % 32);
		f->n_vlans++;
	}
	return VNET_CTRL_OK;
}

/* 5.1.6.5.4 */
static uint8_t ctrl_announce(struct virtio_net *net, uint8_t command, struct iov_cursor *c)
{
	(void)c;
	if (command != VNET_CTRL_ANNOUNCE_ACK || !ctrl_has(net, VNET_F_GUEST_ANNOUNCE))
		return VNET_CTRL_ERR;
	vnet_set_status(net, 0, VNET_S_ANNOUNCE);
	return VNET_CTRL_OK;
}

static uint8_t mq_pairs_set(struct virtio_net *net, struct iov_cursor *c)
{
	le16 pairs;

	if (!ctrl_has(net, VNET_F_MQ) || iov_cursor_read(c, &pairs, sizeof(pairs)) != sizeof(pairs))
		return VNET_CTRL_ERR;
	if (vnet_set_pairs(net, le16_get(pairs)) < 0)
		return VNET_CTRL_ERR;
	net->rss.steer = false;
	return VNET_CTRL_OK;
}

/* 5.1.6.5.5 */
static uint8_t ctrl_mq(struct virtio_net *net, uint8_t command, struct iov_cursor *c)
{
	if (command == VNET_CTRL_MQ_PAIRS_SET)
		return mq_pairs_set(net, c);
	if (command == VNET_CTRL_MQ_RSS_CONFIG && ctrl_has(net, VNET_F_RSS))
		return vnet_rss_config(net, c);
	if (command == VNET_CTRL_MQ_HASH_CONFIG && ctrl_has(net, VNET_F_HASH_REPORT))
		return vnet_hash_config(net, c);
	return VNET_CTRL_ERR;
}

/* 5.1.6.5.6 */
static uint8_t ctrl_guest_offloads(struct virtio_net *net, uint8_t command, struct iov_cursor *c)
{
	uint64_t offloads;
	le64 arg;

	if (command != VNET_CTRL_GUEST_OFFLOADS_SET || !ctrl_has(net, VNET_F_CTRL_GUEST_OFFLOADS) ||
	    iov_cursor_read(c, &arg, sizeof(arg)) != sizeof(arg))
		return VNET_CTRL_ERR;
	offloads = le64_get(arg);
	if (offloads & ~(net->dev.chosen & VNET_GUEST_OFFLOADS))
		return VNET_CTRL_ERR;
	return vnet_set_offloads(net, offloads) == 0 ? VNET_CTRL_OK : VNET_CTRL_ERR;
}

static ctrl_fn *const classes[VNET_CTRL_CLASSES] = {
	[VNET_CTRL_RX] = ctrl_rx,	      [VNET_CTRL_MAC] = ctrl_mac, [VNET_CTRL_VLAN] = ctrl_vlan,
	[VNET_CTRL_ANNOUNCE] = ctrl_announce, [VNET_CTRL_MQ] = ctrl_mq,	  [VNET_CTRL_GUEST_OFFLOADS] = ctrl_guest_offloads,
};

static uint8_t ctrl_command(struct virtio_net *net, struct iov_cursor *c)
{
	struct vnet_ctrl head;
	uint8_t answer = VNET_CTRL_ERR;

	if (iov_cursor_read(c, &head, sizeof(head)) != sizeof(head)) {
		log_guest(&net->dev.log, net->dev.name, "a control command of less than two bytes");
		return VNET_CTRL_ERR;
	}
	if (head.class < VNET_CTRL_CLASSES)
		answer = classes[head.class](net, head.command, c);
	if (answer != VNET_CTRL_OK)
		log_guest(&net->dev.log, net->dev.name, "control command %u.%u refused", head.class, head.command);
	return answer;
}

/* Takes and does one command. False: there is none. */
static bool ctrl_pop(struct virtio_net *net)
{
	struct virtq *vq = &net->dev.queues[net->ctrl].vq;
	struct iovec iov[VNET_CTRL_QUEUE];
	struct virtq_chain chain;
	struct iov_cursor out, in;
	uint8_t answer;
	int rc = virtq_pop(vq, &chain, iov, VNET_CTRL_QUEUE);

	if (rc == -E2BIG)
		virtq_break(vq, "a control command in too many buffers");
	/* Without a place for the answer the driver would take what was there before for one. */
	if (rc > 0 && chain.in_len == 0)
		virtq_break(vq, "a control command without a place for the answer");
	if (vq->broken)
		virtio_queue_broken(&net->dev, net->ctrl);
	if (rc == 0 || vq->broken)
		return false;
	iov_cursor_init(&out, chain.iov, chain.n_out);
	iov_cursor_init(&in, chain.iov + chain.n_out, chain.n_in);
	answer = ctrl_command(net, &out);
	iov_cursor_write(&in, &answer, sizeof(answer));
	virtq_push(vq, chain.head, sizeof(answer));
	return true;
}

void vnet_ctrl_run(struct virtio_net *net)
{
	struct virtq *vq = &net->dev.queues[net->ctrl].vq;
	unsigned n = 0;

	if (!net->running || net->paused || net->ctrl == 0 || vq->cfg.size == 0 || vq->broken)
		return;
	do {
		while (n < CTRL_TURN && ctrl_pop(net))
			n++;
	} while (n < CTRL_TURN && virtq_doorbell_on(vq));
	if (n)
		virtio_notify(&net->dev, net->ctrl);
	if (n == CTRL_TURN)
		eventloop_post(net->dev.loop, &net->ctrl_more);
}
