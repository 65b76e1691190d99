/* SPDX-License-Identifier: MIT */
/*
 * The escapes of a multiplexed chardev: Ctrl-a and a key ask something of Kite instead of going to the guest. One row of the table
 * below is one key. Of two front ends, such as a serial port and a monitor, one is the chardev's own (chr->fe) and gets the input, until "c"
 * exchanges it for the other.
 *
 * Input goes through a buffer of its own, so that the escapes work while the guest takes no input, until that is full, too.
 * Then input waits in the host's pipe. Output passes through only to put time stamps in front of lines.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/chardev_priv.h"
#include "vmm/util.h"

#define MUX_ESCAPE 0x01 /* Ctrl-a */
#define MUX_HELD 1024
#define MUX_STAMP_MAX 48

struct chardev_mux {
	struct chardev_host host;
	const struct chardev_frontend *other; /* which has not the input; NULL: none. The loop's thread only */
	void *other_opaque;
	/* The loop's thread only: */
	bool escaped; /* the last byte was MUX_ESCAPE */
	size_t held_at, held; /* input that the front end has not taken yet */
	uint8_t buf[MUX_HELD];
	/* Under the chardev's lock: */
	bool stamps;
	bool line_start;
	int64_t stamps_since;
};

struct mux_escape {
	uint8_t key;
	const char *help; /* NULL: another name for one that has a text */
	void (*run)(struct chardev *chr);
};

/* What Kite itself says to whoever sits there. Cut off when the ring is full: nobody is reading. */
static void mux_say(struct chardev *chr, const char *text)
{
	bool was_empty, any = false;

	pthread_mutex_lock(&chr->lock);
	was_empty = chr->ring_used == 0;
	if (chr->connected && !chr->sink && !chr->dropping)
		any = chardev_ring_put(chr, text, strlen(text)) > 0;
	pthread_mutex_unlock(&chr->lock);
	if (was_empty && any)
		eventloop_post(chr->loop, &chr->drain_work);
}

/* One byte of input for the front end. There is room: chardev_mux_room said so. */
static void mux_hold(struct chardev_mux *mux, uint8_t byte)
{
	if (mux->held == MUX_HELD)
		return;
	if (mux->held_at + mux->held == MUX_HELD) {
		memmove(mux->buf, mux->buf + mux->held_at, mux->held);
		mux->held_at = 0;
	}
	mux->buf[mux->held_at + mux->held++] = byte;
}

static void escape_help(struct chardev *chr);

static void escape_quit(struct chardev *chr)
{
	mux_say(chr, "\r\nkite: terminated\r\n");
	if (chr->mux->host.quit)
		chr->mux->host.quit(chr->mux->host.opaque);
}

static void escape_powerdown(struct chardev *chr)
{
	if (chr->mux->host.powerdown)
		chr->mux->host.powerdown(chr->mux->host.opaque);
}

static void escape_resume(struct chardev *chr)
{
	if (chr->mux->host.resume)
		chr->mux->host.resume(chr->mux->host.opaque);
}

static void exchange(struct chardev *chr)
{
	struct chardev_mux *mux = chr->mux;
	const struct chardev_frontend *fe = chr->fe;
	void *opaque = chr->fe_opaque;

	chr->fe = mux->other;
	chr->fe_opaque = mux->other_opaque;
	mux->other = fe;
	mux->other_opaque = opaque;
}

static void escape_switch(struct chardev *chr)
{
	if (!chr->mux->other)
		return;
	/* What was typed before is for the one that had the input; what that does not take is lost. */
	chardev_mux_flush(chr);
	chr->mux->held = chr->mux->held_at = 0;
	exchange(chr);
	if (chr->fe->focus)
		chr->fe->focus(chr->fe_opaque);
}

void chardev_mux_add(struct chardev *chr, const struct chardev_frontend *fe, void *opaque)
{
	chr->mux->other = fe;
	chr->mux->other_opaque = opaque;
}

bool chardev_mux_leave(struct chardev *chr, const void *opaque)
{
	if (!chr->mux->other)
		return false;
	if (chr->fe_opaque == opaque)
		exchange(chr);
	chr->mux->other = NULL;
	chr->mux->other_opaque = NULL;
	return true;
}

void chardev_mux_tell(struct chardev_mux *mux, enum chardev_event event)
{
	if (mux->other)
		mux->other->event(mux->other_opaque, event);
}

void chardev_mux_tell_writable(struct chardev_mux *mux)
{
	if (mux->other)
		mux->other->writable(mux->other_opaque);
}

static void escape_break(struct chardev *chr)
{
	/* In its place among the input, as far as the front end takes that. */
	chardev_mux_flush(chr);
	if (chr->fe)
		chr->fe->event(chr->fe_opaque, CHARDEV_BREAK);
}

