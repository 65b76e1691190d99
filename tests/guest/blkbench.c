/* SPDX-License-Identifier: MIT */
/*
 * How fast the first disk is, for tests/bench: obeys lines on COM1, `OPERATION BYTES DEPTH MILLISECONDS` with fio's words for the
 * operation (read, write, randread, randwrite), and answers each with `done REQUESTS MICROSECONDS`. Writes what it finds in its buffers.
 *
 * DEPTH requests are kept in flight for that long, in ring 3, where loops run at full speed also on hosts that interpret guest kernels.
 * The guest polls the used ring, so what is measured is the way of a request through the VMM and back, without what an interrupt costs
 * a guest's kernel. Between lines it sleeps. Self-test without a line: `check=yes` on the command line does a round of each operation.
 * `spin=yes` keeps all other CPUs busy, for ever.
 */
#include "line.h"
#include "virtio.h"

#define MAX_DEPTH 64
#define MAX_BYTES (1u << 20)
#define MAX_DEVICES 8

struct slot {
	struct blk_header header;
	volatile uint8_t status;
	uint8_t *data;
	int head;
};

struct job {
	bool write, random;
	uint32_t bytes;
	unsigned depth;
	uint64_t ms;
	/* What came of it: */
	uint64_t done, cycles, failed;
};

static struct virtio disk;
static struct virtq queue;
static uint64_t sectors;
static struct slot slots[MAX_DEPTH];
static uint8_t by_head[1024];

/* Input ---------------------------------------- */

static bool parse(const char *p, struct job *job)
{
	*job = (struct job){ .random = strncmp(p, "rand", 4) == 0 };
	if (job->random)
		p += 4;
	job->write = *p == 'w';
	while (*p && *p != ' ')
		p++;
	job->bytes = (uint32_t)line_number(&p);
	job->depth = (unsigned)line_number(&p);
	job->ms = line_number(&p);
	return job->bytes >= 512 && job->bytes <= MAX_BYTES && job->depth >= 1 && job->depth <= MAX_DEPTH &&
	       sectors >= job->bytes / 512 && job->ms > 0;
}

/* Work ---------------------------------------- */

static uint64_t next_random(void)
{
	static uint64_t x = 0x9e3779b97f4a7c15;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x;
}

static uint64_t next_sector(const struct job *job, uint64_t *at)
{
	uint64_t blocks = sectors / (job->bytes / 512);
	uint64_t block = job->random ? next_random() % blocks : (*at)++ % blocks;

	return block * (job->bytes / 512);
}

static void chain(struct slot *slot, const struct job *job)
{
	struct buffer buffers[3] = { { &slot->header, sizeof(slot->header) }, { slot->data, job->bytes }, { &slot->status, 1 } };

	slot->header.type = job->write ? BLK_OUT : BLK_IN;
	slot->head = virtq_chain(&queue, buffers, job->write ? 2 : 1, job->write ? 1 : 2);
	if (slot->head < 0)
		test_abort("a queue of %u is too short for %u requests", queue.size, job->depth);
	by_head[slot->head] = (uint8_t)(slot - slots);
}

/* In ring 3. */
static void work(void *arg)
{
	struct job *job = arg;
	uint64_t start = rdtsc(), end = start + tsc_khz() * job->ms, at = 0, now = start;
	unsigned in_flight = 0;

	for (unsigned i = 0; i < job->depth; i++) {
		slots[i].header.sector = next_sector(job, &at);
		virtq_add(&queue, (uint16_t)slots[i].head);
		in_flight++;
	}
	virtq_publish_idx(&queue);
	virtq_kick(&queue);
	while (in_flight) {
		bool more = false;
		int head;

		while ((head = virtq_poll(&queue, NULL)) >= 0) {
			struct slot *slot = &slots[by_head[head]];

			job->failed += slot->status != BLK_OK;
			job->done++;
			in_flight--;
			if (now >= end)
				continue;
			slot->header.sector = next_sector(job, &at);
			virtq_add(&queue, (uint16_t)head);
			in_flight++;
			more = true;
		}
		if (more) {
			virtq_publish_idx(&queue);
			virtq_kick(&queue);
		} else {
			cpu_relax();
		}
		now = rdtsc();
	}
	job->cycles = now - start;
}

static void run(struct job *job)
{
	for (unsigned i = 0; i < job->depth; i++)
		chain(&slots[i], job);
	user_call(work, job);
	for (unsigned i = 0; i < job->depth; i++)
		virtq_free(&queue, (unsigned)slots[i].head);
	if (job->failed)
		print("blkbench: %lu of %lu requests failed\n", job->failed, job->done);
	print("done %lu %lu\n", job->done, job->cycles * 1000 / tsc_khz());
}

/* In ring 3 as well: clearing memory takes time. */
static void open_disk(void *arg)
{
	struct virtio devs[MAX_DEVICES];
	size_t n = virtio_find(devs, MAX_DEVICES), i = 0;

	(void)arg;

	while (i < n && devs[i].type != VIRTIO_BLK)
		i++;
	if (i == n)
		test_abort("blkbench: there is no virtio disk");
	disk = devs[i];
	if (!virtio_negotiate(&disk, VIRTIO_F_EVENT_IDX | BLK_F_FLUSH) || !virtq_setup(&queue, &disk, 0, 0) || queue.size > sizeof(by_head))
		test_abort("blkbench: the disk cannot be set up");
	virtio_ready(&disk);
	sectors = virtio_config(&disk, BLK_CONFIG_CAPACITY, 8);
	for (unsigned s = 0; s < MAX_DEPTH; s++) {
		/* For large requests there is room for a few only: those of the higher numbers share a buffer. */
		slots[s].data = s < 16 ? dma_alloc(MAX_BYTES, 4096) : slots[s - 16].data + 65536;
		slots[s].status = 0xff;
	}
}

static void self_check(void)
{
	static const char *const each[] = { "randread 4096 32 50", "randwrite 4096 1 50", "read 1048576 4 50", "write 65536 8 50" };

	for (unsigned i = 0; i < ARRAY_SIZE(each); i++) {
		struct job job;

		test(parse(each[i], &job), "%s", each[i]);
		run(&job);
		test(job.done > 0 && job.failed == 0, "%s: done", each[i]);
	}
}

static void spin(void *arg)
{
	(void)arg;
	for (;;)
		cpu_relax();
}

void payload_main(void)
{
	tsc_khz();
	user_call(open_disk, NULL);
	if (arg_is("check", "yes")) {
		self_check();
		return;
	}
	for (size_t cpu = 1, n = arg_is("spin", "yes") ? smp_start() : 0; cpu < n; cpu++)
		smp_call_async(cpu, spin, NULL);
	line_open();
	print("blkbench: ready\n");
	for (;;) {
		const char *line = line_wait();
		struct job job;

		if (parse(line, &job))
			run(&job);
		else
			print("blkbench: not understood: %s\n", line);
	}
}
