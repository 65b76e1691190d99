/* SPDX-License-Identifier: MIT */
#include "net/user_helper.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "net/user.h"
#include "net/user_proto.h"
#include "vmm/err.h"
#include "vmm/util.h"

#ifndef KITE_LIBEXECDIR
#define KITE_LIBEXECDIR "/usr/local/libexec/kite"
#endif

#define HELPER_NAME "kite-user-net"
#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)

/* The arguments: strings that are freed, and their NULL. */
struct args {
	char **argv;
	size_t n, max;
	bool failed;
};

__attribute__((format(printf, 2, 3))) static void add_arg(struct args *args, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (args->failed || args->n + 1 >= args->max || vasprintf(&args->argv[args->n], fmt, ap) < 0)
		args->failed = true;
	else
		args->n++;
	va_end(ap);
}

static void add_rules(struct args *args, const char *key, const char *const *rules, size_t n)
{
	for (size_t i = 0; i < n; i++)
		add_arg(args, "%s=%s", key, rules[i]);
}

static void free_args(struct args *args)
{
	for (size_t i = 0; i < args->n; i++)
		free(args->argv[i]);
	free(args->argv);
}

static void add_all(struct args *args, const struct user_net_config *cfg)
{
	const struct {
		const char *key, *value;
	} strings[] = {
		{ "net", cfg->net }, { "host", cfg->host }, { "dhcpstart", cfg->dhcpstart }, { "dns", cfg->dns }, { "ipv6-net", cfg->ipv6_net },
		{ "ipv6-host", cfg->ipv6_host }, { "ipv6-dns", cfg->ipv6_dns }, { "hostname", cfg->hostname }, { "domainname", cfg->domainname },
		{ "tftp", cfg->tftp }, { "bootfile", cfg->bootfile }, { "tftp-server-name", cfg->tftp_server_name },
		{ "metadata", cfg->metadata },
	};

	add_arg(args, HELPER_NAME);
	add_arg(args, "--protocol=" TEXT(USER_PROTO_VERSION));
	add_arg(args, "restrict=%s", cfg->restricted ? "on" : "off");
	add_arg(args, "ipv4=%s", cfg->no_ipv4 ? "off" : "on");
	add_arg(args, "ipv6=%s", cfg->no_ipv6 ? "off" : "on");
	for (size_t i = 0; i < ARRAY_SIZE(strings); i++)
		if (strings[i].value)
			add_arg(args, "%s=%s", strings[i].key, strings[i].value);
	add_rules(args, "dnssearch", cfg->dnssearch, cfg->n_dnssearch);
	add_rules(args, "hostfwd", cfg->hostfwd, cfg->n_hostfwd);
	add_rules(args, "guestfwd", cfg->guestfwd, cfg->n_guestfwd);
}

/* Where it is: beside kite, where `make install` puts it, or nowhere: then the search path is left. */
static const char *find_helper(const char *given, char *buf, size_t size)
{
	ssize_t len = readlink("/proc/self/exe", buf, size - 1);
	char *slash;

	if (given)
		return given;
	buf[len > 0 ? len : 0] = '\0';
	slash = strrchr(buf, '/');
	if (slash && (size_t)(slash - buf) + sizeof("/" HELPER_NAME) <= size) {
		strcpy(slash + 1, HELPER_NAME);
		if (access(buf, X_OK) == 0)
			return buf;
	}
	if (access(KITE_LIBEXECDIR "/" HELPER_NAME, X_OK) == 0)
		return KITE_LIBEXECDIR "/" HELPER_NAME;
	return HELPER_NAME;
}

/*
 * The descriptors must land at numbers that either may have already, in the other's place: so they go up first. Copies do not close on
 * exec; everything else of Kite's does.
 */
static int add_descriptors(posix_spawn_file_actions_t *actions, int frames, int control)
{
	const int spare = USER_PROTO_CONTROL + 1 + (frames > control ? frames : control);
	int rc = posix_spawn_file_actions_adddup2(actions, frames, spare);

	if (rc == 0)
		rc = posix_spawn_file_actions_adddup2(actions, control, spare + 1);
	if (rc == 0)
		rc = posix_spawn_file_actions_adddup2(actions, spare, USER_PROTO_FRAMES);
	if (rc == 0)
		rc = posix_spawn_file_actions_adddup2(actions, spare + 1, USER_PROTO_CONTROL);
	if (rc == 0)
		rc = posix_spawn_file_actions_addclose(actions, spare);
	return rc ? rc : posix_spawn_file_actions_addclose(actions, spare + 1);
}

/*
 * Kite blocks signals that it reads from a descriptor, and ignores some: a new process has them as ever. A session of its own keeps Ctrl-C from
 * it.
 */
static int set_attributes(posix_spawnattr_t *attr)
{
	sigset_t none, ignored;
	int rc;

	sigemptyset(&none);
	sigemptyset(&ignored);
	sigaddset(&ignored, SIGPIPE);
	sigaddset(&ignored, SIGXFSZ);
	rc = posix_spawnattr_setsigmask(attr, &none);
	if (rc == 0)
		rc = posix_spawnattr_setsigdefault(attr, &ignored);
	return rc ? rc : posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
}

static int spawn(const char *path, char *const *argv, int frames, int control, pid_t *pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	int rc = posix_spawn_file_actions_init(&actions);

	if (rc)
		return -rc;
	rc = posix_spawnattr_init(&attr);
	if (rc == 0) {
		rc = add_descriptors(&actions, frames, control);
		if (rc == 0)
			rc = set_attributes(&attr);
		if (rc == 0)
			rc = posix_spawnp(pid, path, &actions, &attr, argv, environ);
		posix_spawnattr_destroy(&attr);
	}
	posix_spawn_file_actions_destroy(&actions);
	return -rc;
}

static int not_found(const struct user_net_config *cfg, const char *path, int rc, struct err *err)
{
	if (rc == -ENOENT && !cfg->helper)
		return err_set(err, rc, "the program " HELPER_NAME " is not beside kite, in " KITE_LIBEXECDIR " or in the search path; "
			       "install it, or say where it is with helper=");
	return err_set_errno(err, rc, "cannot run the network's helper '%s'", path);
}

int user_helper_spawn(const struct user_net_config *cfg, int frames, int control, pid_t *pid, struct err *err)
{
	struct args args = { .max = 32 + cfg->n_dnssearch + cfg->n_hostfwd + cfg->n_guestfwd };
	char buf[PATH_MAX];
	const char *path;
	int rc;

	args.argv = calloc(args.max, sizeof(*args.argv));
	if (args.argv)
		add_all(&args, cfg);
	if (!args.argv || args.failed) {
		free_args(&args);
		return err_set_errno(err, -ENOMEM, "the network");
	}
	path = find_helper(cfg->helper, buf, sizeof(buf));
	rc = spawn(path, args.argv, frames, control, pid);
	free_args(&args);
	return rc < 0 ? not_found(cfg, path, rc, err) : 0;
}
