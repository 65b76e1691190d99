/* SPDX-License-Identifier: MIT */
/* Every test runs over the kernel's io_uring and over the pool of threads: the loop's index says which. */
#include "vmm/uring.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <pthread.h>
#include <sys/socket.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/fake_frontend.h"
#include "vmm/err.h"
#include "vmm/iothread.h"
#include "vmm/util.h"

#define MANY 5000
#define HEAVY_OPS 16
#define HEAVY_BYTES (256 * 1024)

static struct eventloop *loop;
static struct uring *uring;
static int fd;
static unsigned n_done;

/* Faults: the next `faults` results become -`fault`. */
static atomic_int fault, faults;
static int setup_error;
static struct io_uring *last_ring;

static bool fault_take(void)
{
	if (atomic_load(&faults) <= 0)
		return false;
	atomic_fetch_sub(&faults, 1);
	return true;
}

unsigned __real_io_uring_peek_batch_cqe(struct io_uring *ring, struct io_uring_cqe **cqes, unsigned count);
unsigned __wrap_io_uring_peek_batch_cqe(struct io_uring *ring, struct io_uring_cqe **cqes, unsigned count);
unsigned __wrap_io_uring_peek_batch_cqe(struct io_uring *ring, struct io_uring_cqe **cqes, unsigned count)
{
	unsigned n = __real_io_uring_peek_batch_cqe(ring, cqes, count);

	for (unsigned i = 0; i < n; i++)
		if (fault_take())
			cqes[i]->res = -atomic_load(&fault);
	return n;
}

int __real_io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *p);
int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *p);
int __wrap_io_uring_queue_init_params(unsigned entries, struct io_uring *ring, struct io_uring_params *p)
{
	/* EINVAL: what a kernel says that does not know the newest flags. */
	if (setup_error == EINVAL && (p->flags & (IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN)))
		return -EINVAL;
	if (setup_error && setup_error != EINVAL)
		return -setup_error;
	last_ring = ring;
	return __real_io_uring_queue_init_params(entries, ring, p);
}

ssize_t __real_preadv2(int f, const struct iovec *iov, int n, off_t off, int flags);
ssize_t __wrap_preadv2(int f, const struct iovec *iov, int n, off_t off, int flags);
ssize_t __wrap_preadv2(int f, const struct iovec *iov, int n, off_t off, int flags)
{
	if (fault_take()) {
		errno = atomic_load(&fault);
		return -1;
	}
	return __real_preadv2(f, iov, n, off, flags);
}

ssize_t __real_pwritev2(int f, const struct iovec *iov, int n, off_t off, int flags);
ssize_t __wrap_pwritev2(int f, const struct iovec *iov, int n, off_t off, int flags);
ssize_t __wrap_pwritev2(int f, const struct iovec *iov, int n, off_t off, int flags)
{
	if (fault_take()) {
		errno = atomic_load(&fault);
		return -1;
	}
	return __real_pwritev2(f, iov, n, off, flags);
}

static void start(int threads)
{
	char path[] = "/tmp/kite-test-XXXXXX";
	struct err err = ERR_INIT;

	fd = mkstemp(path);
	ck_assert_int_ge(fd, 0);
	unlink(path);
	loop = fake_loop();
	uring = uring_create(loop, threads, &err);
	ck_assert_msg(uring != NULL, "%s", err.msg);
	n_done = 0;
}

static void stop(void)
{
	uring_destroy(uring);
	eventloop_destroy(loop);
	close(fd);
}

struct op {
	struct uring_req req;
	struct iovec iov;
	int64_t result;
	unsigned times, order;
	bool in_submit;
};

static bool submitting;

static void op_done(struct uring_req *req, int64_t result)
{
	struct op *op = CONTAINER_OF(req, struct op, req);

	op->result = result;
	op->times++;
	op->order = n_done++;
	op->in_submit = submitting;
}

static void op_start(struct op *op, enum uring_op kind, void *buf, size_t len, uint64_t off)
{
	*op = (struct op){ .iov = { buf, len } };
	op->req = (struct uring_req){ .op = kind, .fd = fd, .off = off, .iov = &op->iov, .n = 1, .done = op_done, .heavy = len >= HEAVY_BYTES };
	submitting = true;
	uring_submit(uring, &op->req);
	submitting = false;
}

