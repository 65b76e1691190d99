/* SPDX-License-Identifier: MIT */
/* The sandbox, tried from inside: each attempt is a process of its own that enters it and does what a guest that has broken out would. */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/suite.h"
#include "vmm/err.h"
#include "vmm/sandbox.h"
#include "vmm/sandbox_priv.h"
#include "vmm/util.h"

#define FINE 0
#define REFUSED 7 /* the call was made, and failed */
#define BROKEN 99 /* the sandbox could not be entered */

static char dir[] = "/tmp/kite-sandbox-XXXXXX";
static char inside[64], outside[64];
static pid_t parent;

/* ---- attempts: what they return is the exit status ---- */

static int result(long rc)
{
	return rc < 0 ? REFUSED : FINE;
}

static int try_open(void)
{
	return result(open("/etc/passwd", O_RDONLY));
}

static int try_open_inside(void)
{
	return result(open(inside, O_RDWR));
}

static int try_open_outside(void)
{
	return result(open(outside, O_RDONLY));
}

static int try_create_outside(void)
{
	return result(open("/tmp/kite-sandbox-escaped", O_RDWR | O_CREAT, 0600));
}

static int try_socket(void)
{
	return result(socket(AF_UNIX, SOCK_STREAM, 0));
}

static int try_netlink(void)
{
	return result(socket(AF_NETLINK, SOCK_RAW, 0));
}

static int try_connect(void)
{
	return result(syscall(SYS_connect, 0, NULL, 0));
}

static int try_exec(void)
{
	return result(execl("/bin/true", "true", NULL));
}

static int try_fork(void)
{
	return result(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
}

static int try_fork_new(void)
{
	return result(syscall(SYS_clone3, NULL, 0)); /* -ENOSYS, for glibc to try clone */
}

static int try_unshare(void)
{
	return result(unshare(CLONE_NEWUSER));
}

static int try_ptrace(void)
{
	return result(syscall(SYS_ptrace, 16 /* ATTACH */, parent, 0, 0));
}

static int try_kill_parent(void)
{
	return result(syscall(SYS_kill, parent, 0));
}

static int try_tgkill_parent(void)
{
	return result(syscall(SYS_tgkill, 1, 1, SIGUSR1));
}

static int try_map_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? REFUSED : FINE;
}

static int try_make_code(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return result(mprotect(page, 4096, PROT_READ | PROT_EXEC));
}

static int try_type(void)
{
	return result(ioctl(0, TIOCSTI, "x"));
}

static int try_make_vm(void)
{
	return result(ioctl(0, KVM_CREATE_VM, 0));
}

static int try_run_vcpu(void)
{
	return result(ioctl(0, KVM_RUN, 0)); /* no vCPU's descriptor: ENOTTY */
}

static int try_ring(void)
{
	return result(syscall(SYS_io_uring_setup, 1, NULL));
}

static int try_ring_register(void)
{
	return result(syscall(SYS_io_uring_register, 0, 0, NULL, 0));
}

static int try_limit(void)
{
	return result(setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 10, 10 }));
}

static int try_setuid(void)
{
	return result(syscall(SYS_setuid, 0));
}

static int try_process_memory(void)
{
	return result(syscall(SYS_process_vm_readv, parent, NULL, 0, NULL, 0, 0));
}

static int try_bpf(void)
{
	return result(syscall(SYS_bpf, 0, NULL, 0));
}

static int try_x32(void)
{
	return result(syscall(0x40000000 + SYS_getpid));
}

static void *in_thread(void *opaque)
{
	int (*attempt)(void) = *(int (**)(void))opaque;

	return (void *)(intptr_t)attempt();
}

static int in_worker(int (*attempt)(void))
{
	pthread_t thread;
	void *rc;

	if (pthread_create(&thread, NULL, in_thread, &attempt) != 0)
		return BROKEN;
	pthread_join(thread, &rc);
	return (int)(intptr_t)rc;
}

static int try_worker(void)
{
	void *memory = malloc(1 << 20);

	free(memory);
	return FINE;
}

