/* SPDX-License-Identifier: MIT */
/*
 * The helper's end of the frames (net/user_proto.h): many of them a call both ways. Frames that the socket does not take at once wait in a buffer.
 *
 * Thread: one.
 */
#ifndef USER_NET_VM_LINK_H
#define USER_NET_VM_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VM_LINK_HDR 12
#define VM_LINK_FRAME_MAX 65550
#define VM_LINK_PREFIX (4 + VM_LINK_HDR)

struct vm_link {
	int fd;
	uint8_t *in;
	size_t in_head, in_tail;
	uint8_t *out;
	size_t out_head, out_tail;
	bool full;        /* the socket; until the next vm_link_flush */
	uint64_t dropped; /* frames that found the buffer full */
};

/* 0 or -ENOMEM. */
int vm_link_init(struct vm_link *link, int fd);
void vm_link_fini(struct vm_link *link);

/* Reads what there is, a buffer's worth. More than 0: there are frames to take; 0: nothing came; -EPIPE at its end, -errno. */
int vm_link_read(struct vm_link *link);
/*
 * The next frame that was read, which may be changed in place: 1; 0 when there is none; -EPROTO for a length that none has. *hdr and *frame hold until the
 * next vm_link_read.
 */
int vm_link_next(struct vm_link *link, uint8_t **hdr, uint8_t **frame, size_t *len);

/* Sends a frame, or keeps it for vm_link_flush, or drops it when much too much waits. 0 or -errno of a broken socket. */
int vm_link_send(struct vm_link *link, const uint8_t *hdr, const uint8_t *frame, size_t len);
/* Sends what waits. 0, also when the socket is full, or -errno. */
int vm_link_flush(struct vm_link *link);
/* Bytes that wait. */
size_t vm_link_waiting(const struct vm_link *link);
/* So much waits that nothing more should be read for the guest. */
bool vm_link_crowded(const struct vm_link *link);

#endif
