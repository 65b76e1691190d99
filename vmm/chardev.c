/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation: what every chardev does, whatever its back end.
 *
 * Output. chardev_write appends to a ring under the lock and, when the ring was empty, posts drain_work: a vCPU never makes a
 * system call on the peer. The loop's thread takes it out, in as large pieces as lie in one stretch; only it moves ring_read, so
 * it may read that stretch without the lock. When the peer takes nothing the back end waits for EPOLLOUT and calls chardev_drain.
 *
 * A serial port gives its bytes singly, and a loop that is woken for each costs a guest that writes much of its time. So for CHARDEV_GATHER_NS after
 * the ring became empty, `gathering`, writes of a byte post nothing: gather_timer, which the loop arms for itself, takes what has come until then. What is more
 * than CHARDEV_GATHER bytes goes at once.
 *
 * Stalls. A write that finds too little room leaves front_waits and arms stall_timer; the next bytes that the peer takes clear
 * both and call `writable`. When the timer fires first, the peer has not made room for CHARDEV_STALL_NS: pipes and sockets make
 * room only in large steps, so the back end is asked whether anything was read at all. If not, `dropping` lasts until
 * the peer takes something. The ring keeps its contents, so a reader that comes late sees what came first. For a patient front end
 * the timer is not armed, so it goes on waiting.
 *
 * Input. `reading` says whether input is wanted, and is kept equal to chardev_input_room() != 0 by update_reading after
 * everything that may change it; the back end waits for input only while it is.
 */
#include "vmm/chardev_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/util.h"

static const struct {
	const char *name;
	int (*open)(struct chardev *chr, const struct chardev_setup *setup, struct err *err);
} backends[] = {
	[CHARDEV_NULL] = { "null", chardev_null_open },
	[CHARDEV_STDIO] = { "stdio", chardev_stdio_open },
	[CHARDEV_FILE] = { "file", chardev_file_open },
	[CHARDEV_PTY] = { "pty", chardev_pty_open },
	[CHARDEV_SOCKET] = { "socket", chardev_socket_open },
	[CHARDEV_CALLBACK] = { "callback", chardev_callback_open },
};

/* The ring */

size_t chardev_ring_room(const struct chardev *chr)
{
	return CHARDEV_RING - chr->ring_used;
}

size_t chardev_ring_put(struct chardev *chr, const void *buf, size_t len)
{
	size_t at = (chr->ring_read + chr->ring_used) % CHARDEV_RING;
	size_t n = min_u64(len, chardev_ring_room(chr));
	size_t first = min_u64(n, CHARDEV_RING - at);

	memcpy(chr->ring + at, buf, first);
	memcpy(chr->ring, (const uint8_t *)buf + first, n - first);
	chr->ring_used += n;
	return n;
}

/* The oldest bytes that lie in one stretch. */
static size_t ring_peek(struct chardev *chr, const uint8_t **span)
{
	size_t n;

	pthread_mutex_lock(&chr->lock);
	*span = chr->ring + chr->ring_read;
	n = min_u64(chr->ring_used, CHARDEV_RING - chr->ring_read);
	pthread_mutex_unlock(&chr->lock);
	return n;
}

/* Output */

size_t chardev_write(struct chardev *chr, const void *buf, size_t len)
{
	size_t n, room;
	bool post = false;

	pthread_mutex_lock(&chr->lock);
	room = chr->log ? min_u64(len, chardev_log_room(chr->log)) : len;
	n = room;
	if (chr->dropping) {
		chr->dropped += room;
	} else if (chr->connected && !chr->sink) {
		size_t before = chr->ring_used;

		n = chr->mux ? chardev_mux_put(chr, buf, room) : chardev_ring_put(chr, buf, room);
		if (chr->gathering && len == 1)
			post = before < CHARDEV_GATHER && chr->ring_used >= CHARDEV_GATHER;
		else
			post = n > 0 && (before == 0 || chr->gathering); /* a monitor's answer waits for nothing */
	}
	if (chr->log && n > 0)
		chardev_log_put(chr->log, buf, n);
	if (n < len && !chr->front_waits) {
		chr->front_waits = true;
		chr->waits_since = now_ns();
		if (!chr->patient)
			eventloop_arm(chr->loop, &chr->stall_timer, chr->waits_since + CHARDEV_STALL_NS);
	}
	pthread_mutex_unlock(&chr->lock);
	if (post)
		eventloop_post(chr->loop, &chr->drain_work);
	return n;
}