static bool is_done(void *arg)
{
	return ((struct op *)arg)->times > 0;
}

static int64_t op_run(enum uring_op kind, void *buf, size_t len, uint64_t off)
{
	struct op op;

	op_start(&op, kind, buf, len, off);
	ck_assert_uint_eq(op.times, 0);
	fake_run_until(loop, is_done, &op);
	ck_assert_uint_eq(op.times, 1);
	return op.result;
}

START_TEST(operations)
{
	char buf[16] = "", huge[8192];
	struct stat st;
	struct op op;

	start(_i);
	ck_assert_int_eq(uring_is_native(uring), !_i);
	ck_assert_int_eq(op_run(URING_WRITEV, (char[]){ "hello, world" }, 12, 5), 12);
	ck_assert_int_eq(op_run(URING_READV, buf, 16, 5), 12); /* short results come out */
	ck_assert_str_eq(buf, "hello, world");
	ck_assert_int_eq(op_run(URING_READV, buf, 16, 100), 0);
	ck_assert_int_eq(op_run(URING_FSYNC, NULL, 0, 0), 0);
	ck_assert_int_eq(op_run(URING_FDATASYNC, NULL, 0, 0), 0);
	op = (struct op){ .req = { .op = URING_FALLOCATE, .fd = fd, .off = 4096, .len = 4096, .done = op_done } };
	uring_submit(uring, &op.req);
	fake_run_until(loop, is_done, &op);
	ck_assert_int_eq(op.result, 0);
	fstat(fd, &st);
	ck_assert_int_eq(st.st_size, 8192);
	memset(huge, 'x', sizeof(huge));
	op_start(&op, URING_WRITEV, huge, sizeof(huge), 0);
	op.req.dsync = true;
	fake_run_until(loop, is_done, &op);
	ck_assert_int_eq(op.result, sizeof(huge));
	stop();
}
END_TEST

START_TEST(errors)
{
	char buf[16];
	struct op op;
	int keep;

	start(_i);
	keep = fd;
	fd = -1;
	ck_assert_int_eq(op_run(URING_READV, buf, 16, 0), -EBADF);
	fd = open("/dev/full", O_WRONLY);
	ck_assert_int_eq(op_run(URING_WRITEV, buf, 16, 0), -ENOSPC);
	close(fd);
	fd = open("/", O_RDONLY);
	ck_assert_int_eq(op_run(URING_READV, buf, 16, 0), -EISDIR);
	close(fd);
	fd = keep;
	op = (struct op){ .req = { .op = URING_FALLOCATE, .fd = fd, .mode = -1, .len = 1, .done = op_done } };
	uring_submit(uring, &op.req);
	fake_run_until(loop, is_done, &op);
	ck_assert_int_eq(op.result, -EOPNOTSUPP);
	stop();
}
END_TEST

static bool heavy_done(void *arg)
{
	(void)arg;
	return n_done == HEAVY_OPS;
}

/* Large copies side by side, which other threads do: whole, each to its own place, and the loop delivers them. */
START_TEST(heavy)
{
	static struct op ops[HEAVY_OPS];
	static uint8_t data[HEAVY_OPS][HEAVY_BYTES];

	start(_i);
	for (unsigned i = 0; i < HEAVY_OPS; i++) {
		memset(data[i], (int)i + 1, HEAVY_BYTES);
		ck_assert_int_eq(pwrite(fd, data[i], HEAVY_BYTES, (off_t)i * HEAVY_BYTES), HEAVY_BYTES);
	}
	memset(data, 0, sizeof(data));
	for (unsigned i = 0; i < HEAVY_OPS; i++)
		op_start(&ops[i], URING_READV, data[i], HEAVY_BYTES, (uint64_t)i * HEAVY_BYTES);
	fake_run_until(loop, heavy_done, NULL);
	for (unsigned i = 0; i < HEAVY_OPS; i++) {
		ck_assert_int_eq(ops[i].result, HEAVY_BYTES);
		ck_assert_uint_eq(ops[i].times, 1);
		ck_assert(!ops[i].in_submit);
		ck_assert_uint_eq(data[i][0], i + 1);
		ck_assert_uint_eq(data[i][HEAVY_BYTES - 1], i + 1);
	}
	stop();
}
END_TEST

