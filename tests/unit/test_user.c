/* SPDX-License-Identifier: MIT */
/* Kite's end of the user-mode network, with the real helper and with shell scripts that are bad ones. What the network does is tests/net's. */
#include "net/user.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "net/netdev.h"
#include "tests/unit/fake_frontend.h"
#include "tests/unit/fake_net.h"
#include "tests/unit/suite.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/log.h"
#include "vmm/util.h"

static struct eventloop *loop;
static struct fake_net fake;
static struct user_net_config cfg;
static struct err err, failure;
static char helper[4096], script[] = "/tmp/kite-user-XXXXXX";
static unsigned answers;
static bool answer_ok;
static char answer[4096];
static char warning[1000];
static unsigned warnings;

void __wrap_log_warn(const char *fmt, ...);
__attribute__((format(printf, 1, 2))) void __wrap_log_warn(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(warning, sizeof(warning), fmt, ap);
	va_end(ap);
	warnings++;
}

static void failed(void *opaque, const struct err *why)
{
	(void)opaque;
	failure = *why;
}

static void setup(void)
{
	ssize_t len = readlink("/proc/self/exe", helper, sizeof(helper) - 1);

	log_set_level(LOG_LEVEL_NONE);
	ck_assert_int_gt((int)len, 0);
	helper[len] = '\0';
	for (int i = 0; i < 3; i++) /* build/tests/unit/test_user */
		*strrchr(helper, '/') = '\0';
	strcat(helper, "/kite-user-net");
	err = failure = (struct err)ERR_INIT;
	loop = fake_loop();
	answers = warnings = 0;
	cfg = (struct user_net_config){ .id = "net0", .loop = loop, .helper = helper, .failed = failed };
}

static void teardown(void)
{
	unlink(script);
	eventloop_destroy(loop);
}

/* A helper that does what `text` says to bash; frames are descriptor 3, messages 4. */
static void use_script(const char *text)
{
	int fd;

	strcpy(script, "/tmp/kite-user-XXXXXX");
	fd = mkstemp(script);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_gt(dprintf(fd, "#!/bin/bash\n%s\n", text), 0);
	ck_assert_int_eq(fchmod(fd, 0700), 0);
	close(fd);
	cfg.helper = script;
}

static void start(unsigned guest)
{
	struct netdev *nd = user_net_open(&cfg, &err);

	ck_assert_msg(nd != NULL, "%s", err.msg);
	fake_net_start(&fake, nd, 12, guest);
}

static bool is_down(void *arg)
{
	(void)arg;
	return !fake.up;
}

static bool has_failed(void *arg)
{
	(void)arg;
	return failure.code != 0;
}

static bool has_warned(void *arg)
{
	(void)arg;
	return warnings > 0;
}

static bool has_answer(void *arg)
{
	return answers >= *(unsigned *)arg;
}

static void done(void *opaque, bool ok, const char *text)
{
	(void)opaque;
	answers++;
	answer_ok = ok;
	snprintf(answer, sizeof(answer), "%s", text);
}

/* "Who has 10.0.2.2?" */
static void ask(void)
{
	uint8_t frame[12 + 42] = { [12] = 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 8, 6, 0, 1, 8, 0, 6, 4, 0, 1,
				   2, 0, 0, 0, 0, 1, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2 };
	struct iovec iov = { frame, sizeof(frame) };

	ck_assert_int_eq(netdev_tx(fake.nd, 0, &iov, 1, sizeof(frame)), 0);
}

static bool has_reply(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < fake.n; i++)
		if (fake.frames[i].len >= 12 + 42 && memcmp(fake.frames[i].data + 12 + 12, "\x08\x06", 2) == 0 && fake.frames[i].data[12 + 21] == 2)
			return true;
	return false;
}

START_TEST(the_real_helper)
{
	start(0);
	ask(); /* before it is ready: it waits in the socket */
	ck_assert_int_eq(user_net_wait(fake.nd, &err), 0);
	fake_run_until(loop, has_reply, NULL);
	ck_assert(fake.up);
	fake_net_end(&fake);
}
END_TEST

START_TEST(commands)
{
	unsigned one = 1, two = 2, three = 3;

	start(0);
	ck_assert_int_eq(user_net_command(fake.nd, "hostfwd_add tcp:127.0.0.1:0-:22", done, NULL), 0);
	ck_assert_int_eq(user_net_command(fake.nd, "info", done, NULL), -EBUSY);
	fake_run_until(loop, has_answer, &one);
	ck_assert(answer_ok);
	ck_assert_int_eq(user_net_command(fake.nd, "info", done, NULL), 0);
	fake_run_until(loop, has_answer, &two);
	ck_assert(answer_ok);
	ck_assert_ptr_nonnull(strstr(answer, "HOST_FORWARD"));
	ck_assert_int_eq(user_net_command(fake.nd, "hostfwd_remove tcp::1", done, NULL), 0);
	fake_run_until(loop, has_answer, &three);
	ck_assert(!answer_ok);
	ck_assert_str_eq(answer, "there is no forward 'tcp::1'");
	fake_net_end(&fake);
}
END_TEST

