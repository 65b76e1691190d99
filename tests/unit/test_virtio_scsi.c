/* SPDX-License-Identifier: MIT */
/* virtio-scsi: request layouts, addresses, task management, events, sizes that a driver sets, and what a driver gets wrong. */
#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "hw/virtio_scsi_priv.h"
#include "tests/unit/fake_blockdev.h"
#include "tests/unit/fake_virtio.h"
#include "tests/unit/suite.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define DISK_SIZE (1 * MIB)
#define REQ 2 /* the first request queue */
#define FEATURES (VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VSCSI_F_HOTPLUG | VSCSI_F_CHANGE)
#define UNTOUCHED 0x77

static struct fake_virtio f;
static struct fake_blk disks[3];
static struct scsi_unit *units[3]; /* 0:0, 0:300, 7:0 */
static struct virtio_dev *dev;
static uint32_t sense_size, cdb_size;
static unsigned io_errors;

static void on_request(void *machine, enum vm_request what, int status)
{
	(void)machine;
	(void)status;
	ck_assert_int_eq(what, VM_REQUEST_IO_ERROR);
	io_errors++;
}

static struct scsi_unit *make_unit(unsigned i, unsigned target, unsigned lun)
{
	const struct scsi_config cfg = { .name = "unit", .bd = &disks[i].bd, .target = target, .lun = lun, .write_cache = true, .removable = i == 2,
					 .link = { .request = on_request } };
	struct err err = ERR_INIT;
	struct scsi_unit *unit = scsi_disk_create(&cfg, &err);

	ck_assert_msg(unit != NULL, "%s", err.msg);
	return unit;
}

static void make(void)
{
	const struct device_env env = { .loop = NULL, .mem = f.mem };
	const struct virtio_scsi_config cfg = { .name = "scsi0", .loop = f.loop, .queues = 2, .queue_size = 128, .max_sectors = 1000, .cmd_per_lun = 7 };
	static const unsigned places[][2] = { { 7, 0 }, { 0, 300 }, { 0, 0 } };
	struct err err = ERR_INIT;

	dev = virtio_scsi_create(&env, &cfg, &err);
	ck_assert_msg(dev != NULL, "%s", err.msg);
	for (unsigned i = 3; i-- > 0;) {
		units[i] = make_unit(i, places[2 - i][0], places[2 - i][1]);
		ck_assert_int_eq(virtio_scsi_add_unit(dev, units[i], &err), 0);
	}
	fake_virtio_attach(&f, dev);
}

static void scsi_setup(void)
{
	log_set_level(LOG_LEVEL_NONE);
	fake_virtio_init(&f);
	for (unsigned i = 0; i < 3; i++)
		fake_blk_init(&disks[i], f.loop, DISK_SIZE);
	sense_size = VSCSI_SENSE_SIZE;
	cdb_size = VSCSI_CDB_SIZE;
	io_errors = 0;
	make();
}

static void scsi_teardown(void)
{
	fake_virtio_reset(&f);
	ck_assert_uint_eq(CONTAINER_OF(dev, struct vscsi, dev)->in_flight, 0);
	dev->ops->destroy(dev);
	for (unsigned i = 0; i < 3; i++)
		fake_blk_fini(&disks[i]);
	fake_virtio_fini(&f);
}

/* ---- requests ---- */

struct sent {
	uint64_t answer, data; /* in guest memory */
	uint16_t head;
};

static void put_lun(uint8_t *lun, unsigned target, unsigned n)
{
	memset(lun, 0, 8);
	lun[0] = 1;
	lun[1] = (uint8_t)target;
	lun[2] = (uint8_t)(0x40 | n >> 8);
	lun[3] = (uint8_t)n;
}

/* Cuts `len` bytes at `gpa` into buffers of at most `piece` bytes. */
static unsigned cut(struct fake_buf *out, uint64_t gpa, uint32_t len, uint32_t piece, bool writable)
{
	unsigned n = 0;

	while (len) {
		uint32_t now = (uint32_t)min_u64(len, piece);

		out[n++] = (struct fake_buf){ gpa, now, writable };
		gpa += now;
		len -= now;
	}
	return n;
}

static uint32_t answer_size(void)
{
	return (uint32_t)sizeof(struct vscsi_answer) + sense_size;
}