static int start_worker(void)
{
	return in_worker(try_worker);
}

static int worker_opens(void)
{
	return in_worker(try_open);
}

/* What every thread may do. */
static int try_ordinary(void)
{
	char *memory = malloc(4 << 20);
	struct timespec now;

	memset(memory, 1, 4 << 20);
	free(memory);
	clock_gettime(CLOCK_REALTIME, &now);
	return write(STDOUT_FILENO, "", 0) == 0 && now.tv_sec ? FINE : REFUSED;
}

/* Says so, and stays, to be looked at. */
static int stay(void)
{
	(void)!write(STDERR_FILENO, "here", 4);
	poll(NULL, 0, -1);
	return FINE;
}

/* ---- running them ---- */

struct outcome {
	int status; /* exit status, or -signal */
	char said[512];
};

/* A child of its own that makes the attempt; what it says can be read from *said. */
static pid_t start(int (*attempt)(void), enum sandbox_thread kind, struct sandbox_config cfg, int *said)
{
	const char *const directories[] = { dir };
	struct err err = ERR_INIT;
	struct sandbox *sandbox;
	int out[2];
	pid_t child;

	ck_assert_int_eq(pipe(out), 0);
	fflush(NULL);
	child = fork();
	*said = out[0];
	if (child != 0) {
		close(out[1]);
		return child;
	}
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	dup2(out[1], STDERR_FILENO);
	parent = getppid();
	in_worker(try_worker); /* what the C library does for a process's first thread */
	sandbox_install_trap();
	cfg.directories = directories;
	cfg.n_directories = 1;
	sandbox = sandbox_create(&cfg, &err);
	if (!sandbox || sandbox_drop(sandbox, &err) < 0 || sandbox_filter(sandbox, kind, &err) < 0)
		_exit(BROKEN);
	/* No exit_group for a vCPU. */
	syscall(SYS_exit, attempt());
	return 0;
}

static struct outcome run(int (*attempt)(void), enum sandbox_thread kind, struct sandbox_config cfg)
{
	struct outcome o = { .status = -1 };
	int said, status;
	pid_t child = start(attempt, kind, cfg, &said);
	ssize_t n;

	while ((n = read(said, o.said + strlen(o.said), sizeof(o.said) - 1 - strlen(o.said))) > 0)
		;
	close(said);
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	o.status = WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
	return o;
}

static const enum sandbox_thread kinds[] = { SANDBOX_MAIN, SANDBOX_LOOP, SANDBOX_LOOP_PEERS, SANDBOX_VCPU };
static const char *const kind_names[] = { "main", "loop", "loop with peers", "vCPU" };

/* What no thread may do, whatever the configuration. */
static const struct {
	int (*attempt)(void);
	const char *call;
} forbidden[] = {
	{ try_netlink, "socket (41)" },
	{ try_exec, "execve (59)" },
	{ try_fork, "clone (56)" },
	{ try_unshare, "unshare (272)" },
	{ try_ptrace, "ptrace (101)" },
	{ try_tgkill_parent, "tgkill (234)" },
	{ try_map_code, "mmap (9)" },
	{ try_make_code, "mprotect (10)" },
	{ try_type, "ioctl (16, 0x5412)" },
	{ try_make_vm, "ioctl (16, 0xae01)" },
	{ try_ring_register, "io_uring_register (427)" },
	{ try_limit, "prlimit64 (302)" },
	{ try_setuid, "setuid (105)" },
	{ try_process_memory, "process_vm_readv (310)" },
	{ try_bpf, "bpf (321)" },
};

START_TEST(forbidden_calls_end_the_process_and_are_named)
{
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
		for (size_t i = 0; i < ARRAY_SIZE(forbidden); i++) {
			struct outcome o = run(forbidden[i].attempt, kinds[k], (struct sandbox_config){ .files = true, .peers = true });

			ck_assert_msg(o.status == -SIGSYS, "%s: %s: %d", kind_names[k], forbidden[i].call, o.status);
			ck_assert_msg(strstr(o.said, forbidden[i].call) && strchr(o.said, '\n') == o.said + strlen(o.said) - 1, "'%s'", o.said);
			ck_assert_ptr_nonnull(strstr(o.said, "thread 'test_sandbox'"));
		}
}
END_TEST

