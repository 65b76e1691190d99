/* SPDX-License-Identifier: MIT */
/*
 * Frames as they come to kite-user-net: the input is the stream from Kite, with the guest's headers and frames. Each goes the way in (checksums, the MSS
 * option, the metadata's address) and, as if libslirp had sent it, the way out (segmentation, fragments).
 */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tools/user-net/nat.h"
#include "tools/user-net/offload.h"
#include "tools/user-net/vm_link.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void emit(void *opaque, const uint8_t *hdr, const uint8_t *frame, size_t len)
{
	(void)opaque;
	/* Read all of it, for the sanitizers. */
	if (len > VM_LINK_FRAME_MAX || offload_sum(frame, len, offload_sum(hdr, OFFLOAD_HDR, 0)) == UINT64_MAX)
		abort();
}

static void one(struct offload *off, const uint8_t *hdr, const uint8_t *frame, size_t len)
{
	const struct nat nat = { .on = true, .inside.s_addr = htonl(0x0a0002fe), .host.s_addr = htonl(0x0a000202) };
	uint8_t reply[NAT_ARP_REPLY], *copy = malloc(len);

	memcpy(copy, frame, len);
	if (!nat_arp(&nat, copy, len, reply) && offload_from_guest(off, hdr, copy, len))
		nat_from_guest(&nat, copy, len);
	nat_to_guest(&nat, copy, len);
	offload_to_guest(off, copy, len, emit, NULL);
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* Kept from run to run: its buffers are large. */
	static struct vm_link link = { .fd = -1 };
	static struct offload off;
	uint8_t *hdr, *frame;
	size_t len;
	int sv[2];

	if (size < 1 || (!link.in && vm_link_init(&link, -1) < 0) || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, sv) < 0)
		return 0;
	link.fd = sv[0];
	link.in_head = link.in_tail = 0;
	memset(&off, 0, sizeof(off));
	off.guest = data[0];
	if (send(sv[1], data + 1, size - 1, MSG_DONTWAIT) > 0 && vm_link_read(&link) > 0)
		while (vm_link_next(&link, &hdr, &frame, &len) > 0)
			one(&off, hdr, frame, len);
	/* And as one frame that is all of the input. */
	if (size > 1 + OFFLOAD_HDR && size < VM_LINK_FRAME_MAX)
		one(&off, data + 1, data + 1 + OFFLOAD_HDR, size - 1 - OFFLOAD_HDR);
	close(sv[0]);
	close(sv[1]);
	return 0;
}
