/* SPDX-License-Identifier: MIT */
/*
 * libslirp's UDP sockets, many datagrams a system call. The library asks the kernel for each by itself: four calls for one that it receives, two for
 * one that it sends. As in gate.h, this program defines the functions that it calls (recvfrom, recvmsg, ioctl, sendto, setsockopt, socket, close),
 * which keep what they say: callers see sockets that behave like the kernel's.
 *
 * Receiving: what is there is read at once, and given out one by one. The loop asks datagrams_waiting, since poll does not know of these.
 *
 * Sending: between datagrams_hold and datagrams_flush, those of one size to one address are put together, and go to the kernel as one
 * (UDP_SEGMENT), where the kernel and the way there can. An error is reported by the next call that sends, as the kernel does with what
 * comes back from a network.
 *
 * Other sockets, and all calls on them, go straight to the kernel. Thread: one.
 */
#ifndef USER_NET_DATAGRAMS_H
#define USER_NET_DATAGRAMS_H

#include <stdbool.h>
#include <stdint.h>

/* Most that one socket has waiting, so a bound for the number of looks until there is none. */
#define DATAGRAMS_BATCH 32

void datagrams_hold(void);
void datagrams_flush(void);
/* Whether such a socket has received what nobody has taken yet; any of them. */
bool datagrams_waiting(int fd);
bool datagrams_any(void);
/* How many were given out since the last time it was asked. */
unsigned datagrams_taken(void);

#endif
