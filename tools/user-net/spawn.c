/* SPDX-License-Identifier: MIT */
#include "tools/user-net/spawn.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "vmm/err.h"
#include "vmm/util.h"

/* One word of *text to *out, both moved on; quotes removed. 1, 0 at the end, -1 for a quote that does not end. */
static int split_word(const char **text, char **out)
{
	const char *p = *text;
	char quote = 0;

	p += strspn(p, " \t\n");
	if (!*p)
		return 0;
	for (; *p && (quote || !strchr(" \t\n", *p)); p++) {
		if (*p == quote) {
			quote = 0;
		} else if (!quote && (*p == '\'' || *p == '"')) {
			quote = *p;
		} else {
			if (*p == '\\' && quote != '\'') {
				p++;
				if (!*p)
					return -1;
			}
			*(*out)++ = *p;
		}
	}
	*(*out)++ = '\0';
	*text = p;
	return quote ? -1 : 1;
}

char **spawn_split(const char *text)
{
	size_t len = strlen(text), words = len / 2 + 2;
	char **argv = malloc(words * sizeof(*argv) + len + 1);
	char *out = (char *)(argv + words);
	size_t n = 0;
	int rc = -1;

	if (!argv)
		return NULL;
	do {
		argv[n] = out;
		rc = split_word(&text, &out);
		n += rc == 1;
	} while (rc == 1);
	argv[n] = NULL;
	if (rc == 0 && n)
		return argv;
	free(argv);
	return NULL;
}

/* The rule's number and the connection. -1 at the socket's end, else the number. */
static int receive(int fd, int *conn)
{
	union {
		struct cmsghdr hdr;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	uint32_t n;
	struct iovec iov = { &n, sizeof(n) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf) };
	const struct cmsghdr *cmsg;
	ssize_t got;

	do
		got = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	while (got < 0 && errno == EINTR);
	cmsg = got == sizeof(n) ? CMSG_FIRSTHDR(&msg) : NULL;
	if (!cmsg || cmsg->cmsg_level != SOL_SOCKET || cmsg->cmsg_type != SCM_RIGHTS || cmsg->cmsg_len != CMSG_LEN(sizeof(int)))
		return -1;
	memcpy(conn, CMSG_DATA(cmsg), sizeof(*conn));
	return n < CONFIG_MAX_RULES ? (int)n : -1;
}

static _Noreturn void run_command(char *const *argv, int conn)
{
	signal(SIGCHLD, SIG_DFL);
	signal(SIGPIPE, SIG_DFL);
	setsid();
	if (dup2(conn, 0) >= 0 && dup2(conn, 1) >= 0)
		execvp(argv[0], argv);
	fprintf(stderr, "kite-user-net: cannot run '%s': %s\n", argv[0], strerror(errno));
	_exit(127);
}

static _Noreturn void serve(int fd, char **const *argv)
{
	int conn, n;

	prctl(PR_SET_NAME, "kite-user-cmd");
	signal(SIGCHLD, SIG_IGN); /* nobody waits for them */
	while ((n = receive(fd, &conn)) >= 0) {
		if (argv[n] && fork() == 0)
			run_command(argv[n], conn);
		close(conn);
	}
	_exit(0);
}

/* The descriptors that the commands must not have: all but the standard ones and the socket, which closes on exec. */
static void close_others(int keep)
{
	if (keep > 3)
		close_range(3, (unsigned)keep - 1, 0);
	close_range((unsigned)keep + 1, ~0u, 0);
}

int spawn_start(const struct config *cfg, int *fd, struct err *err)
{
	char **argv[CONFIG_MAX_RULES] = { NULL };
	bool any = false;
	int sv[2], rc = 0;
	pid_t pid;

	*fd = -1;
	for (size_t i = 0; rc == 0 && i < cfg->n_guestfwd; i++) {
		if (cfg->guestfwd[i].kind != GUESTFWD_CMD)
			continue;
		any = true;
		argv[i] = spawn_split(cfg->guestfwd[i].target);
		if (!argv[i])
			rc = err_set(err, -EINVAL, "guestfwd: '%s' is no command; is there a quote too many?", cfg->guestfwd[i].target);
	}
	if (rc == 0 && any && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		rc = err_set_errno(err, -errno, "cannot create a socket");
	if (rc == 0 && any) {
		pid = fork();
		if (pid == 0) {
			close_others(sv[1]);
			serve(sv[1], argv);
		}
		close(sv[1]);
		*fd = sv[0];
		if (pid < 0)
			rc = err_set_errno(err, -errno, "cannot start a process");
	}
	for (size_t i = 0; i < cfg->n_guestfwd && i < ARRAY_SIZE(argv); i++)
		free(argv[i]);
	return rc;
}

int spawn_run(int fd, unsigned n, int conn)
{
	union {
		struct cmsghdr hdr;
		char buf[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	uint32_t number = n;
	struct iovec iov = { &number, sizeof(number) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.buf, .msg_controllen = sizeof(control.buf) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &conn, sizeof(conn));
	return sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}