/* A request as a driver makes it: header and CDB, data out, answer, data in, one behind the other, in pieces. */
static struct sent send_cut(const struct vscsi_cmd *cmd, const void *cdb, size_t n, const void *out, uint32_t out_len, uint32_t in_len,
			    uint32_t out_piece, uint32_t in_piece)
{
	uint32_t head_len = (uint32_t)sizeof(*cmd) + cdb_size;
	uint64_t gpa = fake_alloc(&f, head_len + out_len, 16);
	struct fake_buf bufs[128];
	unsigned count;
	struct sent s;

	memcpy(fake_mem(&f, gpa, sizeof(*cmd)), cmd, sizeof(*cmd));
	memcpy(fake_mem(&f, gpa + sizeof(*cmd), cdb_size), cdb, min_u64(n, cdb_size));
	if (out_len)
		memcpy(fake_mem(&f, gpa + head_len, out_len), out, out_len);
	s.answer = fake_alloc(&f, answer_size() + in_len, 16);
	s.data = s.answer + answer_size();
	memset(fake_mem(&f, s.answer, answer_size() + in_len), UNTOUCHED, answer_size() + in_len);
	count = cut(bufs, gpa, head_len + out_len, out_piece, false);
	count += cut(bufs + count, s.answer, answer_size() + in_len, in_piece, true);
	s.head = fake_ring_add_indirect(&f.ring[REQ], &f, bufs, count);
	return s;
}

static struct sent send(unsigned target, unsigned lun, uint64_t id, const void *cdb, size_t n, const void *out, uint32_t out_len, uint32_t in_len)
{
	struct vscsi_cmd cmd = { .id = le64_of(id) };

	put_lun(cmd.lun, target, lun);
	return send_cut(&cmd, cdb, n, out, out_len, in_len, 1 << 20, 1 << 20);
}

static void run_disks(void)
{
	for (unsigned i = 0; i < 3; i++)
		fake_blk_run(&disks[i], UINT32_MAX);
	fake_virtio_turn(&f);
}

static struct vscsi_answer answer_of(const struct sent *s)
{
	struct vscsi_answer answer;

	memcpy(&answer, fake_mem(&f, s->answer, sizeof(answer)), sizeof(answer));
	return answer;
}

/* Kicks, lets the disks work, takes the one used element. */
static struct vscsi_answer finish(const struct sent *s, uint32_t *used)
{
	uint32_t head, len;

	fake_virtio_kick(&f, REQ);
	run_disks();
	run_disks();
	run_disks();
	ck_assert(fake_ring_used(&f.ring[REQ], &head, &len));
	ck_assert_uint_eq(head, s->head);
	if (used)
		*used = len;
	return answer_of(s);
}

static uint8_t response(unsigned target, unsigned lun, const void *cdb, size_t n, uint32_t in_len)
{
	struct sent s = send(target, lun, 1, cdb, n, NULL, 0, in_len);

	return finish(&s, NULL).response;
}

static const uint8_t tur[6], inquiry[6] = { SCSI_INQUIRY, 0, 0, 0, 96, 0 };
static const uint8_t read_2[10] = { SCSI_READ_10, 0, 0, 0, 0, 5, 0, 0, 2, 0 }, write_2[10] = { SCSI_WRITE_10, 0, 0, 0, 0, 5, 0, 0, 2, 0 };

/* Takes the power-on of all units. */
static void start(void)
{
	ck_assert_uint_eq(fake_virtio_start(&f, FEATURES), 15);
	for (struct scsi_unit *u = CONTAINER_OF(dev, struct vscsi, dev)->units; u; u = u->next) {
		struct sent s = send(u->target, u->lun, 1, tur, sizeof(tur), NULL, 0, 0);
		struct vscsi_answer a = finish(&s, NULL);

		ck_assert(a.response == VSCSI_S_OK && a.status == SCSI_CHECK_CONDITION && le32_get(a.sense_len) == 18);
		ck_assert_uint_eq(((uint8_t *)fake_mem(&f, s.answer + 12, 18))[12], 0x29);
	}
}

static const uint32_t pieces[] = { 100000, 1, 7, 51, 52, 108, 109, 512, 1000 };

