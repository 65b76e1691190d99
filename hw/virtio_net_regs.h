/* SPDX-License-Identifier: MIT */
/* What virtio-net's driver and device exchange: Virtio 1.2, section 5.1. Included by hw/virtio_net*.c and their tests only. */
#ifndef HW_VIRTIO_NET_REGS_H
#define HW_VIRTIO_NET_REGS_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/endian.h"
#include "vmm/util.h"

/* 5.1.3: feature bits. */
#define VNET_F_CSUM BIT64(0)
#define VNET_F_GUEST_CSUM BIT64(1)
#define VNET_F_CTRL_GUEST_OFFLOADS BIT64(2)
#define VNET_F_MTU BIT64(3)
#define VNET_F_MAC BIT64(5)
#define VNET_F_GSO BIT64(6) /* legacy */
#define VNET_F_GUEST_TSO4 BIT64(7)
#define VNET_F_GUEST_TSO6 BIT64(8)
#define VNET_F_GUEST_ECN BIT64(9)
#define VNET_F_GUEST_UFO BIT64(10)
#define VNET_F_HOST_TSO4 BIT64(11)
#define VNET_F_HOST_TSO6 BIT64(12)
#define VNET_F_HOST_ECN BIT64(13)
#define VNET_F_HOST_UFO BIT64(14)
#define VNET_F_MRG_RXBUF BIT64(15)
#define VNET_F_STATUS BIT64(16)
#define VNET_F_CTRL_VQ BIT64(17)
#define VNET_F_CTRL_RX BIT64(18)
#define VNET_F_CTRL_VLAN BIT64(19)
#define VNET_F_CTRL_RX_EXTRA BIT64(20)
#define VNET_F_GUEST_ANNOUNCE BIT64(21)
#define VNET_F_MQ BIT64(22)
#define VNET_F_CTRL_MAC_ADDR BIT64(23)
#define VNET_F_GUEST_USO4 BIT64(54)
#define VNET_F_GUEST_USO6 BIT64(55)
#define VNET_F_HOST_USO BIT64(56)
#define VNET_F_HASH_REPORT BIT64(57)
#define VNET_F_RSS BIT64(60)
#define VNET_F_SPEED_DUPLEX BIT64(63)

/* What the driver may switch by CTRL_GUEST_OFFLOADS (5.1.6.5.6). */
#define VNET_GUEST_OFFLOADS (VNET_F_GUEST_CSUM | VNET_F_GUEST_TSO4 | VNET_F_GUEST_TSO6 | VNET_F_GUEST_ECN | VNET_F_GUEST_UFO | \
			     VNET_F_GUEST_USO4 | VNET_F_GUEST_USO6)

/* 5.1.2: the receive and the transmit queue of a pair; the control queue is behind the last pair that the driver could use. */
static inline unsigned vnet_rx_index(unsigned pair)
{
	return 2 * pair;
}

static inline unsigned vnet_tx_index(unsigned pair)
{
	return 2 * pair + 1;
}

/* 5.1.4: the configuration space. */
struct vnet_config {
	uint8_t mac[6];
	le16 status;
	le16 max_virtqueue_pairs;
	le16 mtu;
	le32 speed; /* Mbit/s */
	uint8_t duplex;
	uint8_t rss_max_key_size;
	le16 rss_max_indirection_table_length;
	le32 supported_hash_types;
};
static_assert(sizeof(struct vnet_config) == 24, "5.1.4");
static_assert(offsetof(struct vnet_config, speed) == 12, "5.1.4");
static_assert(offsetof(struct vnet_config, supported_hash_types) == 20, "5.1.4");

#define VNET_S_LINK_UP 1
#define VNET_S_ANNOUNCE 2

/* 5.1.6: in front of each frame. Without MRG_RXBUF a legacy driver's ends before num_buffers; the hash is there with HASH_REPORT. */
struct vnet_hdr {
	uint8_t flags, gso_type;
	le16 hdr_len, gso_size, csum_start, csum_offset;
	le16 num_buffers;
	le32 hash_value;
	le16 hash_report, padding_reserved;
};
static_assert(sizeof(struct vnet_hdr) == 20, "5.1.6");
#define VNET_HDR_LEGACY 10
#define VNET_HDR 12
#define VNET_HDR_HASH 20
static_assert(offsetof(struct vnet_hdr, num_buffers) == VNET_HDR_LEGACY, "5.1.6");
static_assert(offsetof(struct vnet_hdr, hash_value) == VNET_HDR, "5.1.6");

#define VNET_HDR_F_NEEDS_CSUM 1
#define VNET_HDR_F_DATA_VALID 2

/* 5.1.6.5: a command begins with its class and number; the device answers with one byte. */
struct vnet_ctrl {
	uint8_t class, command;
};
#define VNET_CTRL_OK 0
#define VNET_CTRL_ERR 1

enum vnet_ctrl_class {
	VNET_CTRL_RX = 0,
	VNET_CTRL_MAC = 1,
	VNET_CTRL_VLAN = 2,
	VNET_CTRL_ANNOUNCE = 3,
	VNET_CTRL_MQ = 4,
	VNET_CTRL_GUEST_OFFLOADS = 5,
	VNET_CTRL_CLASSES,
};
enum { VNET_CTRL_RX_PROMISC, VNET_CTRL_RX_ALLMULTI, VNET_CTRL_RX_ALLUNI, VNET_CTRL_RX_NOMULTI, VNET_CTRL_RX_NOUNI, VNET_CTRL_RX_NOBCAST,
       VNET_CTRL_RX_COMMANDS };
enum { VNET_CTRL_MAC_TABLE_SET = 0, VNET_CTRL_MAC_ADDR_SET = 1 };
enum { VNET_CTRL_VLAN_ADD = 0, VNET_CTRL_VLAN_DEL = 1 };
enum { VNET_CTRL_ANNOUNCE_ACK = 0 };
enum { VNET_CTRL_MQ_PAIRS_SET = 0, VNET_CTRL_MQ_RSS_CONFIG = 1, VNET_CTRL_MQ_HASH_CONFIG = 2 };
enum { VNET_CTRL_GUEST_OFFLOADS_SET = 0 };

/* 5.1.6.4.3: hash types, and what hash_report says of a frame. */
#define VNET_HASH_IPV4 BIT(0)
#define VNET_HASH_TCPV4 BIT(1)
#define VNET_HASH_UDPV4 BIT(2)
#define VNET_HASH_IPV6 BIT(3)
#define VNET_HASH_TCPV6 BIT(4)
#define VNET_HASH_UDPV6 BIT(5)
#define VNET_HASH_IP_EX BIT(6)
#define VNET_HASH_TCP_EX BIT(7)
#define VNET_HASH_UDP_EX BIT(8)
#define VNET_HASH_TYPES 0x1ffu
enum vnet_hash_report {
	VNET_REPORT_NONE, VNET_REPORT_IPV4, VNET_REPORT_TCPV4, VNET_REPORT_UDPV4, VNET_REPORT_IPV6, VNET_REPORT_TCPV6, VNET_REPORT_UDPV6,
	VNET_REPORT_IPV6_EX, VNET_REPORT_TCPV6_EX, VNET_REPORT_UDPV6_EX,
};
#define VNET_RSS_KEY 40
#define VNET_RSS_TABLE 128

#endif
