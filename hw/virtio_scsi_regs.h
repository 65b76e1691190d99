/* SPDX-License-Identifier: MIT */
/* What virtio-scsi's driver and device exchange: Virtio 1.2, section 5.6. Included by hw/virtio_scsi*.c and their tests only. */
#ifndef HW_VIRTIO_SCSI_REGS_H
#define HW_VIRTIO_SCSI_REGS_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/endian.h"

/* 5.6.3: feature bits. INOUT and T10_PI are not offered. */
#define VSCSI_F_HOTPLUG (UINT64_C(1) << 1)
#define VSCSI_F_CHANGE (UINT64_C(1) << 2)

/* 5.6.2: queues. */
#define VSCSI_QUEUE_CONTROL 0
#define VSCSI_QUEUE_EVENT 1
#define VSCSI_QUEUE_REQUEST 2 /* the first */

/* 5.6.4: the configuration space. */
struct vscsi_config {
	le32 num_queues, seg_max, max_sectors, cmd_per_lun, event_info_size;
	le32 sense_size, cdb_size; /* the driver's, before DRIVER_OK */
	le16 max_channel, max_target;
	le32 max_lun;
};
static_assert(sizeof(struct vscsi_config) == 36, "5.6.4");
static_assert(offsetof(struct vscsi_config, sense_size) == 20, "5.6.4");

#define VSCSI_SENSE_SIZE 96 /* after a reset */
#define VSCSI_CDB_SIZE 32

/* 5.6.6.1: a request, without the CDB and the data behind it, and its answer, without sense data and data. */
struct vscsi_cmd {
	uint8_t lun[8];
	le64 id;
	uint8_t task_attr, prio, crn;
};
static_assert(sizeof(struct vscsi_cmd) == 19, "5.6.6.1");

struct vscsi_answer {
	le32 sense_len, residual;
	le16 status_qualifier;
	uint8_t status, response;
};
static_assert(sizeof(struct vscsi_answer) == 12, "5.6.6.1");

enum vscsi_response {
	VSCSI_S_OK = 0, /* also: function complete */
	VSCSI_S_OVERRUN = 1,
	VSCSI_S_ABORTED = 2,
	VSCSI_S_BAD_TARGET = 3,
	VSCSI_S_RESET = 4,
	VSCSI_S_BUSY = 5,
	VSCSI_S_FAILURE = 9,
	VSCSI_S_FUNCTION_SUCCEEDED = 10,
	VSCSI_S_FUNCTION_REJECTED = 11,
	VSCSI_S_INCORRECT_LUN = 12,
};

enum vscsi_attr { VSCSI_ATTR_SIMPLE = 0, VSCSI_ATTR_ORDERED = 1, VSCSI_ATTR_HEAD = 2, VSCSI_ATTR_ACA = 3 };

/* 5.6.6.2: the control queue. */
enum vscsi_control_type { VSCSI_T_TMF = 0, VSCSI_T_AN_QUERY = 1, VSCSI_T_AN_SUBSCRIBE = 2 };

enum vscsi_tmf_type {
	VSCSI_TMF_ABORT_TASK = 0,
	VSCSI_TMF_ABORT_TASK_SET = 1,
	VSCSI_TMF_CLEAR_ACA = 2,
	VSCSI_TMF_CLEAR_TASK_SET = 3,
	VSCSI_TMF_I_T_NEXUS_RESET = 4,
	VSCSI_TMF_LOGICAL_UNIT_RESET = 5,
	VSCSI_TMF_QUERY_TASK = 6,
	VSCSI_TMF_QUERY_TASK_SET = 7,
};

struct vscsi_tmf { /* answered with a byte: the response */
	le32 type, subtype;
	uint8_t lun[8];
	le64 id;
};
static_assert(sizeof(struct vscsi_tmf) == 24, "5.6.6.2");

struct vscsi_an {
	le32 type;
	uint8_t lun[8];
	le32 event_requested;
};
static_assert(sizeof(struct vscsi_an) == 16, "5.6.6.2");

struct vscsi_an_answer {
	le32 event_actual;
	uint8_t response;
};
static_assert(sizeof(struct vscsi_an_answer) == 5, "5.6.6.2");

/* 5.6.6.3: the event queue. */
struct vscsi_event {
	le32 event;
	uint8_t lun[8];
	le32 reason;
};
static_assert(sizeof(struct vscsi_event) == 16, "5.6.6.3");

#define VSCSI_T_EVENTS_MISSED UINT32_C(0x80000000)
#define VSCSI_T_NO_EVENT 0
#define VSCSI_T_TRANSPORT_RESET 1
#define VSCSI_T_PARAM_CHANGE 3

#define VSCSI_EVT_RESET_RESCAN 1
#define VSCSI_EVT_RESET_REMOVED 2

#endif
