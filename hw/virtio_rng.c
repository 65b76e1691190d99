/* SPDX-License-Identifier: MIT */
/*
 * The entropy device: virtio 1.2, section 5.4.
 *
 * Theory of operation
 *
 * A request is a chain of writable buffers of any size. It is answered with what one read of the source gives, at most RNG_PIECE bytes: the
 * driver asks again if it wants more, and no memory is taken by its numbers, since bytes go straight into its buffers. After
 * RNG_TURN bytes or chains the loop sees to others.
 *
 * The limit counts in windows of `period`, which begin with the first request after the last one ended. A request that finds the window spent
 * waits for the timer that opens the next: an idle device has no timer.
 *
 * A source that has nothing yet (a kernel that has just booted, a slow hardware device) makes the request wait until it has: for an event of
 * its descriptor, or for a look every RNG_RETRY_NS where it has no events. One chain waits here, the others in the queue.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "hw/devices.h"
#include "hw/virtio.h"
#include "vmm/err.h"
#include "vmm/iov.h"
#include "vmm/syscall_rules.h"
#include "vmm/util.h"

SYSCALL_RULES(
	{ CALL(getrandom), .threads = THREAD_MAIN },
	{ CALL(read), .threads = THREAD_MAIN },
);

#define RNG_QUEUE 8
#define RNG_PIECE 65536
#define RNG_TURN_BYTES 65536
#define RNG_TURN_CHAINS 64
#define RNG_RETRY_NS INT64_C(50000000)

struct virtio_rng {
	struct virtio_dev dev;
	bool active;
	bool held; /* `chain` is in flight */
	struct virtq_chain chain;
	struct iovec iov[RNG_QUEUE];

	uint64_t max_bytes, left; /* of the window */
	int64_t period_ns, window_end;
	struct event_timer timer; /* the next window, or the next look at the source */
	struct event_work work;   /* goes on after others had their turn */

	const char *filename; /* borrowed; NULL: getrandom */
	struct event_fd source;
	bool failed; /* reported already */
};

static struct virtio_rng *rng_of(struct virtio_dev *dev)
{
	return CONTAINER_OF(dev, struct virtio_rng, dev);
}

/* The source */

