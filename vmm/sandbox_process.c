/* SPDX-License-Identifier: MIT */
/* What the sandbox does to the process as a whole: limits, -chroot, -runas. */
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "vmm/err.h"
#include "vmm/sandbox_priv.h"
#include "vmm/util.h"

/* Whose the process is to be. */
struct identity {
	const char *name; /* for its further groups; NULL: none */
	uid_t uid;
	gid_t gid;
};

static bool number(const char *text, unsigned *value)
{
	char *end;
	unsigned long v;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	v = strtoul(text, &end, 10);
	*value = (unsigned)v;
	return errno == 0 && *end == '\0' && v < UINT32_MAX;
}

static int find_group(struct identity *id, const char *group, struct err *err)
{
	const struct group *gr;

	if (number(group, &id->gid))
		return 0;
	gr = getgrnam(group);
	if (!gr)
		return err_set(err, -EINVAL, "-runas: there is no group '%s'", group);
	id->gid = gr->gr_gid;
	return 0;
}

static int find_user(struct identity *id, const char *user, bool group_given, struct err *err)
{
	const struct passwd *pw = getpwnam(user);

	if (pw) {
		*id = (struct identity){ .name = pw->pw_name, .uid = pw->pw_uid, .gid = pw->pw_gid };
		return 0;
	}
	if (!number(user, &id->uid))
		return err_set(err, -EINVAL, "-runas: there is no user '%s'", user);
	return group_given ? 0 : err_set(err, -EINVAL, "-runas: a number needs a group with it: UID:GID");
}

static int become(const struct identity *id, struct err *err)
{
	/* glibc does these three in every thread. */
	if (setresgid(id->gid, id->gid, id->gid) < 0 || setresuid(id->uid, id->uid, id->uid) < 0)
		return err_set_errno(err, -errno, "-runas: cannot become user %u, group %u", (unsigned)id->uid, (unsigned)id->gid);
	if (id->uid != 0 && setuid(0) == 0)
		return err_set(err, -EPERM, "-runas: could become root again");
	return 0;
}

static int change_root(const char *dir, struct err *err)
{
	if (chdir(dir) < 0 || chroot(".") < 0 || chdir("/") < 0)
		return err_set_errno(err, -errno, "-chroot: '%s'", dir);
	return 0;
}

static int run_as(const struct sandbox_config *cfg, struct err *err)
{
	const char *colon = strchr(cfg->run_as, ':');
	char *user = colon ? strndup(cfg->run_as, (size_t)(colon - cfg->run_as)) : strdup(cfg->run_as);
	struct identity id = { .name = NULL };
	int rc = user ? find_user(&id, user, colon, err) : err_set(err, -ENOMEM, "-runas");

	if (rc == 0 && colon)
		rc = find_group(&id, colon + 1, err);
	/* The groups' file is read here, before -chroot hides it. */
	if (rc == 0 && (id.name ? initgroups(id.name, id.gid) : setgroups(0, NULL)) < 0)
		rc = err_set_errno(err, -errno, "-runas: cannot change the groups; only root can");
	if (rc == 0 && cfg->chroot_dir)
		rc = change_root(cfg->chroot_dir, err);
	if (rc == 0)
		rc = become(&id, err);
	free(user);
	return rc;
}

/*
 * What a limit is now it stays, and what Kite has no use for it does not get. An image that may not get larger stops the guest (werror=stop), until
 * somebody raises that limit. A guest is not to have dumps of Kite written by crashing it; with log=on, which is for reports, they are as they were.
 * How many processes there may be is of the user's, not of this process, whose filters let none be made; its workers are to be had at any time.
 */
static int set_limits(const struct sandbox_config *cfg, struct err *err)
{
	static const bool none[RLIMIT_NLIMITS] = { [RLIMIT_MSGQUEUE] = true, [RLIMIT_NICE] = true, [RLIMIT_RTPRIO] = true };

	for (int i = 0; i < RLIMIT_NLIMITS; i++) {
		struct rlimit limit;

		if (getrlimit((__rlimit_resource_t)i, &limit) < 0)
			continue;
		if (i != RLIMIT_FSIZE)
			limit.rlim_max = limit.rlim_cur;
		if (none[i] || (i == RLIMIT_CORE && !cfg->log))
			limit = (struct rlimit){ 0, 0 };
		if (setrlimit((__rlimit_resource_t)i, &limit) < 0)
			return err_set_errno(err, -errno, "-sandbox: cannot set the limits of the process");
	}
	return 0;
}

int sandbox_process(const struct sandbox_config *cfg, struct err *err)
{
	int rc = set_limits(cfg, err);

	if (rc == 0 && cfg->run_as)
		return run_as(cfg, err);
	if (rc == 0 && cfg->chroot_dir)
		rc = change_root(cfg->chroot_dir, err);
	return rc;
}
