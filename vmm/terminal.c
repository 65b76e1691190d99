/* SPDX-License-Identifier: MIT */
#include "vmm/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "vmm/syscall_rules.h"

SYSCALL_RULES(
	/* A crash in any thread gives the terminal back. */
	{ CALL(ioctl), ARG(1, TCSETS), .threads = THREAD_ANY, .rare = THREAD_ANY },
	/* Ctrl-Z, and back in the foreground */
	{ CALL(ioctl), ARG(1, TIOCGPGRP), .threads = THREAD_MAIN, .rare = THREAD_ANY },
	{ CALL(ioctl), ARG(1, TCGETS), .threads = THREAD_ANY, .rare = THREAD_ANY }, /* tcsetattr looks again */
	{ CALL(getpgrp), .threads = THREAD_MAIN, .rare = THREAD_ANY },
);

/*
 * File scope, against the rule, because both sides of it are the process's: its controlling terminal, and the handlers of deadly
 * signals, which have no argument through which to find anything. `changed` says that `fd` and `found` are valid and that the
 * terminal is to be restored; it is set last and cleared first, with signal fences, for a handler that comes in between.
 */
static struct {
	bool wished; /* terminal_raw until terminal_restore */
	bool keep_signals;
	int fd;
	struct termios found;
	volatile sig_atomic_t changed;
} term;

bool terminal_foreground(int fd)
{
	pid_t group = tcgetpgrp(fd);

	/* -1: not the controlling terminal, so job control is not about us. */
	return group == -1 || group == getpgrp();
}

/* tcsetattr that works from the background, too, where the kernel would stop us with SIGTTOU. Async-signal-safe. */
static int set_attributes(int fd, const struct termios *tio)
{
	sigset_t block, old;
	int rc;

	sigemptyset(&block);
	sigaddset(&block, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &block, &old);
	do {
		rc = tcsetattr(fd, TCSANOW, tio);
	} while (rc < 0 && errno == EINTR);
	rc = rc < 0 ? -errno : 0;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return rc;
}

static struct termios raw_attributes(const struct termios *found, bool keep_signals)
{
	struct termios tio = *found;

	/* Not cfmakeraw, which also ends the translation of '\n' on output: Kite's own messages go to this terminal as well. */
	tio.c_iflag &= ~(tcflag_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
	tio.c_oflag |= OPOST | ONLCR;
	tio.c_lflag &= ~(tcflag_t)(ECHO | ECHONL | ICANON | IEXTEN);
	if (!keep_signals)
		tio.c_lflag &= ~(tcflag_t)ISIG;
	tio.c_cflag &= ~(tcflag_t)(CSIZE | PARENB);
	tio.c_cflag |= CS8;
	tio.c_cc[VMIN] = 1;
	tio.c_cc[VTIME] = 0;
	return tio;
}

/* Makes it raw, if Kite is in the foreground; else leaves that to terminal_resume. */
static int apply(void)
{
	struct termios tio;

	if (!terminal_foreground(term.fd))
		return 0;
	/* Still ours when something else than terminal_suspend stopped us: then `found` is what it was before. */
	if (!term.changed && tcgetattr(term.fd, &term.found) < 0)
		return -errno;
	tio = raw_attributes(&term.found, term.keep_signals);
	atomic_signal_fence(memory_order_seq_cst);
	term.changed = 1;
	return set_attributes(term.fd, &tio);
}

int terminal_raw(int fd, bool keep_signals)
{
	int rc;

	if (!isatty(fd))
		return -ENOTTY;
	if (term.wished)
		return -EBUSY;
	term.wished = true;
	term.keep_signals = keep_signals;
	term.fd = fd;
	rc = apply();
	if (rc < 0)
		terminal_restore();
	return rc;
}

void terminal_suspend(void)
{
	if (!term.changed)
		return;
	set_attributes(term.fd, &term.found);
	term.changed = 0;
	atomic_signal_fence(memory_order_seq_cst);
}

void terminal_restore(void)
{
	terminal_suspend();
	term.wished = false;
}

void terminal_resume(void)
{
	if (term.wished)
		apply();
}

void terminal_restore_from_signal(void)
{
	int saved = errno;

	if (term.changed)
		set_attributes(term.fd, &term.found);
	errno = saved;
}