static void escape_stamps(struct chardev *chr)
{
	struct chardev_mux *mux = chr->mux;

	pthread_mutex_lock(&chr->lock);
	mux->stamps = !mux->stamps;
	mux->line_start = false; /* from the next line on */
	mux->stamps_since = now_ns();
	pthread_mutex_unlock(&chr->lock);
}

static void escape_escape(struct chardev *chr)
{
	mux_hold(chr->mux, MUX_ESCAPE);
}

static const struct mux_escape escapes[] = {
	{ 'h', "print this help", escape_help },
	{ '?', NULL, escape_help },
	{ 'x', "exit Kite", escape_quit },
	{ 'p', "press the guest's power button", escape_powerdown },
	{ 'r', "let a guest go on that was stopped by a disk error", escape_resume },
	{ 'b', "send a break", escape_break },
	{ 'c', "switch between the console and the monitor", escape_switch },
	{ 't', "turn time stamps in front of lines on or off", escape_stamps },
	{ MUX_ESCAPE, "send Ctrl-a", escape_escape },
};

static void escape_help(struct chardev *chr)
{
	mux_say(chr, "\r\n");
	for (size_t i = 0; i < ARRAY_SIZE(escapes); i++) {
		char key[] = { (char)escapes[i].key, 0 };
		char line[128];

		if (!escapes[i].help)
			continue;
		snprintf(line, sizeof(line), "Ctrl-a %-7s %s\r\n", escapes[i].key == MUX_ESCAPE ? "Ctrl-a" : key, escapes[i].help);
		mux_say(chr, line);
	}
}

static void mux_byte(struct chardev *chr, uint8_t byte)
{
	struct chardev_mux *mux = chr->mux;

	if (!mux->escaped) {
		mux->escaped = byte == MUX_ESCAPE;
		if (!mux->escaped)
			mux_hold(mux, byte);
		return;
	}
	mux->escaped = false;
	for (size_t i = 0; i < ARRAY_SIZE(escapes); i++) {
		if (escapes[i].key == byte) {
			escapes[i].run(chr);
			return;
		}
	}
}

size_t chardev_mux_room(const struct chardev_mux *mux)
{
	return MUX_HELD - mux->held;
}

void chardev_mux_input(struct chardev *chr, const uint8_t *buf, size_t len)
{
	for (size_t i = 0; i < len; i++)
		mux_byte(chr, buf[i]);
	chardev_mux_flush(chr);
}

void chardev_mux_flush(struct chardev *chr)
{
	struct chardev_mux *mux = chr->mux;

	while (mux->held > 0 && chr->fe) {
		uint8_t chunk[MUX_HELD];
		size_t n = min_u64(chr->fe->can_receive(chr->fe_opaque), mux->held);

		if (!n)
			return;
		/* Copied, and taken out first: the front end may do what leads back to here. */
		memcpy(chunk, mux->buf + mux->held_at, n);
		mux->held_at += n;
		mux->held -= n;
		if (!mux->held)
			mux->held_at = 0;
		chr->fe->receive(chr->fe_opaque, chunk, n);
	}
}

/* Puts the stamp and reports true, or false when it and one byte more do not fit. */
static bool mux_put_stamp(struct chardev *chr)
{
	int64_t ms = (now_ns() - chr->mux->stamps_since) / 1000000;
	char stamp[MUX_STAMP_MAX];
	size_t n;

	n = (size_t)snprintf(stamp, sizeof(stamp), "[%02" PRId64 ":%02" PRId64 ":%02" PRId64 ".%03" PRId64 "] ", ms / 3600000,
			     ms / 60000 % 60, ms / 1000 % 60, ms % 1000);
	if (chardev_ring_room(chr) <= n)
		return false;
	chardev_ring_put(chr, stamp, n);
	return true;
}

size_t chardev_mux_put(struct chardev *chr, const uint8_t *buf, size_t len)
{
	struct chardev_mux *mux = chr->mux;
	size_t done = 0;

	if (!mux->stamps)
		return chardev_ring_put(chr, buf, len);
	while (done < len) {
		const uint8_t *end = memchr(buf + done, '\n', len - done);
		size_t line = end ? (size_t)(end - (buf + done)) + 1 : len - done;
		size_t n;

		if (mux->line_start && !mux_put_stamp(chr))
			break;
		mux->line_start = false;
		n = chardev_ring_put(chr, buf + done, line);
		done += n;
		if (n < line)
			break;
		mux->line_start = end != NULL;
	}
	return done;
}

struct chardev_mux *chardev_mux_create(const struct chardev_host *host)
{
	struct chardev_mux *mux = calloc(1, sizeof(*mux));

	if (mux && host)
		mux->host = *host;
	return mux;
}

void chardev_mux_destroy(struct chardev_mux *mux)
{
	free(mux);
}