START_TEST(test_layouts)
{
	static uint8_t data[1024];

	start();
	for (unsigned i = 0; i < ARRAY_SIZE(pieces) * ARRAY_SIZE(pieces); i++) {
		uint32_t out_piece = pieces[i % ARRAY_SIZE(pieces)], in_piece = pieces[i / ARRAY_SIZE(pieces)], used;
		struct vscsi_cmd cmd = { .id = le64_of(i) };
		struct vscsi_answer a;
		struct sent s;

		if (out_piece < 16 || in_piece < 16) /* more than the table of descriptors takes, with 1,024 bytes */
			continue;
		put_lun(cmd.lun, 0, 0);
		for (unsigned k = 0; k < sizeof(data); k++)
			data[k] = (uint8_t)(k * 31 + i);
		s = send_cut(&cmd, write_2, sizeof(write_2), data, sizeof(data), 0, out_piece, in_piece);
		a = finish(&s, &used);
		ck_assert(a.response == VSCSI_S_OK && a.status == SCSI_GOOD && le32_get(a.residual) == 0 && le32_get(a.sense_len) == 0);
		ck_assert_uint_eq(used, answer_size());
		ck_assert_mem_eq(disks[0].data + 5 * 512, data, sizeof(data));
		s = send_cut(&cmd, read_2, sizeof(read_2), NULL, 0, sizeof(data) + 10, out_piece, in_piece);
		a = finish(&s, &used);
		ck_assert(a.response == VSCSI_S_OK && a.status == SCSI_GOOD && le32_get(a.residual) == 10);
		ck_assert_uint_eq(used, answer_size() + sizeof(data));
		ck_assert_mem_eq(fake_mem(&f, s.data, sizeof(data)), data, sizeof(data));
		ck_assert_uint_eq(*(uint8_t *)fake_mem(&f, s.data + sizeof(data), 1), UNTOUCHED);
		ck_assert_uint_eq(*(uint8_t *)fake_mem(&f, s.answer + answer_size() - 1, 1), 0);
	}
}
END_TEST

/* Pieces of a byte: header, answer and small data. */
START_TEST(test_small_pieces)
{
	start();
	for (uint32_t piece = 1; piece < 12; piece++) {
		struct vscsi_cmd cmd = { .id = le64_of(1) };
		static const uint8_t capacity[10] = { SCSI_READ_CAPACITY_10 };
		struct vscsi_answer a;
		struct sent s;

		put_lun(cmd.lun, 0, 300);
		sense_size = 12;
		cdb_size = 10;
		fake_virtio_negotiate(&f, FEATURES);
		dev->ops->config_write(dev, offsetof(struct vscsi_config, sense_size), (uint8_t[]){ 12, 0, 0, 0 }, 4);
		dev->ops->config_write(dev, offsetof(struct vscsi_config, cdb_size), (uint8_t[]){ 10, 0, 0, 0 }, 4);
		for (unsigned q = 0; q < dev->n_queues; q++)
			fake_virtio_setup_queue(&f, q, 128);
		virtio_set_status(dev, 15);
		s = send_cut(&cmd, capacity, sizeof(capacity), NULL, 0, 8, piece, piece);
		a = finish(&s, NULL); /* power-on; the sense data are cut */
		ck_assert(a.status == SCSI_CHECK_CONDITION && le32_get(a.sense_len) == 12);
		s = send_cut(&cmd, capacity, sizeof(capacity), NULL, 0, 8, piece, piece);
		a = finish(&s, NULL);
		ck_assert(a.response == VSCSI_S_OK && a.status == SCSI_GOOD && le32_get(a.residual) == 0);
		ck_assert_uint_eq(load_be32(fake_mem(&f, s.data, 4)), DISK_SIZE / 512 - 1);
	}
}
END_TEST