/* Up to `len` bytes, at least one, or -errno. */
static ssize_t rng_source_read(struct virtio_rng *rng, void *buf, size_t len)
{
	ssize_t n;

	do {
		n = rng->filename ? read(rng->source.fd, buf, len) : getrandom(buf, len, GRND_NONBLOCK);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return n ? n : -ENODATA;
}

/* The source has nothing now, or cannot be read: the chain waits. */
static void rng_source_wait(struct virtio_rng *rng, int code)
{
	if (code != -EAGAIN && !rng->failed) {
		log_warn("%s: cannot read %s: %s; the guest waits for random numbers", rng->dev.name,
			 rng->filename ? rng->filename : "the host's random numbers", strerrordesc_np(-code));
		rng->failed = true;
	}
	if (code == -EAGAIN && rng->filename && eventloop_add_fd(rng->dev.loop, &rng->source, EPOLLIN) == 0)
		return;
	eventloop_arm(rng->dev.loop, &rng->timer, now_ns() + RNG_RETRY_NS);
}

static void rng_source_unwait(struct virtio_rng *rng)
{
	eventloop_del_fd(rng->dev.loop, &rng->source);
	eventloop_cancel(rng->dev.loop, &rng->timer);
}

/* Requests */

/* What the window has left; arms the timer for the next one when that is nothing. */
static uint64_t rng_window(struct virtio_rng *rng)
{
	int64_t now = now_ns();

	if (now >= rng->window_end) {
		rng->window_end = now + rng->period_ns;
		rng->left = rng->max_bytes;
	}
	if (rng->left == 0)
		eventloop_arm(rng->dev.loop, &rng->timer, rng->window_end);
	return rng->left;
}

/* Has the next request in `chain`. */
static bool rng_next(struct virtio_rng *rng)
{
	struct virtq *vq = &rng->dev.queues[0].vq;
	int r;

	if (rng->held)
		return true;
	if (!rng->active || vq->cfg.size == 0 || vq->broken)
		return false;
	r = virtq_pop(vq, &rng->chain, rng->iov, RNG_QUEUE);
	if (r == 0 && virtq_doorbell_on(vq))
		r = virtq_pop(vq, &rng->chain, rng->iov, RNG_QUEUE);
	if (r == -E2BIG)
		virtq_break(vq, "a chain of more buffers than the queue has descriptors");
	if (r < 0)
		virtio_queue_broken(&rng->dev, 0);
	rng->held = r > 0;
	if (rng->held)
		virtq_doorbell_off(vq);
	return rng->held;
}

/* Fills up to `len` bytes of the request, which must have them. Returns how many, or -errno when there is none yet. */
static ssize_t rng_fill(struct virtio_rng *rng, size_t len)
{
	const struct iovec *iov = rng->iov + rng->chain.n_out;
	size_t done = 0;

	for (size_t i = 0; i < rng->chain.n_in && done < len; i++) {
		size_t want = min_u64(iov[i].iov_len, len - done);
		ssize_t n = want ? rng_source_read(rng, iov[i].iov_base, want) : 0;

		if (n < 0)
			return done ? (ssize_t)done : n;
		done += (size_t)n;
		if ((size_t)n < want)
			break;
	}
	return (ssize_t)done;
}

static void rng_push(struct virtio_rng *rng, size_t written)
{
	rng->held = false;
	virtq_push(&rng->dev.queues[0].vq, rng->chain.head, (uint32_t)written);
}

/* Answers one request. Returns the bytes given, or -errno: it waits. */
static ssize_t rng_serve_one(struct virtio_rng *rng)
{
	size_t want = min_u64(rng->chain.in_len, RNG_PIECE);
	uint64_t left;
	ssize_t n;

	if (want == 0) {
		log_guest(&rng->dev.log, rng->dev.name, "a request without room for an answer");
		rng_push(rng, 0);
		return 0;
	}
	left = rng_window(rng);
	if (left == 0)
		return -EBUSY;
	n = rng_fill(rng, min_u64(want, left));
	if (n < 0) {
		rng_source_wait(rng, (int)n);
		return n;
	}
	rng->failed = false;
	rng->left -= (uint64_t)n;
	rng_push(rng, (size_t)n);
	return n;
}

static void rng_serve(struct virtio_rng *rng)
{
	unsigned chains = 0;
	size_t bytes = 0;

	while (chains < RNG_TURN_CHAINS && bytes < RNG_TURN_BYTES && rng_next(rng)) {
		ssize_t n = rng_serve_one(rng);

		if (n < 0)
			break;
		chains++;
		bytes += (size_t)n;
	}
	if (chains)
		virtio_notify(&rng->dev, 0);
	if (chains == RNG_TURN_CHAINS || bytes >= RNG_TURN_BYTES)
		eventloop_post(rng->dev.loop, &rng->work);
}

static void rng_go_on(void *opaque)
{
	struct virtio_rng *rng = opaque;

	/* Whichever came first, the others are settled by serving. */
	rng_source_unwait(rng);
	rng_serve(rng);
}

static void rng_source_ready(void *opaque, uint32_t revents)
{
	(void)revents;
	rng_go_on(opaque);
}

/* What the core asks */

static uint64_t rng_features(struct virtio_dev *dev)
{
	(void)dev;
	return 0;
}

/* There is no configuration space, so nobody asks. */
static void rng_config_read(struct virtio_dev *dev, unsigned offset, uint8_t *buf, unsigned len)
{
	(void)dev;
	(void)offset;
	memset(buf, 0, len);
}

static int rng_activate(struct virtio_dev *dev, uint64_t features)
{
	(void)features;
	rng_of(dev)->active = true;
	return 0;
}

static void rng_kick(struct virtio_dev *dev, unsigned q)
{
	(void)q;
	rng_go_on(rng_of(dev));
}

static void rng_deactivate(struct virtio_dev *dev)
{
	struct virtio_rng *rng = rng_of(dev);

	rng->active = rng->held = false;
	rng_source_unwait(rng);
	eventloop_cancel_work(dev->loop, &rng->work);
}

static void rng_destroy(struct virtio_dev *dev)
{
	struct virtio_rng *rng = rng_of(dev);

	rng_deactivate(dev);
	fd_close(&rng->source.fd);
	virtio_dev_fini(dev);
	free(rng);
}

static const struct virtio_dev_ops rng_ops = {
	.features = rng_features,
	.config_read = rng_config_read,
	.activate = rng_activate,
	.kick = rng_kick,
	.deactivate = rng_deactivate,
	.destroy = rng_destroy,
};

/* A file that ends, or a pipe that somebody fills, is no source of random numbers; it is most likely a mistake. */
static int rng_source_open(struct virtio_rng *rng, struct err *err)
{
	struct stat st;

	if (!rng->filename)
		return 0;
	/* O_NONBLOCK: neither this nor a read may wait for a FIFO's or a device's other end. */
	rng->source.fd = open(rng->filename, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (rng->source.fd < 0)
		return err_set_errno(err, -errno, "%s: cannot open %s", rng->dev.name, rng->filename);
	if (fstat(rng->source.fd, &st) < 0)
		return err_set_errno(err, -errno, "%s: %s", rng->dev.name, rng->filename);
	if (!S_ISCHR(st.st_mode))
		return err_set(err, -EINVAL, "%s: %s is not a character device; use /dev/urandom, or -object rng-builtin", rng->dev.name,
			       rng->filename);
	return 0;
}

struct virtio_dev *virtio_rng_create(const struct device_env *env, const struct virtio_rng_config *cfg, struct err *err)
{
	static const uint16_t sizes[] = { RNG_QUEUE };
	struct virtio_rng *rng = calloc(1, sizeof(*rng));

	if (!rng) {
		err_set_errno(err, -ENOMEM, "%s", cfg->name);
		return NULL;
	}
	rng->dev = (struct virtio_dev){
		.ops = &rng_ops,
		.id = VIRTIO_ID_RNG,
		.name = cfg->name,
		.loop = env->loop,
		.mem = env->mem,
	};
	rng->max_bytes = cfg->max_bytes;
	rng->period_ns = cfg->period_ms * INT64_C(1000000);
	rng->filename = cfg->filename;
	rng->source = (struct event_fd){ .fd = -1, .ready = rng_source_ready, .opaque = rng };
	rng->timer = (struct event_timer){ .fire = rng_go_on, .opaque = rng };
	rng->work = (struct event_work){ .run = rng_go_on, .opaque = rng };
	if (rng_source_open(rng, err) < 0 || virtio_dev_init(&rng->dev, sizes, ARRAY_SIZE(sizes), err) < 0) {
		fd_close(&rng->source.fd);
		free(rng);
		return NULL;
	}
	return &rng->dev;
}
