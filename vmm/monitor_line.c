/* SPDX-License-Identifier: MIT */
/*
 * A monitor for a person: a prompt, a line that can be corrected, the answer. A chardev's front end. No input is taken while output waits for
 * its reader, so what is kept is what the lines of one portion of input say.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/chardev.h"
#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/monitor_priv.h"
#include "vmm/util.h"

#define LINE_BYTES 256
#define PORTION 64
#define PROMPT "(qemu) " /* which scripts wait for */
#define ESCAPE 0x1b

struct monitor_line {
	struct monitor *m;
	struct chardev *chr; /* borrowed */
	bool shared;         /* with a console, and silent while that has the input */
	bool greeted;
	char line[LINE_BYTES];
	size_t len;
	enum { PLAIN, ESCAPED, SEQUENCE } keys; /* cursor keys and the like are passed over */
	char last;                              /* the byte before: CR LF is one end of a line */
	char *out;                              /* from out_at to out_len; owned */
	size_t out_at, out_len, out_size;
};

static void line_drain(struct monitor_line *l)
{
	if (l->out_at < l->out_len)
		l->out_at += chardev_write(l->chr, l->out + l->out_at, l->out_len - l->out_at);
	if (l->out_at < l->out_len)
		return;
	free(l->out);
	l->out = NULL;
	l->out_at = l->out_len = l->out_size = 0;
}

/* Without memory it is not said. */
static void line_say(struct monitor_line *l, const char *text)
{
	size_t n = strlen(text);

	if (n == 0)
		return;
	if (l->out_len + n > l->out_size) {
		size_t size = max_u64(2 * l->out_size, l->out_len + n);
		char *out = realloc(l->out, size);

		if (!out)
			return;
		l->out = out;
		l->out_size = size;
	}
	memcpy(l->out + l->out_len, text, n);
	l->out_len += n;
}

static void line_run(struct monitor_line *l)
{
	char *answer;

	l->line[l->len] = '\0';
	line_say(l, "\r\n");
	answer = monitor_human_run(l->m, l->line);
	line_say(l, answer ? answer : "no memory for the answer\r\n");
	free(answer);
	l->len = 0;
	line_say(l, PROMPT);
}

static void line_erase(struct monitor_line *l, size_t n)
{
	for (; n > 0 && l->len > 0; n--, l->len--)
		line_say(l, "\b \b");
}

static bool line_skips(struct monitor_line *l, char c)
{
	switch (l->keys) {
	case PLAIN:
		if (c == ESCAPE)
			l->keys = ESCAPED;
		return c == ESCAPE;
	case ESCAPED:
		l->keys = c == '[' || c == 'O' ? SEQUENCE : PLAIN;
		return true;
	case SEQUENCE:
		if (c >= '@' && c <= '~')
			l->keys = PLAIN;
		return true;
	}
	return false;
}

static void line_byte(struct monitor_line *l, char c)
{
	char echo[2] = { c, '\0' };
	bool second = c == '\n' && l->last == '\r';

	l->last = c;
	if (line_skips(l, c) || second)
		return;
	if (c == '\r' || c == '\n') {
		line_run(l);
	} else if (c == '\b' || c == 0x7f) {
		line_erase(l, 1);
	} else if (c == 0x15 || c == 0x03) { /* Ctrl-U, Ctrl-C */
		line_erase(l, l->len);
	} else if (c >= ' ' && c <= '~' && l->len < LINE_BYTES - 1) {
		l->line[l->len++] = c;
		line_say(l, echo);
	}
}

static size_t line_can_receive(void *opaque)
{
	const struct monitor_line *l = opaque;

	return l->out_at < l->out_len ? 0 : PORTION;
}

static void line_receive(void *opaque, const uint8_t *buf, size_t len)
{
	struct monitor_line *l = opaque;

	for (size_t i = 0; i < len; i++)
		line_byte(l, (char)buf[i]);
	line_drain(l);
}

static void line_writable(void *opaque)
{
	struct monitor_line *l = opaque;

	line_drain(l);
	if (l->out_at == l->out_len)
		chardev_accept_input(l->chr);
}

static void line_forget(struct monitor_line *l)
{
	free(l->out);
	l->out = NULL;
	l->out_at = l->out_len = l->out_size = l->len = 0;
	l->keys = PLAIN;
	l->last = '\0';
}

static void line_greet(struct monitor_line *l)
{
	line_say(l, l->shared ? "\r\n" : "");
	if (!l->shared || !l->greeted)
		line_say(l, "Kite " KITE_VERSION " monitor - type 'help' for more information\r\n");
	l->greeted = true;
	line_say(l, PROMPT);
	line_drain(l);
	chardev_accept_input(l->chr);
}

static void line_focus(void *opaque)
{
	struct monitor_line *l = opaque;

	line_forget(l);
	line_greet(l);
}

static void line_event(void *opaque, enum chardev_event event)
{
	struct monitor_line *l = opaque;

	if (event == CHARDEV_BREAK)
		return;
	line_forget(l);
	if (event == CHARDEV_OPENED && !l->shared)
		line_greet(l);
}

static const struct chardev_frontend line_frontend = {
	.patient = true,
	.can_receive = line_can_receive,
	.receive = line_receive,
	.writable = line_writable,
	.event = line_event,
	.focus = line_focus,
};

struct monitor_line *monitor_line_create(struct monitor *m, struct chardev *chr, struct err *err)
{
	struct monitor_line *l = calloc(1, sizeof(*l));

	if (!l) {
		err_set(err, -ENOMEM, "no memory for a monitor");
		return NULL;
	}
	l->m = m;
	l->chr = chr;
	l->shared = chardev_attached(chr);
	chardev_attach(chr, &line_frontend, l);
	return l;
}

void monitor_line_destroy(struct monitor_line *l)
{
	if (!l)
		return;
	chardev_leave(l->chr, l);
	line_forget(l);
	free(l);
}