START_TEST(test_addresses)
{
	static const uint8_t bad[][8] = { { 0, 0, 0x40, 0 }, { 2, 0, 0x40, 0 }, { 1, 1, 0x40, 0 }, { 1, 0, 0x80, 0 }, { 1, 0, 0x01, 0 },
					  { 1, 0, 0x40, 0, 1 }, { 1, 0, 0x40, 0, 0, 0, 0, 1 }, { 0xc1, 2 }, { 1, 0xff, 0x40, 0 } };
	static const uint8_t luns[12] = { SCSI_REPORT_LUNS, 0, 0, 0, 0, 0, 0, 0, 0, 96, 0, 0 };
	struct vscsi_cmd cmd = { .task_attr = 0 };
	struct vscsi_answer a;
	struct sent s;
	uint8_t *p;

	start();
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		memcpy(cmd.lun, bad[i], 8);
		s = send_cut(&cmd, inquiry, sizeof(inquiry), NULL, 0, 96, 4096, 4096);
		ck_assert_uint_eq(finish(&s, NULL).response, VSCSI_S_BAD_TARGET);
	}
	/* peripheral addressing of LUN 0, too */
	memcpy(cmd.lun, (uint8_t[8]){ 1, 7, 0, 0 }, 8);
	s = send_cut(&cmd, inquiry, sizeof(inquiry), NULL, 0, 96, 4096, 4096);
	ck_assert_uint_eq(finish(&s, NULL).response, VSCSI_S_OK);
	ck_assert_uint_eq(*(uint8_t *)fake_mem(&f, s.data, 1), 0);
	/* no such unit, in a target that is there */
	s = send(7, 1, 1, inquiry, sizeof(inquiry), NULL, 0, 96);
	ck_assert_uint_eq(finish(&s, NULL).status, SCSI_GOOD);
	ck_assert_uint_eq(*(uint8_t *)fake_mem(&f, s.data, 1), 0x7f);
	s = send(0, 300, 1, luns, sizeof(luns), NULL, 0, 96);
	a = finish(&s, NULL);
	ck_assert_uint_eq(le32_get(a.residual), 96 - 24);
	p = fake_mem(&f, s.data, 24);
	ck_assert(load_be32(p) == 16 && load_be64(p + 8) == 0 && p[16] == 0x41 && p[17] == 300 - 256);
	/* the REPORT LUNS well-known unit tells of all */
	memcpy(cmd.lun, (uint8_t[8]){ 0xc1, 1 }, 8);
	s = send_cut(&cmd, luns, sizeof(luns), NULL, 0, 96, 4096, 4096);
	finish(&s, NULL);
	p = fake_mem(&f, s.data, 32);
	ck_assert(load_be32(p) == 24 && p[8] == 1 && p[9] == 0 && p[24] == 1 && p[25] == 7 && p[26] == 0 && p[18] == 0x41);
}
END_TEST

START_TEST(test_responses)
{
	struct vscsi_cmd cmd = { .task_attr = 0 };
	struct sent s;

	start();
	ck_assert_uint_eq(response(0, 0, read_2, sizeof(read_2), 1023), VSCSI_S_OVERRUN);
	/* both directions, and an attribute that needs ACA */
	put_lun(cmd.lun, 0, 0);
	s = send_cut(&cmd, read_2, sizeof(read_2), read_2, 10, 1024, 4096, 4096);
	ck_assert_uint_eq(finish(&s, NULL).response, VSCSI_S_FAILURE);
	for (unsigned attr = 0; attr < 256; attr += attr < 5 ? 1 : 50) {
		cmd.task_attr = (uint8_t)attr;
		s = send_cut(&cmd, read_2, sizeof(read_2), NULL, 0, 1024, 4096, 4096);
		ck_assert_uint_eq(finish(&s, NULL).response, attr < 3 ? VSCSI_S_OK : VSCSI_S_FAILURE);
	}
}
END_TEST

/* Chains that there is no answering. */
START_TEST(test_broken)
{
	static const struct {
		uint32_t out, in;
	} bad[] = { { 50, 108 }, { 51, 107 }, { 0, 108 }, { 51, 0 }, { 3, 3 } };

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct fake_buf bufs[2];
		unsigned n = 0;

		start();
		if (bad[i].out)
			bufs[n++] = (struct fake_buf){ fake_alloc(&f, bad[i].out, 16), bad[i].out, false };
		if (bad[i].in)
			bufs[n++] = (struct fake_buf){ fake_alloc(&f, bad[i].in, 16), bad[i].in, true };
		fake_ring_add(&f.ring[REQ], bufs, n);
		fake_virtio_kick(&f, REQ);
		ck_assert(virtio_get_status(dev) & VIRTIO_STATUS_NEEDS_RESET);
		ck_assert_uint_eq(fake_ring_used_count(&f.ring[REQ]), 0);
	}
}
END_TEST