/* Under the lock: nobody waits for room any more. Returns whether the front end did and is to be told. */
static bool end_wait(struct chardev *chr)
{
	bool waited = chr->front_waits;

	chr->front_waits = false;
	if (waited)
		eventloop_cancel(chr->loop, &chr->stall_timer);
	return waited;
}

static void tell_writable(struct chardev *chr)
{
	if (chr->fe)
		chr->fe->writable(chr->fe_opaque);
	if (chr->mux)
		chardev_mux_tell_writable(chr->mux);
}

void chardev_made_room(struct chardev *chr)
{
	bool waited;

	pthread_mutex_lock(&chr->lock);
	waited = end_wait(chr);
	pthread_mutex_unlock(&chr->lock);
	if (waited)
		tell_writable(chr);
}

static void log_dropped(struct chardev *chr, uint64_t dropped)
{
	log_info("%s: %" PRIu64 " bytes of output were dropped while nobody read them", chr->id, dropped);
}

/* The peer took the oldest `n` bytes of the ring. */
static void took(struct chardev *chr, size_t n)
{
	bool recovered, waited, empty;
	uint64_t dropped;

	pthread_mutex_lock(&chr->lock);
	chr->ring_read = (chr->ring_read + n) % CHARDEV_RING;
	chr->ring_used -= n;
	empty = chr->ring_used == 0;
	chr->gathering |= empty;
	recovered = chr->dropping;
	dropped = chr->dropped;
	chr->dropping = false;
	chr->dropped = 0;
	waited = end_wait(chr);
	pthread_mutex_unlock(&chr->lock);
	if (empty)
		eventloop_arm(chr->loop, &chr->gather_timer, now_ns() + CHARDEV_GATHER_NS);
	if (recovered)
		log_dropped(chr, dropped);
	if (waited)
		tell_writable(chr);
}

/* What a back end's write said, when it was not a number of bytes. Returns whether to go on. */
static bool write_failed(struct chardev *chr, int code, size_t len)
{
	switch (-code) {
	case EAGAIN:
		chr->unread = chr->ops->unread ? chr->ops->unread(chr) : -1;
		return false;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		if (!chr->loss_reported)
			log_warn("%s: cannot write to %s: %s; output that does not fit is dropped", chr->id, chr->filename,
				 strerrordesc_np(-code));
		chr->loss_reported = true;
		took(chr, len);
		return true;
	default:
		if (chardev_connected(chr))
			log_warn("%s: cannot write to %s: %s; its output is dropped from now on", chr->id, chr->filename,
				 strerrordesc_np(-code));
		chardev_set_connected(chr, false);
		return false;
	}
}

void chardev_drain(struct chardev *chr)
{
	size_t budget = CHARDEV_RING;
	const uint8_t *span;
	size_t len;

	while ((len = ring_peek(chr, &span)) > 0) {
		ssize_t n;

		if (budget == 0) {
			/* Others shall have their turn. */
			eventloop_post(chr->loop, &chr->drain_work);
			return;
		}
		len = min_u64(len, budget);
		n = chr->ops->write(chr, span, len);
		if (n >= 0)
			took(chr, (size_t)n);
		else if (!write_failed(chr, (int)n, len))
			return;
		budget -= n >= 0 ? (size_t)n : len;
	}
}

static void drain_work_run(void *opaque)
{
	chardev_drain(opaque);
}

static void gather_fire(void *opaque)
{
	struct chardev *chr = opaque;

	pthread_mutex_lock(&chr->lock);
	chr->gathering = false;
	pthread_mutex_unlock(&chr->lock);
	chardev_drain(chr);
}

/* Under the lock: whether the front end has waited long enough, else when to look again. */
static bool stall_expired(struct chardev *chr)
{
	int64_t until = chr->waits_since + CHARDEV_STALL_NS;

	if (!chr->front_waits)
		return false;
	if (now_ns() >= until)
		return true;
	eventloop_arm(chr->loop, &chr->stall_timer, until);
	return false;
}

