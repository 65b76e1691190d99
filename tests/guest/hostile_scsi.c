/* SPDX-License-Identifier: MIT */
/*
 * What a SCSI adapter and its units must refuse, or live through: every command with any bytes, addresses that nobody has, lengths that
 * do not fit, task management under load, resets with requests in flight. Its disk is the bytes of tests/guest/run's text(); nothing here
 * writes to it but what is refused or read back.
 */
#include "victim.h"

#define ANSWER_MS 20000
#define ANSWER 108 /* 12 and 96 bytes of sense data */
#define BLOCK 512

enum { CONTROL, EVENT, REQUEST };
enum { S_OK, S_OVERRUN, S_ABORTED, S_BAD_TARGET, S_RESET, S_FAILURE = 9, S_SUCCEEDED, S_REJECTED, S_INCORRECT_LUN };

struct cmd {
	uint8_t lun[8];
	uint8_t id[8], attr, prio, crn, cdb[32];
};

static struct victim *v;
static struct virtq control, events;
static uint8_t *rings[2];
static struct cmd *cmd;
static uint8_t *answer, *data;

/* All its queues set up, and nothing asked of it yet. */
static bool begin(void)
{
	if (!virtio_negotiate(&v->dev, 6)) /* HOTPLUG, CHANGE */
		return false;
	if (!virtq_setup_at(&control, &v->dev, CONTROL, v->dev.kind == VIRTIO_LEGACY ? virtq_max(&v->dev, CONTROL) : VICTIM_SIZE, rings[0]) ||
	    !virtq_setup_at(&events, &v->dev, EVENT, v->dev.kind == VIRTIO_LEGACY ? virtq_max(&v->dev, EVENT) : VICTIM_SIZE, rings[1]) ||
	    !virtq_setup_at(&v->vq, &v->dev, REQUEST, v->dev.kind == VIRTIO_LEGACY ? virtq_max(&v->dev, REQUEST) : VICTIM_SIZE, v->rings))
		return false;
	virtio_ready(&v->dev);
	cmd = (struct cmd *)v->data;
	answer = v->data + 256;
	data = v->data + 4096;
	return true;
}

static void address(unsigned target, unsigned lun)
{
	memset(cmd, 0, sizeof(*cmd));
	cmd->lun[0] = 1;
	cmd->lun[1] = (uint8_t)target;
	cmd->lun[2] = (uint8_t)(0x40 | lun >> 8);
	cmd->lun[3] = (uint8_t)lun;
}

/* Sends what is in *cmd. The response, -1: none. */
static int send(uint32_t out, uint32_t in)
{
	struct buffer b[4] = { { cmd, sizeof(*cmd) } };
	unsigned n_out = 1, n_in = 1;

	if (out)
		b[n_out++] = (struct buffer){ data, out };
	b[n_out] = (struct buffer){ answer, ANSWER };
	if (in)
		b[n_out + n_in++] = (struct buffer){ data, in };
	answer[11] = 0xee;
	return virtio_request(&v->vq, b, n_out, n_in, NULL, ANSWER_MS) ? answer[11] : -1;
}

static int command(const uint8_t *cdb, unsigned n, uint32_t out, uint32_t in)
{
	address(0, 0);
	memcpy(cmd->cdb, cdb, n);
	return send(out, in);
}

static bool good(const uint8_t *cdb, unsigned n, uint32_t out, uint32_t in)
{
	for (int attempt = 0; attempt < 4; attempt++) { /* unit attentions come first */
		if (command(cdb, n, out, in) != S_OK)
			return false;
		if (answer[10] == 0)
			return true;
	}
	return false;
}

static uint8_t text_at(uint64_t i)
{
	return (uint8_t)(i * 7 + (i >> 8));
}

static bool read_block(uint32_t lba)
{
	const uint8_t cdb[10] = { 0x28, 0, (uint8_t)(lba >> 24), (uint8_t)(lba >> 16), (uint8_t)(lba >> 8), (uint8_t)lba, 0, 0, 1, 0 };

	if (!good(cdb, sizeof(cdb), 0, BLOCK))
		return false;
	for (unsigned i = 0; i < BLOCK; i++)
		if (data[i] != text_at((uint64_t)lba * BLOCK + i))
			return false;
	return true;
}

/* ---- attacks ---- */

