/* SPDX-License-Identifier: MIT */
/*
 * The part of the virtio core that transports share: queue registers, doorbells that reached the bus, the configuration space.
 *
 * Thread: vCPU threads. "Locked": under dev->lock; the others without it.
 */
#ifndef HW_VIRTIO_TRANSPORT_H
#define HW_VIRTIO_TRANSPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "hw/virtio.h"

/* The driver speaks the legacy interface, until the next reset; unless it has negotiated as a modern one. Locked. */
void virtio_use_legacy(struct virtio_dev *dev);

/* A 32-bit half of the offered or chosen features; 0 from the third half on. Locked. */
uint32_t virtio_offered_half(struct virtio_dev *dev, uint32_t select, bool legacy);
uint32_t virtio_chosen_half(struct virtio_dev *dev, uint32_t select);
void virtio_choose_half(struct virtio_dev *dev, uint32_t select, uint32_t bits);

/* The queue that the driver selected; NULL when there is none. Locked. */
struct virtio_queue *virtio_queue_at(struct virtio_dev *dev, unsigned q);
/* The same when its registers may be written; NULL, with a line in the log, when it does not exist or is frozen. Locked. */
struct virtio_queue *virtio_queue_writable(struct virtio_dev *dev, unsigned q);
/* A size that the driver chose: a power of two, not above what is offered. Else it is refused with a log. Locked. */
void virtio_queue_set_size(struct virtio_dev *dev, unsigned q, uint32_t size);
/* Refused with a log when size or addresses are not valid. Locked. */
void virtio_queue_enable(struct virtio_dev *dev, unsigned q);

/*
 * The driver rang for queue `q`, any number. A legacy driver that does so before DRIVER_OK starts the device (3.1.2). Also what a
 * transport calls for every queue after its doorbells have moved.
 */
void virtio_kick(struct virtio_dev *dev, unsigned q);
/* The eventfds of all enabled queues. Locked. */
void virtio_kick_all(struct virtio_dev *dev);

/*
 * Whether the transport may access memory, as it may until told otherwise. While it may not, a driver's DRIVER_OK waits; a device that is
 * active gives its queues back before this returns, and needs a reset.
 */
void virtio_set_mastering(struct virtio_dev *dev, bool on);

/* Any offset and length: bytes beyond the configuration space stay as they are, or are dropped. */
void virtio_config_read(struct virtio_dev *dev, uint64_t offset, uint8_t *buf, unsigned len);
void virtio_config_write(struct virtio_dev *dev, uint64_t offset, const uint8_t *buf, unsigned len);

#endif