static bool many_done(void *arg)
{
	(void)arg;
	return n_done == MANY;
}

/* Far more than the ring holds: all of them, each once, none inside uring_submit. */
START_TEST(many)
{
	struct op *ops = calloc(MANY, sizeof(*ops));
	uint32_t *data = calloc(MANY, sizeof(*data)), *back = calloc(MANY, sizeof(*back));

	start(_i);
	for (unsigned i = 0; i < MANY; i++) {
		data[i] = i * 2654435761u;
		op_start(&ops[i], URING_WRITEV, &data[i], 4, i * 4);
	}
	fake_run_until(loop, many_done, NULL);
	for (unsigned i = 0; i < MANY; i++)
		ck_assert(ops[i].times == 1 && ops[i].result == 4 && !ops[i].in_submit);
	n_done = 0;
	for (unsigned i = 0; i < MANY; i++)
		op_start(&ops[i], URING_READV, &back[i], 4, i * 4);
	uring_drain(uring);
	ck_assert_uint_eq(n_done, MANY);
	ck_assert_mem_eq(data, back, MANY * 4);
	/* The loop has nothing left to do. */
	fake_run_for(loop, 20);
	ck_assert_uint_eq(n_done, MANY);
	stop();
	free(ops);
	free(data);
	free(back);
}
END_TEST

/* EINTR and EAGAIN are tried again, also when it takes long; the data arrives. */
START_TEST(again)
{
	static const int codes[] = { EINTR, EAGAIN };
	char buf[8] = "";

	start(_i);
	for (unsigned e = 0; e < 2; e++) {
		for (int times = 1; times < 12; times += 5) {
			struct op op;

			fault = codes[e];
			faults = times;
			ck_assert_int_eq(op_run(URING_WRITEV, (char[]){ "again" }, 5, 0), 5);
			ck_assert_int_eq(faults, 0);
			faults = times;
			op_start(&op, URING_READV, buf, 5, 0);
			uring_drain(uring);
			ck_assert_uint_eq(op.times, 1);
			ck_assert_int_eq(op.result, 5);
			ck_assert_str_eq(buf, "again");
		}
	}
	stop();
}
END_TEST

/* A request whose end submits another, as a device does. */
static struct op chain[2];
static unsigned chain_left;
static char chain_buf[512];

static void chain_done(struct uring_req *req, int64_t result)
{
	ck_assert_int_eq(result, 512);
	if (chain_left == 0)
		return;
	chain_left--;
	uring_submit(uring, req);
}

static bool chain_over(void *arg)
{
	(void)arg;
	return chain_left == 0;
}

START_TEST(chains)
{
	start(_i);
	for (int drain = 0; drain < 2; drain++) {
		chain_left = 1000;
		for (int i = 0; i < 2; i++) {
			op_start(&chain[i], URING_WRITEV, chain_buf, 512, 512u * (unsigned)i);
			chain[i].req.done = chain_done;
		}
		if (!drain)
			fake_run_until(loop, chain_over, NULL);
		uring_drain(uring);
		ck_assert_uint_eq(chain_left, 0);
	}
	stop();
}
END_TEST

/* An idle ring, and an idle pool, cost nothing. */
START_TEST(idle)
{
	char buf[8];

	start(_i);
	op_run(URING_READV, buf, 8, 0);
	fake_run_idle(loop, 300);
	uring_drain(uring);
	stop();
}
END_TEST

/* Made on one thread, used on an iothread, drained on the first again. */
static void submit_here(void *arg)
{
	struct op *op = arg;
	static char buf[512];

	op_start(op, URING_READV, buf, 512, 0);
	uring_drain(uring);
}

static void *submit_thread(void *arg)
{
	submit_here(arg);
	return NULL;
}

START_TEST(threads)
{
	struct err err = ERR_INIT;
	struct iothread *t = iothread_create("t", IOTHREAD_POLL_NS, &err);
	struct op op;
	pthread_t p;

	start(_i);
	uring_destroy(uring);
	uring = uring_create(iothread_loop(t), _i, &err);
	for (int i = 0; i < 3; i++) {
		eventloop_call_sync(iothread_loop(t), submit_here, &op);
		ck_assert_uint_eq(op.times, 1);
		ck_assert_int_eq(op.result, 0);
	}
	uring_destroy(uring);
	iothread_destroy(t);
	uring = uring_create(loop, _i, &err);
	submit_here(&op);
	ck_assert_int_eq(op.result, 0);
	pthread_create(&p, NULL, submit_thread, &op);
	pthread_join(p, NULL);
	ck_assert_int_eq(op.result, 0);
	submit_here(&op);
	ck_assert_int_eq(op.result, 0);
	stop();
}
END_TEST