static bool is_write(uint8_t op)
{
	static const uint8_t writes[] = { 0x0a, 0x2a, 0x2e, 0x41, 0x42, 0x8a, 0x8e, 0x93, 0xaa, 0xae };

	for (size_t i = 0; i < ARRAY_SIZE(writes); i++)
		if (op == writes[i])
			return true;
	return false;
}

/* Every operation code, any bytes behind it, any lengths. What would write is past the end. */
static bool commands(void)
{
	for (unsigned round = 0; round < 3; round++)
		for (unsigned op = 0; op < 256; op++) {
			unsigned length = random32() % 3;

			address(0, random32() % 4 == 0 ? 1 : 0);
			cmd->cdb[0] = (uint8_t)op;
			for (unsigned i = 1; i < sizeof(cmd->cdb); i++)
				cmd->cdb[i] = (uint8_t)(random32() & (round ? 0xff : 1));
			if (is_write((uint8_t)op))
				memset(cmd->cdb + 2, 0xff, 14);
			for (unsigned i = 0; i < 256; i++)
				data[i] = (uint8_t)(random32() & (round == 2 ? 0xff : 0));
			if (send(length == 1 ? random32() % 8192 : 0, length == 2 ? random32() % 8192 : 0) < 0)
				return false;
		}
	return begin() && read_block(7);
}

static bool addresses(void)
{
	static const uint8_t inquiry[6] = { 0x12, 0, 0, 0, 36, 0 };
	bool ok = true;

	for (unsigned i = 0; i < 500; i++) {
		int response;

		address(0, 0);
		memcpy(cmd->cdb, inquiry, 6);
		for (unsigned k = 0; k < 8; k++)
			if (random32() & 1)
				cmd->lun[k] = (uint8_t)random32();
		response = send(0, 36);
		ok = (response == S_OK || response == S_BAD_TARGET) && ok;
	}
	address(9, 0);
	memcpy(cmd->cdb, inquiry, 6);
	return send(0, 36) == S_BAD_TARGET && ok;
}

static bool lengths(void)
{
	static const uint8_t read8[10] = { 0x28, 0, 0, 0, 0, 0, 0, 0, 8, 0 }, huge[16] = { 0x88, [10] = 0xff, 0xff, 0xff, 0xff };
	static const uint8_t past[16] = { 0x88, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1 };
	bool ok = read_block(0);

	for (uint32_t len = 0; len < 8 * BLOCK; len += 511)
		ok = command(read8, sizeof(read8), 0, len) == S_OVERRUN && ok;
	ok = command(huge, sizeof(huge), 0, BLOCK) == S_OK && answer[10] == 2 && ok; /* past the end of the disk */
	ok = command(past, sizeof(past), 0, BLOCK) == S_OK && answer[10] == 2 && answer[12 + 12] == 0x21 && ok;
	return command(read8, sizeof(read8), BLOCK, BLOCK) == S_FAILURE && ok; /* both directions */
}

/* Without room for header or answer there is no answering. */
static bool no_room(void)
{
	static const uint32_t bad[][2] = { { 50, ANSWER }, { 51, ANSWER - 1 }, { 1, 1 }, { 51, 0 }, { 0, ANSWER } };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct buffer b[2];
		unsigned n = 0;
		int head;

		if (!begin())
			return false;
		if (bad[i][0])
			b[n++] = (struct buffer){ cmd, bad[i][0] };
		if (bad[i][1])
			b[n++] = (struct buffer){ answer, bad[i][1] };
		head = virtq_chain(&v->vq, b, bad[i][0] != 0, bad[i][1] != 0);
		virtq_publish(&v->vq, (uint16_t)head);
		virtq_ring(&v->vq);
		if (v->dev.kind != VIRTIO_LEGACY && !victim_broken(v, ANSWER_MS))
			return false;
	}
	return true;
}

/* Fills the queue with reads of 4 KiB from both units; the answers go to the same place. */
static void fill(void)
{
	static const uint8_t read8[10] = { 0x28, 0, 0, 0, 0, 0, 0, 0, 8, 0 };
	struct buffer b[3] = { { cmd, sizeof(*cmd) }, { answer, ANSWER }, { data, 8 * BLOCK } };

	address(0, 0);
	memcpy(cmd->cdb, read8, sizeof(read8));
	cmd->id[0] = 5;
	for (;;) {
		int head = virtq_chain(&v->vq, b, 1, 2);

		if (head < 0)
			break;
		virtq_add(&v->vq, (uint16_t)head);
	}
	virtq_publish_idx(&v->vq);
	virtq_ring(&v->vq);
}

