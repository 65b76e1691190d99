/* SPDX-License-Identifier: MIT */
/*
 * What Kite and its helper kite-user-net say to each other.
 *
 * The helper is started as `kite-user-net --protocol=1 KEY=VALUE...`, with these descriptors. Its arguments are all of its configuration, known
 * to both from one build; a helper of another protocol says so and ends.
 *
 * USER_PROTO_FRAMES: a Unix stream socket with frames as net/framed.h has them, with a virtio_net_hdr, both ways. Frames of the guest
 * may be unfinished as the header says (NETDEV_CSUM, NETDEV_TSO4, NETDEV_TSO6); frames for it only as the last `offloads` allows.
 *
 * USER_PROTO_CONTROL: a Unix SOCK_SEQPACKET socket. A message is a line of text without its end, 1 to USER_PROTO_MAX bytes, no zero bytes.
 *
 *   from the helper, first      ready 1             the set-up is done, the sandbox is up
 *                               error TEXT          it failed; the helper ends
 *   from the helper, any time   warn TEXT           for the log
 *   from Kite                   offloads N          NETDEV_ bits that the guest takes; no answer
 *                               hostfwd_add RULE    answered by `ok`, or by `failed TEXT`
 *                               hostfwd_remove RULE
 *                               info                answered by `ok TEXT`, TEXT of several lines, cut at the end when too long
 *
 * Either side's end of either socket ends the helper.
 */
#ifndef NET_USER_PROTO_H
#define NET_USER_PROTO_H

#define USER_PROTO_VERSION 1
#define USER_PROTO_FRAMES 3
#define USER_PROTO_CONTROL 4
#define USER_PROTO_MAX 32768

#endif