static void stall_fire(void *opaque)
{
	struct chardev *chr = opaque;
	int64_t unread = chr->ops->unread ? chr->ops->unread(chr) : -1;
	bool stalled, log_stalled;

	pthread_mutex_lock(&chr->lock);
	stalled = stall_expired(chr);
	/* One after the other: if the peer does not read either, the front end will wait again. */
	log_stalled = stalled && chr->log && chardev_log_stalled(chr->log);
	if (log_stalled) {
		stalled = false;
		end_wait(chr);
	}
	if (stalled && unread >= 0 && unread != chr->unread) {
		/* Something was read, though not enough to make room. */
		stalled = false;
		chr->unread = unread;
		chr->waits_since = now_ns();
		eventloop_arm(chr->loop, &chr->stall_timer, chr->waits_since + CHARDEV_STALL_NS);
	}
	if (stalled) {
		chr->dropping = true;
		end_wait(chr);
	}
	pthread_mutex_unlock(&chr->lock);
	if (log_stalled) {
		log_warn("%s: nobody reads its log, and what comes now will be missing there", chr->id);
		tell_writable(chr);
	}
	if (!stalled)
		return;
	log_warn("%s: nobody reads %s; output is dropped until somebody does", chr->id, chr->filename);
	tell_writable(chr);
}

/* Input */

size_t chardev_input_room(struct chardev *chr)
{
	if (chr->mux)
		return chardev_mux_room(chr->mux);
	return chr->fe ? chr->fe->can_receive(chr->fe_opaque) : 0;
}

static void update_reading(struct chardev *chr)
{
	bool wanted = chardev_input_room(chr) > 0;

	if (wanted == chr->reading)
		return;
	chr->reading = wanted;
	chr->ops->read_enable(chr, wanted);
}

void chardev_input(struct chardev *chr, const uint8_t *buf, size_t len)
{
	if (chr->mux)
		chardev_mux_input(chr, buf, len);
	else if (chr->fe && len > 0)
		chr->fe->receive(chr->fe_opaque, buf, len);
	update_reading(chr);
}

static void input_work_run(void *opaque)
{
	struct chardev *chr = opaque;

	if (chr->mux)
		chardev_mux_flush(chr);
	update_reading(chr);
}

void chardev_accept_input(struct chardev *chr)
{
	eventloop_post(chr->loop, &chr->input_work);
}

int chardev_take_fd(struct chardev *chr)
{
	return chr->ops->take_fd ? chr->ops->take_fd(chr) : -1;
}

/* Peers and front ends */

void chardev_set_connected(struct chardev *chr, bool connected)
{
	bool changed, waited = false;
	uint64_t dropped = 0;

	pthread_mutex_lock(&chr->lock);
	changed = chr->connected != connected;
	chr->connected = connected;
	if (!connected) {
		dropped = chr->dropped;
		chr->dropping = false;
		chr->dropped = 0;
		chr->ring_read = chr->ring_used = 0;
		waited = end_wait(chr);
	}
	pthread_mutex_unlock(&chr->lock);
	if (dropped)
		log_dropped(chr, dropped);
	if (changed && chr->fe)
		chr->fe->event(chr->fe_opaque, connected ? CHARDEV_OPENED : CHARDEV_CLOSED);
	if (changed && chr->mux)
		chardev_mux_tell(chr->mux, connected ? CHARDEV_OPENED : CHARDEV_CLOSED);
	if (waited)
		tell_writable(chr);
}

bool chardev_connected(const struct chardev *chr)
{
	/* The lock is the one thing of a const chardev that may change. */
	pthread_mutex_t *lock = (pthread_mutex_t *)&chr->lock;
	bool connected;

	pthread_mutex_lock(lock);
	connected = chr->connected;
	pthread_mutex_unlock(lock);
	return connected;
}

bool chardev_attached(const struct chardev *chr)
{
	return chr->fe;
}

void chardev_attach(struct chardev *chr, const struct chardev_frontend *fe, void *opaque)
{
	if (chr->mux && chr->fe) {
		chardev_mux_add(chr, fe, opaque);
		return;
	}
	chr->fe = fe;
	chr->fe_opaque = opaque;
	pthread_mutex_lock(&chr->lock);
	chr->patient = fe->patient;
	pthread_mutex_unlock(&chr->lock);
	if (chardev_connected(chr))
		fe->event(opaque, CHARDEV_OPENED);
	input_work_run(chr);
}