static int manage(uint32_t what, unsigned lun)
{
	uint8_t *tmf = v->data + 1024;
	struct buffer b[2] = { { tmf, 24 }, { v->data + 1100, 1 } };

	memset(tmf, 0, 24);
	tmf[4] = (uint8_t)what;
	tmf[8] = 1;
	tmf[10] = 0x40;
	tmf[11] = (uint8_t)lun;
	tmf[16] = 5;
	v->data[1100] = 0xee;
	return virtio_request(&control, b, 1, 1, NULL, ANSWER_MS) ? v->data[1100] : -1;
}

static bool management(void)
{
	for (unsigned round = 0; round < 10; round++)
		for (uint32_t what = 0; what < 9; what++) {
			int response;

			fill();
			response = manage(what, 0);
			if (response != S_OK && response != S_SUCCEEDED && response != S_REJECTED)
				return false;
			if (manage(what, 200) != (what == 4 ? S_OK : S_INCORRECT_LUN))
				return false;
			while (virtq_poll(&v->vq, NULL) >= 0)
				;
			if (!begin())
				return false;
		}
	return read_block(3);
}

static bool control_noise(void)
{
	uint8_t *bytes = v->data + 1024;

	for (unsigned i = 0; i < 200; i++) {
		struct buffer b[2] = { { bytes, 24 }, { bytes + 64, 8 } };

		for (unsigned k = 0; k < 24; k++)
			bytes[k] = (uint8_t)(random32() & (i & 1 ? 3 : 0xff));
		bytes[1] = bytes[2] = bytes[3] = 0;
		if (!virtio_request(&control, b, 1, 1, NULL, ANSWER_MS))
			return false;
	}
	return true;
}

static bool resets(void)
{
	for (unsigned i = 0; i < 50; i++) {
		fill();
		if (i % 3 == 0)
			delay_us(random32() % 300);
		if (!begin())
			return false;
	}
	return read_block(100);
}

/* Sizes of CDB and sense data that a driver may ask for, and others. */
static bool sizes(void)
{
	static const uint32_t wanted[] = { 0, 1, 18, 252, 4096, 4097, 0x10000, 0xffffffff };

	if (v->dev.kind == VIRTIO_LEGACY)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		for (size_t k = 0; k < ARRAY_SIZE(wanted); k++) {
			virtio_reset(&v->dev);
			write32(v->dev.config + 20, wanted[i]);
			write32(v->dev.config + 24, wanted[k]);
			if (!begin())
				continue; /* refused */
			fill();
		}
	virtio_reset(&v->dev);
	write32(v->dev.config + 20, 96);
	write32(v->dev.config + 24, 32);
	return begin() && read_block(9);
}

static bool event_buffers(void)
{
	struct buffer b = { v->data + 2048, 16 };
	int head;

	for (unsigned i = 0; i < 20; i++) {
		b.len = 1 + random32() % 32;
		head = virtq_chain(&events, &b, i & 1, !(i & 1));
		virtq_publish(&events, (uint16_t)head);
		virtq_ring(&events);
	}
	return read_block(1);
}

static const struct {
	const char *name;
	bool (*run)(void);
} attacks[] = {
	{ "every command with any bytes", commands },
	{ "addresses that nobody has", addresses },
	{ "lengths that do not fit", lengths },
	{ "no room for header or answer", no_room },
	{ "task management under load", management },
	{ "noise on the control queue", control_noise },
	{ "resets with requests in flight", resets },
	{ "sizes of CDB and sense data", sizes },
	{ "odd buffers for events", event_buffers },
};

static void attack_all(void *arg)
{
	(void)arg;
	rings[0] = dma_alloc(VIRTQ_BYTES(1024), 4096);
	rings[1] = dma_alloc(VIRTQ_BYTES(1024), 4096);
	for (size_t i = 0; i < n_victims; i++)
		for (int legacy = 0; legacy < 2; legacy++) {
			v = &victims[i];
			if (v->dev.type != VIRTIO_SCSI || !victim_interface(v, legacy))
				continue;
			for (size_t n = 0; n < ARRAY_SIZE(attacks); n++)
				victim_after(v, begin() && attacks[n].run(), attacks[n].name);
		}
}

static void start(void *arg)
{
	(void)arg;
	victims_start();
}

void payload_main(void)
{
	tsc_khz();
	user_call(start, NULL);
	user_call(attack_all, NULL);
}