START_TEST(calls_by_another_convention_end_the_process)
{
	struct outcome o = run(try_x32, SANDBOX_VCPU, (struct sandbox_config){ .log = false });

	ck_assert_int_eq(o.status, -SIGSYS);
}
END_TEST

START_TEST(what_every_thread_needs_works)
{
	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++)
		ck_assert_int_eq(run(try_ordinary, kinds[k], (struct sandbox_config){ .log = false }).status, FINE);
}
END_TEST

START_TEST(threads_inside_have_no_privileges)
{
	static const char *const wanted[] = { "CapInh:\t0000000000000000", "CapPrm:\t0000000000000000", "CapEff:\t0000000000000000",
					      "CapAmb:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2" };

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		char path[64], text[4096] = "";
		int said, fd;
		pid_t child = start(stay, kinds[k], (struct sandbox_config){ .log = false }, &said);

		ck_assert_int_eq(read(said, text, 4), 4);
		snprintf(path, sizeof(path), "/proc/%d/status", (int)child);
		fd = open(path, O_RDONLY);
		ck_assert_int_gt(read(fd, text, sizeof(text) - 1), 0);
		for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
			ck_assert_msg(strstr(text, wanted[i]), "%s: %s", kind_names[k], wanted[i]);
		ck_assert_msg(geteuid() != 0 || strstr(text, "CapBnd:\t0000000000000000"), "%s: the bounding set", kind_names[k]);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		close(fd);
		close(said);
	}
}
END_TEST

START_TEST(files_are_a_monitors_and_below_its_directories)
{
	const struct sandbox_config files = { .files = true }, none = { .files = false };

	ck_assert_int_eq(run(try_open, SANDBOX_MAIN, none).status, -SIGSYS);
	ck_assert_int_eq(run(try_open_inside, SANDBOX_MAIN, none).status, -SIGSYS);
	ck_assert_int_eq(run(try_open_inside, SANDBOX_MAIN, files).status, FINE);
	ck_assert_int_eq(run(try_open_outside, SANDBOX_MAIN, files).status, REFUSED);
	ck_assert_int_eq(run(try_create_outside, SANDBOX_MAIN, files).status, REFUSED);
	for (size_t k = 1; k < ARRAY_SIZE(kinds); k++)
		ck_assert_int_eq(run(try_open_inside, kinds[k], files).status, kinds[k] == SANDBOX_VCPU ? -SIGSYS : REFUSED);
}
END_TEST

START_TEST(sockets_are_for_those_that_connect_again)
{
	const struct sandbox_config peers = { .peers = true }, none = { .peers = false };

	ck_assert_int_eq(run(try_socket, SANDBOX_MAIN, none).status, -SIGSYS);
	ck_assert_int_eq(run(try_connect, SANDBOX_MAIN, none).status, -SIGSYS);
	ck_assert_int_eq(run(try_socket, SANDBOX_MAIN, peers).status, FINE);
	ck_assert_int_eq(run(try_socket, SANDBOX_LOOP_PEERS, none).status, FINE);
	ck_assert_int_eq(run(try_socket, SANDBOX_LOOP, peers).status, -SIGSYS);
	ck_assert_int_eq(run(try_socket, SANDBOX_VCPU, peers).status, -SIGSYS);
}
END_TEST

START_TEST(signals_to_others_and_late_rings_are_refused)
{
	const struct sandbox_config cfg = { .log = false };

	ck_assert_int_eq(run(try_kill_parent, SANDBOX_LOOP, cfg).status, REFUSED);
	ck_assert_int_eq(run(try_kill_parent, SANDBOX_VCPU, cfg).status, -SIGSYS);
	ck_assert_int_eq(run(try_ring, SANDBOX_LOOP, cfg).status, REFUSED);
	ck_assert_int_eq(run(try_ring, SANDBOX_VCPU, cfg).status, -SIGSYS);
}
END_TEST