/* ---- configuration ---- */

START_TEST(test_config)
{
	struct vscsi_config c;

	dev->ops->config_read(dev, 0, (uint8_t *)&c, sizeof(c));
	ck_assert_uint_eq(le32_get(c.num_queues), 2);
	ck_assert_uint_eq(le32_get(c.seg_max), 126);
	ck_assert_uint_eq(le32_get(c.max_sectors), 1000);
	ck_assert_uint_eq(le32_get(c.cmd_per_lun), 7);
	ck_assert_uint_eq(le32_get(c.event_info_size), 16);
	ck_assert_uint_eq(le32_get(c.sense_size), 96);
	ck_assert_uint_eq(le32_get(c.cdb_size), 32);
	ck_assert(le16_get(c.max_channel) == 0 && le16_get(c.max_target) == 255 && le32_get(c.max_lun) == 16383);
	/* only the two sizes can be written, and not to what would be too much */
	dev->ops->config_write(dev, 0, (uint8_t[36]){ [20] = 20, [24] = 16 }, 36);
	dev->ops->config_read(dev, 0, (uint8_t *)&c, sizeof(c));
	ck_assert(le32_get(c.num_queues) == 2 && le32_get(c.max_lun) == 16383 && le32_get(c.sense_size) == 20 && le32_get(c.cdb_size) == 16);
	dev->ops->config_write(dev, 20, (uint8_t[]){ 0, 0, 1, 0 }, 4);
	dev->ops->config_write(dev, 24, (uint8_t[]){ 0xff, 0xff, 0xff, 0xff }, 4);
	dev->ops->config_read(dev, 0, (uint8_t *)&c, sizeof(c));
	ck_assert(le32_get(c.sense_size) == 20 && le32_get(c.cdb_size) == 16);
	/* nor by bytes: the device does not start */
	dev->ops->config_write(dev, 22, (uint8_t[]){ 1 }, 1);
	fake_virtio_start(&f, FEATURES);
	ck_assert(virtio_get_status(dev) & VIRTIO_STATUS_NEEDS_RESET);
	dev->ops->config_write(dev, 22, (uint8_t[]){ 0 }, 1);
	/* they count from activation on, and end with the driver */
	sense_size = 20;
	cdb_size = 16;
	start();
	ck_assert_uint_eq(response(0, 0, read_2, sizeof(read_2), 1024), VSCSI_S_OK);
	fake_virtio_reset(&f);
	dev->ops->config_read(dev, 0, (uint8_t *)&c, sizeof(c));
	ck_assert(le32_get(c.sense_size) == 96 && le32_get(c.cdb_size) == 32);
}
END_TEST

/* ---- control ---- */

static uint64_t send_tmf(uint32_t subtype, unsigned target, unsigned lun, uint64_t id)
{
	struct vscsi_tmf tmf = { .type = le32_of(VSCSI_T_TMF), .subtype = le32_of(subtype), .id = le64_of(id) };
	uint64_t answer = fake_alloc_data(&f, (uint8_t[]){ UNTOUCHED }, 1);
	struct fake_buf bufs[2] = { { 0, sizeof(tmf), false }, { answer, 1, true } };

	put_lun(tmf.lun, target, lun);
	bufs[0].gpa = fake_alloc_data(&f, &tmf, sizeof(tmf));
	fake_ring_add(&f.ring[VSCSI_QUEUE_CONTROL], bufs, 2);
	fake_virtio_kick(&f, VSCSI_QUEUE_CONTROL);
	return answer;
}

static uint8_t byte_at(uint64_t gpa)
{
	return *(uint8_t *)fake_mem(&f, gpa, 1);
}

static uint8_t tmf(uint32_t subtype, unsigned target, unsigned lun, uint64_t id)
{
	return byte_at(send_tmf(subtype, target, lun, id));
}

