/* SPDX-License-Identifier: MIT */
/* Descriptors that a client passes beside its command (SCM_RIGHTS): getfd, add-fd and their like (QEMU's qapi/misc.json, add-fd.json). */
#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "vmm/chardev.h"
#include "vmm/err.h"
#include "vmm/fdset.h"
#include "vmm/monitor_priv.h"

/* The descriptor that came with the command; -EINVAL with `err`. */
static int passed_fd(struct qmp_call *call, struct err *err)
{
	struct qmp_monitor *monitor = qmp_monitor_of(call);
	int fd = monitor ? chardev_take_fd(qmp_monitor_chardev(monitor)) : -1;

	return fd >= 0 ? fd : err_set(err, -EINVAL, "no file descriptor came with the command (SCM_RIGHTS)");
}

static int getfd(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	const char *name = json_string_value(json_object_get(args, "fdname"));
	int fd = passed_fd(call, err);

	(void)ret;
	if (fd < 0)
		return fd;
	/* A name that begins with a digit is a descriptor's number, where one of both is taken. */
	if (!*name || isdigit((unsigned char)*name))
		err_set(err, -EINVAL, "parameter 'fdname' has to be a name that does not begin with a digit");
	else if (fdsets_name(&monitor_of(call)->launch->fds, name, fd, err) == 0)
		return 0;
	close(fd);
	return err->code;
}

static int closefd(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	const char *name = json_string_value(json_object_get(args, "fdname"));
	int fd = fdsets_take(&monitor_of(call)->launch->fds, name);

	(void)ret;
	if (fd < 0)
		return err_set(err, -EINVAL, "there is no descriptor named '%.64s'", name);
	close(fd);
	return 0;
}

static int add_fd(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	const json_t *set = json_object_get(args, "fdset-id");
	int fd;

	if (set && json_integer_value(set) < 0)
		return err_set(err, -EINVAL, "parameter 'fdset-id' is not negative");
	fd = passed_fd(call, err);
	if (fd >= 0) {
		int64_t id = fdsets_add(&monitor_of(call)->launch->fds, set ? json_integer_value(set) : FDSET_NEW, fd,
					json_string_value(json_object_get(args, "opaque")), err);

		if (id >= 0)
			return monitor_give(json_pack("{s:I,s:i}", "fdset-id", (json_int_t)id, "fd", fd), ret, err);
		close(fd);
	}
	return err->code;
}

static int remove_fd(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	const json_t *fd = json_object_get(args, "fd");
	json_int_t n = fd ? json_integer_value(fd) : -1;

	(void)ret;
	if (fd && (n < 0 || n > INT32_MAX))
		return err_set(err, -EINVAL, "parameter 'fd' is no descriptor's number");
	return fdsets_remove(&monitor_of(call)->launch->fds, json_integer_value(json_object_get(args, "fdset-id")), (int)n, err);
}

static json_t *fds_of(const struct fdsets *sets, int64_t set)
{
	json_t *list = json_array();

	for (size_t i = 0; i < sets->n_fds; i++) {
		json_t *fd;

		if (sets->fds[i].set != set)
			continue;
		fd = json_pack("{s:i}", "fd", sets->fds[i].fd);
		if (fd && sets->fds[i].opaque)
			json_object_set_new(fd, "opaque", json_string(sets->fds[i].opaque));
		json_array_append_new(list, fd);
	}
	return list;
}

static bool is_first(const struct fdsets *sets, size_t i)
{
	for (size_t k = 0; k < i; k++)
		if (sets->fds[k].set == sets->fds[i].set)
			return false;
	return true;
}

static int query_fdsets(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	const struct fdsets *sets = &monitor_of(call)->launch->fds;
	json_t *list = json_array();

	(void)args;
	for (size_t i = 0; i < sets->n_fds; i++)
		if (is_first(sets, i))
			json_array_append_new(list, json_pack("{s:I,s:o}", "fdset-id", (json_int_t)sets->fds[i].set, "fds",
							      fds_of(sets, sets->fds[i].set)));
	return monitor_give(list, ret, err);
}

MONITOR_OBJECT(fdname_args, "getfd-arg", { .name = "fdname", .type = &qmp_str });
MONITOR_OBJECT(add_fd_args, "add-fd-arg", { .name = "fdset-id", .type = &qmp_int, .optional = true },
	       { .name = "opaque", .type = &qmp_str, .optional = true });
MONITOR_OBJECT(remove_fd_args, "remove-fd-arg", { .name = "fdset-id", .type = &qmp_int }, { .name = "fd", .type = &qmp_int, .optional = true });
MONITOR_OBJECT(AddfdInfo, "AddfdInfo", { .name = "fdset-id", .type = &qmp_int }, { .name = "fd", .type = &qmp_int });
MONITOR_OBJECT(FdsetFdInfo, "FdsetFdInfo", { .name = "fd", .type = &qmp_int }, { .name = "opaque", .type = &qmp_str, .optional = true });
MONITOR_ARRAY(fd_list, FdsetFdInfo);
MONITOR_OBJECT(FdsetInfo, "FdsetInfo", { .name = "fdset-id", .type = &qmp_int }, { .name = "fds", .type = &fd_list });
MONITOR_ARRAY(set_list, FdsetInfo);

const struct qmp_command monitor_fd_commands[] = {
	{ .name = "getfd", .args = &fdname_args, .run = getfd },
	{ .name = "closefd", .args = &fdname_args, .run = closefd },
	{ .name = "add-fd", .args = &add_fd_args, .ret = &AddfdInfo, .run = add_fd },
	{ .name = "remove-fd", .args = &remove_fd_args, .run = remove_fd },
	{ .name = "query-fdsets", .ret = &set_list, .run = query_fdsets },
	{ 0 },
};