START_TEST(fallbacks)
{
	static const int forbidden[] = { ENOSYS, EPERM, EACCES, ENOMEM };
	char buf[8];

	for (unsigned i = 0; i < ARRAY_SIZE(forbidden); i++) {
		setup_error = forbidden[i];
		start(0);
		ck_assert(!uring_is_native(uring));
		ck_assert_int_eq(op_run(URING_READV, buf, 8, 0), 0);
		stop();
	}
	setup_error = EINVAL;
	start(0);
	ck_assert(uring_is_native(uring));
	ck_assert_int_eq(op_run(URING_READV, buf, 8, 0), 0);
	stop();
}
END_TEST

/* What the kernel answers, or -1 when it does not take it at all. */
static int foreign_op(void (*prepare)(struct io_uring_sqe *sqe))
{
	struct io_uring_cqe *cqe;
	int result;

	prepare(io_uring_get_sqe(last_ring));
	if (io_uring_submit(last_ring) < 0 || io_uring_wait_cqe(last_ring, &cqe) < 0)
		return -1;
	result = cqe->res;
	io_uring_cqe_seen(last_ring, cqe);
	return result;
}

static void open_file(struct io_uring_sqe *sqe)
{
	io_uring_prep_openat(sqe, AT_FDCWD, "/etc/passwd", O_RDONLY, 0);
}

static void open_socket(struct io_uring_sqe *sqe)
{
	io_uring_prep_socket(sqe, AF_UNIX, SOCK_STREAM, 0, 0);
}

static void read_chained(struct io_uring_sqe *sqe)
{
	io_uring_prep_read(sqe, fd, NULL, 0, 0);
	sqe->flags |= IOSQE_IO_LINK;
}

/* With the newest set-up, and with that of older kernels. */
START_TEST(other_operations_are_refused)
{
	void (*const others[])(struct io_uring_sqe *sqe) = { open_file, open_socket, io_uring_prep_nop, read_chained };
	char buf[8];

	setup_error = _i ? EINVAL : 0;
	start(0);
	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		ck_assert_int_eq(foreign_op(others[i]), -EACCES);
	ck_assert_int_lt(io_uring_register_eventfd(last_ring, 0), 0);
	ck_assert_int_eq(op_run(URING_READV, buf, 8, 0), 0);
	stop();
}
END_TEST

/* Threads that were there end, and others come. */
START_TEST(renewed)
{
	char buf[8];

	start(_i);
	ck_assert_int_eq(op_run(URING_READV, buf, 8, 0), 0);
	for (int i = 0; i < 3; i++) {
		ck_assert_int_eq(uring_renew(uring), 0);
		ck_assert_int_eq(op_run(URING_READV, buf, 8, 0), 0);
	}
	stop();
}
END_TEST

int main(void)
{
	Suite *s = suite_create("uring");
	TCase *tc = tcase_create("uring");
	SRunner *sr = srunner_create(s);
	int failed;

	suite_add_tcase(s, tc);
	tcase_add_loop_test(tc, operations, 0, 2);
	tcase_add_loop_test(tc, errors, 0, 2);
	tcase_add_loop_test(tc, heavy, 0, 2);
	tcase_add_loop_test(tc, many, 0, 2);
	tcase_add_loop_test(tc, again, 0, 2);
	tcase_add_loop_test(tc, chains, 0, 2);
	tcase_add_loop_test(tc, idle, 0, 2);
	tcase_add_loop_test(tc, threads, 0, 2);
	tcase_add_test(tc, fallbacks);
	tcase_add_loop_test(tc, other_operations_are_refused, 0, 2);
	tcase_add_loop_test(tc, renewed, 0, 2);
	tcase_set_timeout(tc, 30);
	srunner_run_all(sr, CK_NORMAL);
	failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed != 0;
}