START_TEST(test_tmf_simple)
{
	start();
	for (uint32_t what = 0; what < 10; what++) {
		static const uint8_t idle[] = { 0, 0, 11, 0, 0, 0, 0, 0, 11, 11 };

		ck_assert_uint_eq(tmf(what, 1, 0, 0), VSCSI_S_BAD_TARGET);
		ck_assert_uint_eq(tmf(what, 7, 3, 0), what == VSCSI_TMF_I_T_NEXUS_RESET ? VSCSI_S_OK : VSCSI_S_INCORRECT_LUN);
		ck_assert_uint_eq(tmf(what, 7, 0, 0), idle[what]);
	}
	/* the reset units say so with their next command; the others do not */
	ck_assert(units[2]->attentions && !units[0]->attentions);
}
END_TEST

START_TEST(test_tmf_waits)
{
	struct sent a, b, c;
	uint64_t abort_a, reset;
	uint32_t head, len;

	start();
	a = send(0, 0, 77, read_2, sizeof(read_2), NULL, 0, 1024);
	b = send(0, 0, 78, read_2, sizeof(read_2), NULL, 0, 1024);
	c = send(7, 0, 77, read_2, sizeof(read_2), NULL, 0, 1024);
	fake_virtio_kick(&f, REQ);
	ck_assert_uint_eq(disks[0].waiting, 2);
	ck_assert_uint_eq(tmf(VSCSI_TMF_QUERY_TASK, 0, 0, 77), VSCSI_S_FUNCTION_SUCCEEDED);
	ck_assert_uint_eq(tmf(VSCSI_TMF_QUERY_TASK, 0, 0, 79), VSCSI_S_OK);
	ck_assert_uint_eq(tmf(VSCSI_TMF_QUERY_TASK_SET, 0, 0, 0), VSCSI_S_FUNCTION_SUCCEEDED);
	/* the host has it: the function is answered when the host is done */
	abort_a = send_tmf(VSCSI_TMF_ABORT_TASK, 0, 0, 77);
	ck_assert_uint_eq(byte_at(abort_a), UNTOUCHED);
	reset = send_tmf(VSCSI_TMF_LOGICAL_UNIT_RESET, 0, 0, 0);
	fake_blk_run(&disks[0], 1);
	fake_virtio_turn(&f);
	ck_assert_uint_eq(byte_at(abort_a), VSCSI_S_OK);
	ck_assert_uint_eq(byte_at(reset), UNTOUCHED);
	ck_assert_uint_eq(answer_of(&a).response, VSCSI_S_RESET); /* the later of the two that ended it */
	ck_assert_uint_eq(le32_get(answer_of(&a).residual), 1024);
	fake_blk_run(&disks[0], 1);
	fake_virtio_turn(&f);
	ck_assert_uint_eq(byte_at(reset), VSCSI_S_OK);
	ck_assert_uint_eq(answer_of(&b).response, VSCSI_S_RESET);
	/* the other unit's was none of it */
	run_disks();
	ck_assert(answer_of(&c).response == VSCSI_S_OK && answer_of(&c).status == SCSI_GOOD);
	for (unsigned i = 0; i < 3; i++)
		ck_assert(fake_ring_used(&f.ring[REQ], &head, &len));
	/* and there is something to tell */
	a = send(0, 0, 1, tur, sizeof(tur), NULL, 0, 0);
	ck_assert_uint_eq(finish(&a, NULL).status, SCSI_CHECK_CONDITION);
	ck_assert_uint_eq(byte_at(a.answer + 12 + 13), 3);
}
END_TEST

START_TEST(test_reset_in_flight)
{
	uint64_t waits;

	start();
	send(0, 0, 1, write_2, sizeof(write_2), write_2, 0, 0);
	for (unsigned i = 0; i < 10; i++)
		send(i & 1 ? 7 : 0, 0, i, read_2, sizeof(read_2), NULL, 0, 1024);
	fake_virtio_kick(&f, REQ);
	waits = send_tmf(VSCSI_TMF_ABORT_TASK_SET, 0, 0, 0);
	ck_assert_uint_eq(byte_at(waits), UNTOUCHED);
	fake_virtio_reset(&f);
	ck_assert(!disks[0].first && !disks[2].first);
	ck_assert_ptr_null(CONTAINER_OF(dev, struct vscsi, dev)->pending);
	/* the next driver starts as after a power-on, and events of before are not its own */
	start();
	ck_assert_uint_eq(response(0, 0, read_2, sizeof(read_2), 1024), VSCSI_S_OK);
}
END_TEST