START_TEST(a_port_in_use)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	const char *rule[1];
	char text[100];

	ck_assert_int_eq(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	ck_assert_int_eq(listen(fd, 1), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	snprintf(text, sizeof(text), "tcp:127.0.0.1:%d-:22", ntohs(sin.sin_port));
	rule[0] = text;
	cfg.hostfwd = rule;
	cfg.n_hostfwd = 1;
	start(0);
	ck_assert_int_lt(user_net_wait(fake.nd, &err), 0);
	snprintf(text, sizeof(text), "netdev net0: hostfwd: TCP port %d of 127.0.0.1 is in use", ntohs(sin.sin_port));
	ck_assert_msg(strncmp(err.msg, text, strlen(text)) == 0, "%s", err.msg);
	fake_run_for(loop, 10);
	ck_assert_int_eq(failure.code, 0); /* said once */
	fake_net_end(&fake);
	close(fd);
}
END_TEST

static void wait_says(const char *text)
{
	start(0);
	ck_assert_int_lt(user_net_wait(fake.nd, &err), 0);
	ck_assert_msg(strstr(err.msg, text) != NULL && strncmp(err.msg, "netdev net0: ", 13) == 0, "'%s' does not say '%s'", err.msg, text);
	fake_net_end(&fake);
}

START_TEST(helpers_that_do_not_start)
{
	cfg.helper = "/no/such/helper";
	ck_assert_ptr_null(user_net_open(&cfg, &err));
	ck_assert_str_eq(err.msg, "netdev net0: cannot run the network's helper '/no/such/helper': No such file or directory");
	cfg.helper = "/dev/null";
	ck_assert_ptr_null(user_net_open(&cfg, &err));
	cfg.helper = "/bin/false";
	wait_says("kite-user-net, did not start: it ended with status 1");
	use_script("kill -SEGV $$");
	wait_says("it was killed by SIGSEGV");
	unlink(script);
	use_script("echo -n 'ready 99' >&4; sleep 100");
	wait_says("of another build");
	unlink(script);
	use_script("echo -n nonsense >&4; sleep 100");
	wait_says("of another build");
	unlink(script);
	use_script("printf 'error one\\ntwo\\033[31m' | dd bs=1000 status=none >&4; sleep 100");
	wait_says("netdev net0: one two [31m");
}
END_TEST

/* Nobody waited: the callback says so, once. */
START_TEST(a_failure_while_the_guest_runs)
{
	use_script("sleep 0.1; echo -n 'error no luck' >&4");
	start(0);
	fake_run_until(loop, has_failed, NULL);
	ck_assert_str_eq(failure.msg, "netdev net0: no luck");
	ck_assert(!fake.up);
	ck_assert_int_eq(fake_net_send(&fake, 60, 0), 0); /* to nowhere */
	ck_assert_uint_ge(fake.nd->stats.tx_dropped, 1);
	fake_net_end(&fake);
}
END_TEST

START_TEST(a_helper_that_dies)
{
	use_script("echo -n 'ready 1' >&4; dd bs=65536 count=2 status=none <&4 >/dev/null"); /* the start, and the command */
	start(0);
	ck_assert_int_eq(user_net_wait(fake.nd, &err), 0);
	ck_assert_int_eq(user_net_command(fake.nd, "info", done, NULL), 0);
	fake_run_until(loop, is_down, NULL);
	ck_assert_uint_eq(fake.links, 1);
	ck_assert_uint_eq(answers, 1);
	ck_assert(!answer_ok);
	ck_assert_int_eq(user_net_command(fake.nd, "info", done, NULL), -ENOTCONN);
	ck_assert_int_eq(failure.code, 0);
	fake_run_idle(loop, 50);
	fake_net_end(&fake);
}
END_TEST

/* Each socket and the process end when they like; what is said is the same, once, and the status is the real one. */
START_TEST(ends_in_any_order)
{
	static const struct {
		const char *script, *says;
	} ends[] = {
		{ "exit 7", "it ended with status 7" },
		{ "kill -KILL $$", "it was killed by SIGKILL" },
		{ "exec 3>&-; sleep 0.2; exit 7", "it ended with status 7" },
		{ "exec 4>&-; sleep 0.2; exit 8", "it ended with status 8" },
		{ "exec 3>&-; sleep 0.1; exec 4>&-; sleep 0.2; kill -SEGV $$", "it was killed by SIGSEGV" },
		{ "exec 4>&-; sleep 0.1; exec 3>&-; sleep 0.2; exit 9", "it ended with status 9" },
		{ "echo -n 'warn last words' >&4; exec 3>&- 4>&-; sleep 0.2; exit 0", "it ended with status 0" },
	};
	char text[300];

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		warnings = 0;
		snprintf(text, sizeof(text), "echo -n 'ready 1' >&4; %s", ends[i].script);
		use_script(text);
		start(0); /* sends a message, which nobody reads */
		fake_run_until(loop, is_down, NULL);
		fake_run_until(loop, has_warned, NULL);
		snprintf(text, sizeof(text), "netdev net0: the network's helper is gone: %s; the link is down", ends[i].says);
		ck_assert_str_eq(warning, text);
		fake_run_for(loop, 5);
		ck_assert_uint_eq(warnings, 1);
		ck_assert_uint_eq(fake.links, 1);
		ck_assert_int_eq(failure.code, 0);
		fake_net_end(&fake);
		unlink(script);
	}
}
END_TEST

