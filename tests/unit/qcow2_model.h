/* SPDX-License-Identifier: MIT */
/*
 * A qcow2 image over a fake file, and what its guest knows of it: each sector holds a version number, 0 for zeroes, and the versions that it
 * may have after a crash. Random requests run several at a time, never two on one sector, unless both read.
 */
#ifndef TESTS_UNIT_QCOW2_MODEL_H
#define TESTS_UNIT_QCOW2_MODEL_H

#include "blk/qcow2.h"
#include "tests/unit/fake_file.h"

#define QM_DEPTH 8
#define QM_CAP (24u << 20)

struct qm_sector {
	uint32_t now;     /* what is read */
	uint32_t flushed; /* what it was at the last flush that has ended */
	uint32_t *since;  /* other versions since then, by their numbers from `base` on */
	unsigned n_since;
	uint64_t base, done; /* `done`: the number of the last that has ended */
	bool busy;
};

struct qm_op {
	struct blk_req req;
	struct qm *m;
	struct iovec iov[2];
	uint8_t *buf;
	uint32_t version;
	bool active, done;
	int result;
	uint64_t started; /* number of the operation */
};

struct qm {
	struct eventloop *loop;
	struct fake_file *file, *base, *data;
	struct blockdev *bd;
	struct qcow2_create_config create;
	struct qcow2_open_config open;
	uint64_t base_size;
	uint64_t size;
	struct qm_sector *sectors;
	struct qm_op ops[QM_DEPTH];
	uint32_t version;
	uint64_t seed;
	uint64_t n_ops;
	unsigned errors; /* requests that failed */
	bool may_fail;
};

void qm_init(struct qm *m, uint64_t seed, const struct qcow2_create_config *create);
void qm_fini(struct qm *m);
void qm_open(struct qm *m);
void qm_close(struct qm *m);
/* Starts a random request when there is room, and lets the file do something. */
void qm_step(struct qm *m);
/* Until nothing is under way. */
void qm_settle(struct qm *m);
/* All data as it should be; no errors, and no leaks if `tidy`. */
void qm_verify(struct qm *m);
void qm_check(struct qm *m, bool tidy);
/* A crash now: what is found is consistent and has all that was flushed. */
void qm_crash(struct qm *m);
int qm_do(struct qm *m, enum blk_op op, unsigned flags, uint64_t off, void *buf, uint64_t len);
/* The whole disk's versions, to be freed, and back. */
uint32_t *qm_versions(const struct qm *m);
void qm_set_versions(struct qm *m, const uint32_t *v, uint64_t size);

#endif