START_TEST(test_control_others)
{
	struct vscsi_an an = { .type = le32_of(VSCSI_T_AN_QUERY), .event_requested = le32_of(UINT32_MAX) };
	uint64_t answer = fake_alloc(&f, 5, 16);
	struct fake_buf bufs[2] = { { 0, sizeof(an), false }, { answer, 5, true } };
	uint32_t head, len;

	start();
	for (uint32_t type = VSCSI_T_AN_QUERY; type <= VSCSI_T_AN_SUBSCRIBE; type++) {
		an.type = le32_of(type);
		put_lun(an.lun, 0, 300);
		memset(fake_mem(&f, answer, 5), UNTOUCHED, 5);
		bufs[0].gpa = fake_alloc_data(&f, &an, sizeof(an));
		fake_ring_add(&f.ring[0], bufs, 2);
		fake_virtio_kick(&f, 0);
		ck_assert_mem_eq(fake_mem(&f, answer, 5), "\0\0\0\0\0", 5);
		ck_assert(fake_ring_used(&f.ring[0], &head, &len) && len == 5);
	}
	/* a type from the future is given back; what is too short breaks the queue */
	an.type = le32_of(9);
	bufs[0].gpa = fake_alloc_data(&f, &an, sizeof(an));
	fake_ring_add(&f.ring[0], bufs, 2);
	fake_virtio_kick(&f, 0);
	ck_assert(fake_ring_used(&f.ring[0], &head, &len) && len == 0);
	an.type = le32_of(VSCSI_T_TMF);
	bufs[0].gpa = fake_alloc_data(&f, &an, sizeof(an));
	fake_ring_add(&f.ring[0], bufs, 2);
	fake_virtio_kick(&f, 0);
	ck_assert(virtio_get_status(dev) & VIRTIO_STATUS_NEEDS_RESET);
}
END_TEST

/* ---- events, and units that come and go ---- */

static uint64_t give_event(uint32_t len)
{
	uint64_t gpa = fake_alloc(&f, len, 16);
	struct fake_buf buf = { gpa, len, true };

	fake_ring_add(&f.ring[VSCSI_QUEUE_EVENT], &buf, 1);
	fake_virtio_kick(&f, VSCSI_QUEUE_EVENT);
	return gpa;
}

static void expect_event(uint64_t gpa, uint32_t what, int target, uint32_t reason)
{
	const uint8_t *p = fake_mem(&f, gpa, 16);
	uint32_t head, len;

	fake_virtio_turn(&f);
	ck_assert(fake_ring_used(&f.ring[VSCSI_QUEUE_EVENT], &head, &len));
	ck_assert_uint_eq(len, 16);
	ck_assert_uint_eq(load_le32(p), what);
	ck_assert_uint_eq(p[4], target >= 0);
	ck_assert(target < 0 || p[5] == target);
	ck_assert(p[6] == 0 || (what == VSCSI_T_TRANSPORT_RESET && p[6] == 0x41 && p[7] == 300 - 256));
	ck_assert_uint_eq(load_le32(p + 12), reason);
}

START_TEST(test_events)
{
	uint64_t first, second;

	start();
	first = give_event(16);
	second = give_event(20);
	ck_assert_uint_eq(fake_ring_used_count(&f.ring[1]), 0);
	disks[2].bd.resized(disks[2].bd.resized_opaque);
	expect_event(first, VSCSI_T_PARAM_CHANGE, 7, 0x2a | 0x09 << 8);
	ck_assert_uint_eq(atomic_load(&f.queue_interrupts[1]) >= 1, 1);
	ck_assert_int_eq(scsi_tray_open(units[2], false), 0);
	expect_event(second, VSCSI_T_PARAM_CHANGE, 7, 0x28);
	/* nowhere to put one: the next buffer says so */
	ck_assert_int_eq(scsi_tray_close(units[2]), 0);
	first = give_event(16);
	expect_event(first, VSCSI_T_EVENTS_MISSED, -1, 0);
	/* one that is too short */
	give_event(15);
	disks[2].bd.resized(disks[2].bd.resized_opaque);
	ck_assert(virtio_get_status(dev) & VIRTIO_STATUS_NEEDS_RESET);
}
END_TEST