/* All of it before the loop looks for the first time. */
START_TEST(ends_before_anybody_looks)
{
	siginfo_t info;

	use_script("echo -n 'ready 1' >&4; exit 3");
	start(0);
	ck_assert_int_eq(waitid(P_ALL, 0, &info, WEXITED | WNOWAIT), 0);
	fake_run_until(loop, has_warned, NULL);
	ck_assert_str_eq(warning, "netdev net0: the network's helper is gone: it ended with status 3; the link is down");
	ck_assert_int_eq(failure.code, 0);
	fake_net_end(&fake);
}
END_TEST

START_TEST(ends_without_a_start)
{
	static const struct {
		const char *script, *says;
	} ends[] = {
		{ "exec 3>&- 4>&-; sleep 0.2; exit 5", "netdev net0: the network's helper, kite-user-net, did not start: it ended with status 5" },
		{ "exec 3>&-; sleep 0.2; kill -TERM $$",
		  "netdev net0: the network's helper, kite-user-net, did not start: it was killed by SIGTERM" },
		{ "echo -n 'error no luck' >&4; exec 3>&- 4>&-; sleep 0.2", "netdev net0: no luck" },
		{ "echo -n 'error no luck' >&4; exec 3>&-; sleep 0.2", "netdev net0: no luck" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		failure = (struct err)ERR_INIT;
		use_script(ends[i].script);
		start(0);
		fake_run_until(loop, has_failed, NULL);
		ck_assert_str_eq(failure.msg, ends[i].says);
		fake_net_end(&fake);
		/* The same for one who waits, and then nobody else is told. */
		failure = (struct err)ERR_INIT;
		start(0);
		ck_assert_int_lt(user_net_wait(fake.nd, &err), 0);
		ck_assert_str_eq(err.msg, ends[i].says);
		fake_run_for(loop, 5);
		ck_assert_int_eq(failure.code, 0);
		ck_assert_uint_eq(warnings, 0);
		fake_net_end(&fake);
		unlink(script);
	}
}
END_TEST

START_TEST(a_helper_that_lies)
{
	static const char *const bad[] = {
		"printf '\\0\\0\\0\\0' >&3", "printf '\\377\\377\\377\\377' >&3", "printf '\\0\\0\\0\\14' >&3",
	};
	char text[200];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		snprintf(text, sizeof(text), "echo -n 'ready 1' >&4; %s; sleep 100", bad[i]);
		use_script(text);
		start(0);
		fake_run_until(loop, is_down, NULL);
		fake_net_end(&fake);
		unlink(script);
	}
	/* Messages that nobody asked for change nothing. */
	use_script("for m in 'ready 1' ok failed 'ok x' \"$(printf 'x%.0s' {1..30000})\" 'error late' 'warn w'; do echo -n \"$m\" >&4; done; "
		   "printf '\\0\\0\\0\\32\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0abcdefghijklmn' >&3; sleep 100");
	start(0);
	fake_net_wait(&fake, 1);
	fake_run_for(loop, 20);
	ck_assert_uint_eq(fake.frames[0].len, 12 + 14);
	ck_assert_uint_eq(answers, 0);
	ck_assert(fake.up);
	fake_net_end(&fake);
}
END_TEST

/* Nothing is left of a helper that does not listen to anything. */
START_TEST(a_helper_that_stays)
{
	char file[] = "/tmp/kite-user-pid-XXXXXX", text[200], line[20] = "";
	int fd = mkstemp(file);

	snprintf(text, sizeof(text), "trap '' TERM HUP INT PIPE; echo $$ >%s; echo -n 'ready 1' >&4; exec sleep 100 3>&- 4>&-", file);
	use_script(text);
	start(0);
	while (read(fd, line, sizeof(line) - 1) <= 0)
		fake_run_for(loop, 5);
	fake_net_end(&fake);
	ck_assert_int_gt(atoi(line), 0);
	ck_assert_int_eq(kill(atoi(line), 0), -1);
	close(fd);
	unlink(file);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		the_real_helper, commands, a_port_in_use, helpers_that_do_not_start, a_failure_while_the_guest_runs, a_helper_that_dies,
		ends_in_any_order, ends_before_anybody_looks, ends_without_a_start,
		a_helper_that_lies, a_helper_that_stays,
	};

	return suite_run("user", tests, ARRAY_SIZE(tests), setup, teardown);
}