void chardev_detach(struct chardev *chr)
{
	chr->fe = NULL;
	chr->fe_opaque = NULL;
	pthread_mutex_lock(&chr->lock);
	end_wait(chr);
	chr->patient = false;
	pthread_mutex_unlock(&chr->lock);
	update_reading(chr);
}

void chardev_leave(struct chardev *chr, void *opaque)
{
	if (!chr->mux || !chardev_mux_leave(chr, opaque))
		chardev_detach(chr);
}

const char *chardev_filename(const struct chardev *chr)
{
	return chr->filename;
}

int chardev_set_filename(struct chardev *chr, struct err *err, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&chr->filename, fmt, ap);
	va_end(ap);
	if (n >= 0)
		return 0;
	chr->filename = NULL;
	return err_set_errno(err, -ENOMEM, "cannot open it");
}

/* Creation and end */

static void chardev_free(struct chardev *chr)
{
	chardev_log_destroy(chr->log);
	chardev_mux_destroy(chr->mux);
	pthread_mutex_destroy(&chr->lock);
	free(chr->filename);
	free(chr->id);
	free(chr);
}

static int chardev_open(struct chardev *chr, const struct chardev_setup *setup, struct err *err)
{
	unsigned backend = setup->cfg->backend;

	if (setup->cfg->log) {
		chr->log = chardev_log_create(chr, setup->cfg->log_fd, err);
		if (!chr->log)
			return err->code;
	}
	if (!chr->id || (setup->cfg->mux && !chr->mux))
		return err_set_errno(err, -ENOMEM, "cannot open it");
	if (backend >= ARRAY_SIZE(backends))
		return err_set(err, -EINVAL, "back end %u is not one that Kite has", backend);
	return backends[backend].open(chr, setup, err);
}

struct chardev *chardev_create_from(const struct chardev_setup *setup, struct err *err)
{
	const char *id = setup->cfg->id ? setup->cfg->id : "without an id";
	struct chardev *chr = calloc(1, sizeof(*chr));

	if (!chr) {
		if (setup->cfg->log)
			close(setup->cfg->log_fd);
		err_set_errno(err, -ENOMEM, "chardev %s", id);
		return NULL;
	}
	chr->id = strdup(id);
	chr->loop = setup->loop;
	chr->unread = -1;
	chr->drain_work = (struct event_work){ .run = drain_work_run, .opaque = chr };
	chr->input_work = (struct event_work){ .run = input_work_run, .opaque = chr };
	chr->stall_timer = (struct event_timer){ .fire = stall_fire, .opaque = chr };
	chr->gather_timer = (struct event_timer){ .fire = gather_fire, .opaque = chr };
	pthread_mutex_init(&chr->lock, NULL);
	if (setup->cfg->mux)
		chr->mux = chardev_mux_create(setup->host);
	if (chardev_open(chr, setup, err) < 0) {
		err_prefix(err, "chardev %s", id);
		chardev_free(chr);
		return NULL;
	}
	/* Multiplexed: the escapes work before there is a front end. */
	update_reading(chr);
	return chr;
}

struct chardev *chardev_create(const struct chardev_config *cfg, const struct chardev_host *host, struct eventloop *loop,
			       struct err *err)
{
	struct chardev_setup setup = { .cfg = cfg, .host = host, .loop = loop, .in = STDIN_FILENO, .out = STDOUT_FILENO };

	return chardev_create_from(&setup, err);
}

void chardev_destroy(struct chardev *chr)
{
	if (!chr)
		return;
	chr->fe = NULL;
	if (chr->mux)
		chardev_mux_leave(chr, NULL);
	/* The ring at most, as nothing is added any more. */
	chardev_drain(chr);
	if (chr->dropped)
		log_dropped(chr, chr->dropped);
	chr->ops->close(chr);
	eventloop_cancel(chr->loop, &chr->stall_timer);
	eventloop_cancel(chr->loop, &chr->gather_timer);
	eventloop_cancel_work(chr->loop, &chr->drain_work);
	eventloop_cancel_work(chr->loop, &chr->input_work);
	chardev_free(chr);
}