START_TEST(test_hotplug)
{
	struct err err = ERR_INIT;
	struct sent s;
	uint64_t gpa;

	start();
	ck_assert_int_eq(virtio_scsi_add_unit(dev, units[0], &err), -EBUSY);
	s = send(0, 300, 1, read_2, sizeof(read_2), NULL, 0, 1024);
	fake_virtio_kick(&f, REQ);
	gpa = give_event(16);
	virtio_scsi_remove_unit(dev, units[1]);
	ck_assert_uint_eq(answer_of(&s).response, VSCSI_S_RESET);
	expect_event(gpa, VSCSI_T_TRANSPORT_RESET, 0, VSCSI_EVT_RESET_REMOVED);
	ck_assert_uint_eq(tmf(VSCSI_TMF_ABORT_TASK, 0, 300, 1), VSCSI_S_INCORRECT_LUN);
	fake_ring_used(&f.ring[REQ], &(uint32_t){ 0 }, &(uint32_t){ 0 });
	/* the target's other unit knows that its LUNs are others */
	s = send(0, 0, 1, tur, sizeof(tur), NULL, 0, 0);
	ck_assert_uint_eq(finish(&s, NULL).status, SCSI_CHECK_CONDITION);
	ck_assert_uint_eq(byte_at(s.answer + 12 + 12), 0x3f);
	gpa = give_event(16);
	ck_assert_int_eq(virtio_scsi_add_unit(dev, units[1], &err), 0);
	expect_event(gpa, VSCSI_T_TRANSPORT_RESET, 0, VSCSI_EVT_RESET_RESCAN);
	s = send(0, 300, 1, tur, sizeof(tur), NULL, 0, 0);
	ck_assert_uint_eq(byte_at(s.answer + 12 + 12), UNTOUCHED);
	finish(&s, NULL);
	ck_assert_uint_eq(byte_at(s.answer + 12 + 12), 0x29);
}
END_TEST

/* A driver that wants to hear of nothing. */
START_TEST(test_no_features)
{
	fake_virtio_start(&f, VIRTIO_F_VERSION_1);
	give_event(16);
	disks[2].bd.resized(disks[2].bd.resized_opaque);
	virtio_scsi_remove_unit(dev, units[1]);
	fake_virtio_turn(&f);
	ck_assert_uint_eq(fake_ring_used_count(&f.ring[1]), 0);
	scsi_unit_destroy(units[1]);
}
END_TEST

START_TEST(test_kept)
{
	struct sent s;

	start();
	units[0]->read_error = VIRTIO_BLK_STOP;
	disks[0].fail = -EIO;
	s = send(0, 0, 5, read_2, sizeof(read_2), NULL, 0, 1024);
	fake_virtio_kick(&f, REQ);
	run_disks();
	ck_assert_uint_eq(io_errors, 1);
	ck_assert_uint_eq(fake_ring_used_count(&f.ring[REQ]), 0);
	dev->ops->resume(dev);
	run_disks();
	ck_assert_uint_eq(fake_ring_used_count(&f.ring[REQ]), 1);
	ck_assert_uint_eq(answer_of(&s).status, SCSI_GOOD);
}
END_TEST

START_TEST(test_creation)
{
	const struct device_env env = { .mem = f.mem };
	static const struct virtio_scsi_config bad[] = { { .name = "x", .queues = 0, .queue_size = 128 }, { .name = "x", .queues = 63, .queue_size = 128 },
							 { .name = "x", .queues = 1, .queue_size = 2 }, { .name = "x", .queues = 1, .queue_size = 96 },
							 { .name = "x", .queues = 1, .queue_size = 2048 } };
	struct err err;

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		err = (struct err)ERR_INIT;
		ck_assert_ptr_null(virtio_scsi_create(&env, &bad[i], &err));
		ck_assert_int_eq(err.code, -EINVAL);
	}
}
END_TEST

int main(void)
{
	const TTest *const tests[] = { test_layouts,	test_small_pieces,    test_addresses,	   test_responses, test_broken,	 test_config,
				       test_tmf_simple, test_tmf_waits,	      test_reset_in_flight, test_control_others, test_events, test_hotplug,
				       test_no_features, test_kept,	      test_creation };

	return suite_run("virtio_scsi", tests, ARRAY_SIZE(tests), scsi_setup, scsi_teardown);
}
