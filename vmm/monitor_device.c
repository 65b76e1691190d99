/* SPDX-License-Identifier: MIT */
/* Network cards, iothreads and interrupts (QEMU's qapi/net.json, misc.json, machine.json). */
#include <errno.h>
#include <string.h>

#include "vmm/arch.h"
#include "vmm/err.h"
#include "vmm/launch_disks.h"
#include "vmm/launch_net.h"
#include "vmm/monitor_priv.h"

static int set_link(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	const struct launch *l = monitor_of(call)->launch;
	const char *name = json_string_value(json_object_get(args, "name"));

	(void)ret;
	if (launch_net_set_link(l->net, name, json_is_true(json_object_get(args, "up"))) < 0)
		return err_set(err, -ENODEV, "there is no network card or -netdev '%.64s'", name);
	return 0;
}

static int query_iothreads(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	const struct launch *l = monitor_of(call)->launch;
	json_t *list = json_array();

	(void)args;
	for (size_t i = 0; i < l->cfg->n_iothreads; i++)
		json_array_append_new(list, json_pack("{s:s,s:i,s:I,s:i,s:i,s:i}", "id", l->cfg->iothreads[i].id, "thread-id",
						      launch_disks_iothread_tid(l->disks, i), "poll-max-ns",
						      (json_int_t)l->cfg->iothreads[i].poll_max_ns, "poll-grow", 0, "poll-shrink", 0, "aio-max-batch",
						      0));
	return monitor_give(list, ret, err);
}

static int inject_nmi(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	const struct launch *l = monitor_of(call)->launch;
	int r = l->machine ? machine_inject_nmi(l->machine) : -ENODEV;

	(void)args;
	(void)ret;
	if (r == -ENODEV)
		return err_set(err, -EINVAL, "the machine none has no vCPU to interrupt");
	return r < 0 ? err_set(err, -EIO, "KVM does not take the interrupt: %s", strerrordesc_np(-r)) : 0;
}

MONITOR_OBJECT(set_link_args, "set_link-arg", { .name = "name", .type = &qmp_str }, { .name = "up", .type = &qmp_bool });
MONITOR_OBJECT(IOThreadInfo, "IOThreadInfo", { .name = "id", .type = &qmp_str }, { .name = "thread-id", .type = &qmp_int },
	       { .name = "poll-max-ns", .type = &qmp_int }, { .name = "poll-grow", .type = &qmp_int },
	       { .name = "poll-shrink", .type = &qmp_int }, { .name = "aio-max-batch", .type = &qmp_int });
MONITOR_ARRAY(iothread_list, IOThreadInfo);

const struct qmp_command monitor_device_commands[] = {
	{ .name = "set_link", .args = &set_link_args, .run = set_link },
	{ .name = "query-iothreads", .ret = &iothread_list, .run = query_iothreads },
	{ .name = "inject-nmi", .run = inject_nmi },
	{ 0 },
};