START_TEST(workers_start_inside)
{
	const struct sandbox_config cfg = { .log = false };
	struct outcome o;

	ck_assert_int_eq(run(try_fork_new, SANDBOX_LOOP, cfg).status, REFUSED);
	ck_assert_int_eq(run(start_worker, SANDBOX_LOOP, cfg).status, FINE);
	ck_assert_int_eq(run(start_worker, SANDBOX_MAIN, cfg).status, FINE);
	o = run(worker_opens, SANDBOX_LOOP, cfg);
	ck_assert_int_eq(o.status, -SIGSYS);
	ck_assert_ptr_nonnull(strstr(o.said, "openat (257)"));
	ck_assert_int_eq(run(start_worker, SANDBOX_VCPU, cfg).status, -SIGSYS);
}
END_TEST

START_TEST(only_a_vcpu_runs_guests)
{
	ck_assert_int_eq(run(try_run_vcpu, SANDBOX_VCPU, (struct sandbox_config){ .log = false }).status, REFUSED);
	ck_assert_int_eq(run(try_run_vcpu, SANDBOX_LOOP, (struct sandbox_config){ .log = false }).status, -SIGSYS);
}
END_TEST

START_TEST(log_mode_stops_nothing)
{
	struct outcome o = run(try_netlink, SANDBOX_VCPU, (struct sandbox_config){ .log = true });

	ck_assert_int_eq(o.status, FINE);
	ck_assert_str_eq(o.said, "");
}
END_TEST

START_TEST(filters_are_small)
{
	for (unsigned i = 0; i < FILTERS; i++)
		ck_assert_uint_lt(sandbox_filters[i].n, FILTER_MAX);
	ck_assert_uint_le(sandbox_filters[FILTER_VCPU].calls, 40);
	for (unsigned needs = 0; needs < 4; needs++)
		ck_assert_uint_le(sandbox_filters[FILTER_LOOP + needs].calls, 60);
}
END_TEST

START_TEST(mistakes_are_told)
{
	static const struct {
		struct sandbox_config cfg;
		const char *text;
	} cases[] = {
		{ { .run_as = "no-such-user-here" }, "-runas: there is no user 'no-such-user-here'" },
		{ { .run_as = "12345" }, "-runas: a number needs a group with it: UID:GID" },
		{ { .chroot_dir = "/no/such/directory" }, "-chroot: '/no/such/directory': No such file or directory" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err err = ERR_INIT;

		ck_assert_ptr_null(sandbox_create(&cases[i].cfg, &err));
		ck_assert_str_eq(err.msg, cases[i].text);
	}
}
END_TEST

static void setup(void)
{
	int fd;

	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(dir));
	snprintf(inside, sizeof(inside), "%s/file", dir);
	snprintf(outside, sizeof(outside), "%s.outside", dir);
	for (int i = 0; i < 2; i++) {
		fd = open(i ? inside : outside, O_RDWR | O_CREAT, 0600);
		ck_assert_int_ge(fd, 0);
		close(fd);
	}
}

static void teardown(void)
{
	unlink(inside);
	unlink(outside);
	rmdir(dir);
}

int main(void)
{
	const TTest *const tests[] = {
		forbidden_calls_end_the_process_and_are_named,
		calls_by_another_convention_end_the_process,
		what_every_thread_needs_works,
		threads_inside_have_no_privileges,
		files_are_a_monitors_and_below_its_directories,
		sockets_are_for_those_that_connect_again,
		signals_to_others_and_late_rings_are_refused,
		workers_start_inside,
		only_a_vcpu_runs_guests,
		log_mode_stops_nothing,
		filters_are_small,
		mistakes_are_told,
	};

	return suite_run("sandbox", tests, ARRAY_SIZE(tests), setup, teardown);
}
