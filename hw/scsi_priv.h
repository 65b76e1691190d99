/* SPDX-License-Identifier: MIT */
/* What the files of SCSI units share: tables of commands and pages, and how a command ends. Included by hw/scsi*.c only. */
#ifndef HW_SCSI_PRIV_H
#define HW_SCSI_PRIV_H

#include "hw/scsi.h"

/* Bytes of one discard or write of zeroes: 1 GiB, so that a guest's mkfs does not hold the disk up for long. */
#define SCSI_MAX_SPAN (UINT64_C(1) << 30)

#define SCSI_CD_BLOCK 2048

enum scsi_flags {
	SCSI_ANYTIME = 1, /* also with a unit attention pending, which stays */
	SCSI_MEDIUM = 2,  /* needs one */
	SCSI_WRITES = 4,  /* needs one that can be written */
};

/* `run` ends the request, or starts what will. */
struct scsi_command {
	uint8_t opcode, flags;
	void (*run)(struct scsi_req *req);
};

struct scsi_mode_page {
	uint8_t code, len; /* bytes behind the page's own two */
	void (*fill)(const struct scsi_unit *unit, uint8_t *page); /* the whole page, code and length set */
	const uint8_t *changeable; /* as many bytes as the page; NULL: nothing */
	void (*changed)(struct scsi_unit *unit, const uint8_t *page);
};

struct scsi_vpd_page {
	uint8_t code;
	bool (*there)(const struct scsi_unit *unit); /* NULL: always */
	size_t (*fill)(const struct scsi_unit *unit, uint8_t *page); /* behind the header of four; zeroed, SCSI_VPD_MAX bytes; how many */
};
#define SCSI_VPD_MAX 252

struct scsi_type {
	uint8_t device_type;
	uint16_t standard;                   /* the version descriptor of its command set */
	const struct scsi_command *commands; /* the frequent ones first; ends with a row of zeroes */
	const struct scsi_mode_page *pages;  /* in order of their codes */
	size_t n_pages;
	const struct scsi_vpd_page *vpd;     /* the same */
	size_t n_vpd;
	uint8_t device_specific;             /* of mode parameter headers, without the write protection */
	bool block_descriptor;               /* mode parameters have one */
	uint32_t block;                      /* bytes; 0: as configured */
	bool writable;
	enum scsi_sense no_such_command;
};

/* scsi.c: ends. All of them end the request. */
void scsi_good(struct scsi_req *req);
void scsi_check(struct scsi_req *req, enum scsi_sense sense);
/* INVALID FIELD IN CDB, or IN PARAMETER LIST, with a pointer to the byte. */
void scsi_bad_field(struct scsi_req *req, unsigned byte);
void scsi_bad_parameter(struct scsi_req *req, unsigned byte);
void scsi_overrun(struct scsi_req *req);
void scsi_end(struct scsi_req *req);
/* `len` bytes of an answer, as many of them as the command allows (`allocated`). */
void scsi_reply(struct scsi_req *req, const void *data, size_t len, size_t allocated);
/* Copies the command's parameters. False: there are not as many, and the request has ended. */
bool scsi_take_parameters(struct scsi_req *req, void *data, size_t len);
/* Sense data as they are in a request; `descriptor`: in the other format. Returns the bytes. */
size_t scsi_build_sense(uint8_t *out, enum scsi_sense sense, bool descriptor);
/* Takes the unit attention that comes first; SCSI_NO_SENSE: there is none. */
enum scsi_sense scsi_take_attention(struct scsi_unit *unit);
bool scsi_ready(const struct scsi_unit *unit);
enum scsi_sense scsi_not_ready(const struct scsi_unit *unit);

/* scsi_io.c: the block device's part of a request: flush_before, ranges with op, bulk, flush_after; then GOOD with will_move. */
void scsi_io_start(struct scsi_req *req);
void scsi_io_retry(struct scsi_req *req);

/* scsi_bulk.c */
/* -ENOMEM, or -EBUSY: too many at once. The range has been checked. `data`: what is to be written over and over, a block of it. */
int scsi_bulk_write_same(struct scsi_req *req, const struct scsi_range *range, struct iovec *data, size_t n);
int scsi_bulk_verify(struct scsi_req *req, const struct scsi_range *range, bool same_block);
/* Submits the next step; false: there is none. */
bool scsi_bulk_next(struct scsi_req *req);
/* After a step: false when what was read is not what was expected. */
bool scsi_bulk_done(struct scsi_req *req);
void scsi_bulk_free(struct scsi_req *req);

/* scsi_block.c: commands that disks and CDs have in common */
void scsi_read(struct scsi_req *req);
void scsi_write(struct scsi_req *req);
void scsi_verify(struct scsi_req *req);
void scsi_seek(struct scsi_req *req);
void scsi_synchronize_cache(struct scsi_req *req);
void scsi_read_capacity_10(struct scsi_req *req);
/* Where [lba, lba + n) is. False: not on the medium, and the request has ended. */
bool scsi_locate(struct scsi_req *req, uint64_t lba, uint64_t n, struct scsi_range *range);
/* Whether writes are to be on stable storage when they complete, and are not so anyway. */
bool scsi_writethrough(const struct scsi_unit *unit);

/* scsi_inquiry.c */
void scsi_inquiry(struct scsi_req *req);
void scsi_request_sense(struct scsi_req *req);
void scsi_test_unit_ready(struct scsi_req *req);
void scsi_report_luns(struct scsi_req *req);
bool scsi_vpd_has_serial(const struct scsi_unit *unit);
size_t scsi_vpd_serial(const struct scsi_unit *unit, uint8_t *page);
size_t scsi_vpd_identification(const struct scsi_unit *unit, uint8_t *page);
size_t scsi_vpd_extended(const struct scsi_unit *unit, uint8_t *page);

/* scsi_mode.c */
void scsi_mode_sense(struct scsi_req *req);
void scsi_mode_select(struct scsi_req *req);
void scsi_mode_control(const struct scsi_unit *unit, uint8_t *page);

/* scsi_medium.c */
void scsi_start_stop(struct scsi_req *req);
void scsi_prevent_allow(struct scsi_req *req);
void scsi_event_status(struct scsi_req *req);
/* Size and blocks of what is in the unit. -EINVAL with `err`: it cannot be. */
int scsi_medium_settle(struct scsi_unit *unit, struct blockdev *bd, struct err *err);

/* scsi_unit.c: what disk and CD do alike */
struct scsi_unit *scsi_unit_create(const struct scsi_type *type, const struct scsi_config *cfg, struct err *err);

#endif
