/* SPDX-License-Identifier: MIT */
/*
 * Small frames gather in `out` until the end of a turn; a large one that finds nothing waiting goes out from where it is, as copying it would
 * cost more than the call.
 */
#include "tools/user-net/vm_link.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "vmm/util.h"

#define IN_SIZE (256 * KIB)
#define OUT_SIZE (4 * MIB)      /* of addresses; memory only as far as it fills */
#define OUT_CROWDED (256 * KIB)
#define OUT_BATCH (64 * KIB)    /* sent without waiting for the end of a turn */
#define LARGE_FRAME (4 * KIB)

int vm_link_init(struct vm_link *link, int fd)
{
	*link = (struct vm_link){ .fd = fd };
	link->in = malloc(IN_SIZE);
	link->out = malloc(OUT_SIZE);
	if (link->in && link->out)
		return 0;
	vm_link_fini(link);
	return -ENOMEM;
}

void vm_link_fini(struct vm_link *link)
{
	free(link->in);
	free(link->out);
	link->in = link->out = NULL;
}

int vm_link_read(struct vm_link *link)
{
	size_t have = link->in_tail - link->in_head;
	ssize_t got;

	memmove(link->in, link->in + link->in_head, have);
	link->in_head = 0;
	link->in_tail = have;
	do
		got = recv(link->fd, link->in + have, IN_SIZE - have, MSG_DONTWAIT);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
	if (got == 0)
		return -EPIPE;
	link->in_tail += (size_t)got;
	return 1;
}

int vm_link_next(struct vm_link *link, uint8_t **hdr, uint8_t **frame, size_t *len)
{
	size_t have = link->in_tail - link->in_head;
	uint8_t *p = link->in + link->in_head;
	uint32_t wire;

	if (have < VM_LINK_PREFIX)
		return 0;
	wire = (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
	if (wire <= VM_LINK_HDR || wire > VM_LINK_HDR + VM_LINK_FRAME_MAX)
		return -EPROTO;
	if (have < 4 + wire)
		return 0;
	*hdr = p + 4;
	*frame = p + VM_LINK_PREFIX;
	*len = wire - VM_LINK_HDR;
	link->in_head += 4 + wire;
	return 1;
}

size_t vm_link_waiting(const struct vm_link *link)
{
	return link->out_tail - link->out_head;
}

bool vm_link_crowded(const struct vm_link *link)
{
	return vm_link_waiting(link) >= OUT_CROWDED;
}

/* The bytes sent, 0 when the socket is full, -errno. */
static ssize_t send_iov(struct vm_link *link, struct iovec *iov, size_t n)
{
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = n };
	ssize_t sent;

	do
		sent = sendmsg(link->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return sent;
	link->full = errno == EAGAIN || errno == EWOULDBLOCK;
	return link->full ? 0 : -errno;
}

int vm_link_flush(struct vm_link *link)
{
	link->full = false;
	while (vm_link_waiting(link)) {
		struct iovec iov = { link->out + link->out_head, vm_link_waiting(link) };
		ssize_t sent = send_iov(link, &iov, 1);

		if (sent <= 0)
			return (int)sent;
		link->out_head += (size_t)sent;
	}
	link->out_head = link->out_tail = 0;
	return 0;
}

/* Keeps the frame behind its first `skip` bytes on the wire. */
static void keep(struct vm_link *link, const uint8_t *prefix, const uint8_t *frame, size_t len, size_t skip)
{
	size_t head = min_u64(skip, VM_LINK_PREFIX);

	memcpy(link->out + link->out_tail, prefix + head, VM_LINK_PREFIX - head);
	link->out_tail += VM_LINK_PREFIX - head;
	skip -= head;
	memcpy(link->out + link->out_tail, frame + skip, len - skip);
	link->out_tail += len - skip;
}

/* Room for a frame behind those that wait. */
static bool make_room(struct vm_link *link, size_t len)
{
	if (OUT_SIZE - link->out_tail >= VM_LINK_PREFIX + len)
		return true;
	memmove(link->out, link->out + link->out_head, vm_link_waiting(link));
	link->out_tail -= link->out_head;
	link->out_head = 0;
	return OUT_SIZE - link->out_tail >= VM_LINK_PREFIX + len;
}

int vm_link_send(struct vm_link *link, const uint8_t *hdr, const uint8_t *frame, size_t len)
{
	uint32_t wire = (uint32_t)(VM_LINK_HDR + len);
	uint8_t prefix[VM_LINK_PREFIX] = { (uint8_t)(wire >> 24), (uint8_t)(wire >> 16), (uint8_t)(wire >> 8), (uint8_t)wire };
	ssize_t sent = 0;

	memcpy(prefix + 4, hdr, VM_LINK_HDR);
	if (len > VM_LINK_FRAME_MAX || !make_room(link, len)) {
		link->dropped++;
		return 0;
	}
	if (len >= LARGE_FRAME && !link->full) {
		struct iovec iov[3] = { { link->out + link->out_head, vm_link_waiting(link) }, { prefix, sizeof(prefix) },
					{ (void *)(uintptr_t)frame, len } };
		size_t waiting = vm_link_waiting(link);

		sent = send_iov(link, iov, 3);
		if (sent < 0)
			return (int)sent;
		if ((size_t)sent < waiting) {
			link->out_head += (size_t)sent;
			sent = 0;
		} else {
			link->out_head = link->out_tail = 0;
			sent -= (ssize_t)waiting;
		}
	}
	if ((size_t)sent < sizeof(prefix) + len)
		keep(link, prefix, frame, len, (size_t)sent);
	return vm_link_waiting(link) >= OUT_BATCH && !link->full ? vm_link_flush(link) : 0;
}
