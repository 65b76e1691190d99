/* SPDX-License-Identifier: MIT */
/*
 * Landlock (Linux 5.13): what paths may still be used. By the kernel's documentation, userspace-api/landlock.rst, whose numbers are here since
 * the headers of older systems lack the later ones. Files that are open stay open.
 *
 * A kernel without it leaves opening to the system call filters, which have none but for a monitor's sake.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "vmm/err.h"
#include "vmm/log.h"
#include "vmm/sandbox_priv.h"
#include "vmm/util.h"

struct landlock_ruleset {
	uint64_t fs, net, scoped;
};

struct landlock_beneath {
	uint64_t allowed;
	int32_t parent;
} __attribute__((packed));

#define RULE_PATH_BENEATH 1
#define RULESET_VERSION 1

#define FS_WRITE_FILE BIT64(1)
#define FS_READ_FILE BIT64(2)
#define FS_READ_DIR BIT64(3)
#define FS_REMOVE_FILE BIT64(5)
#define FS_MAKE_REG BIT64(8)
#define FS_TRUNCATE BIT64(14) /* version 3 */

#define NET_BIND_TCP BIT64(0)	 /* version 4 */
#define NET_CONNECT_TCP BIT64(1)
/* Version 6. Not signals: each thread is a domain of its own, and they must reach each other. The filters see to those. */
#define SCOPED_ABSTRACT_UNIX BIT64(0)

static uint64_t fs_rights(long version)
{
	unsigned bits = version >= 5 ? 16 : version >= 3 ? 15 : version == 2 ? 14 : 13;

	return BIT64(bits) - 1;
}

static int allow(int ruleset, const char *path, uint64_t rights, struct err *err)
{
	struct landlock_beneath rule = { .allowed = rights, .parent = open(path, O_PATH | O_CLOEXEC) };
	int rc = 0;

	if (rule.parent < 0)
		return err_set_errno(err, -errno, "-sandbox: '%s'", path);
	if (syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0) < 0)
		rc = err_set_errno(err, -errno, "-sandbox: cannot allow '%s' with Landlock", path);
	close(rule.parent);
	return rc;
}

/* A file can be removed by who may remove files from its directory. */
static int allow_removal(int ruleset, const char *file, struct err *err)
{
	const char *slash = strrchr(file, '/');
	char *dir = slash == file ? strdup("/") : slash ? strndup(file, (size_t)(slash - file)) : strdup(".");
	int rc = dir ? allow(ruleset, dir, FS_REMOVE_FILE, err) : err_set_errno(err, -ENOMEM, "-sandbox");

	free(dir);
	return rc;
}

static int allow_all(int ruleset, const struct sandbox_config *cfg, uint64_t handled, struct err *err)
{
	const uint64_t files = FS_READ_FILE | FS_WRITE_FILE | FS_READ_DIR | FS_MAKE_REG | FS_TRUNCATE;
	int rc = cfg->files ? allow(ruleset, "/dev/null", FS_READ_FILE | FS_WRITE_FILE, err) : 0;

	for (size_t i = 0; rc == 0 && cfg->files && i < cfg->n_directories; i++)
		rc = allow(ruleset, cfg->directories[i], files & handled, err);
	for (size_t i = 0; rc == 0 && i < cfg->n_removed; i++)
		rc = allow_removal(ruleset, cfg->removed[i], err);
	return rc;
}

int sandbox_landlock_open(const struct sandbox_config *cfg, int *fd, struct err *err)
{
	long version = syscall(SYS_landlock_create_ruleset, NULL, 0, RULESET_VERSION);
	struct landlock_ruleset attr = { .fs = fs_rights(version) };
	size_t size = version >= 6 ? 24 : version >= 4 ? 16 : 8;

	*fd = -1;
	if (version < 1) {
		log_debug("-sandbox: this kernel has no Landlock");
		return 0;
	}
	if (version >= 4)
		attr.net = NET_BIND_TCP | (cfg->peers ? 0 : NET_CONNECT_TCP);
	if (version >= 6)
		attr.scoped = cfg->peers ? 0 : SCOPED_ABSTRACT_UNIX;
	*fd = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
	if (*fd < 0)
		return err_set_errno(err, -errno, "-sandbox: cannot use Landlock; -sandbox off runs without");
	return allow_all(*fd, cfg, attr.fs, err);
}

int sandbox_landlock_enter(int fd)
{
	if (fd < 0)
		return 0;
	return syscall(SYS_landlock_restrict_self, fd, 0) < 0 ? -errno : 0;
}
