/* SPDX-License-Identifier: MIT */
/* Commands that tell what the machine is (QEMU's qapi/misc.json, machine.json, char.json). */
#include <stdio.h>

#include "vmm/chardev.h"
#include "vmm/err.h"
#include "vmm/monitor_priv.h"
#include "vmm/util.h"
#include "vmm/vcpu.h"

static int query_name(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	const char *name = monitor_of(call)->launch->cfg->name;

	(void)args;
	return monitor_give(name ? json_pack("{s:s}", "name", name) : json_object(), ret, err);
}

static int query_uuid(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	const uint8_t *u = monitor_of(call)->launch->cfg->uuid;
	char text[37];
	size_t n = 0;

	(void)args;
	for (unsigned i = 0; i < 16; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", u[i]);
	return monitor_give(json_pack("{s:s}", "UUID", text), ret, err);
}

static int query_kvm(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	(void)call;
	(void)args;
	return monitor_give(json_pack("{s:b,s:b}", "enabled", true, "present", true), ret, err);
}

static int query_target(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	(void)call;
	(void)args;
	return monitor_give(json_pack("{s:s}", "arch", "x86_64"), ret, err);
}

static int query_cpus_fast(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	struct vm *vm = monitor_of(call)->vm;
	json_t *list = json_array();

	(void)args;
	for (unsigned i = 0; i < vm->n_vcpus; i++) {
		char path[48];

		snprintf(path, sizeof(path), "/machine/unattached/device[%u]", i);
		json_array_append_new(list, json_pack("{s:i,s:i,s:s,s:s}", "cpu-index", (int)i, "thread-id", (int)vcpu_tid(&vm->vcpus[i]),
						      "qom-path", path, "target", "x86_64"));
	}
	return monitor_give(list, ret, err);
}

static int query_chardev(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	const struct launch *l = monitor_of(call)->launch;
	json_t *list = json_array();

	(void)args;
	for (size_t i = 0; i < l->cfg->n_chardevs; i++)
		json_array_append_new(list, json_pack("{s:s,s:s,s:b}", "label", l->cfg->chardevs[i].id, "filename",
						      chardev_filename(l->chardevs[i]), "frontend-open", chardev_attached(l->chardevs[i])));
	return monitor_give(list, ret, err);
}

static int query_memory_size(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	(void)args;
	return monitor_give(json_pack("{s:I}", "base-memory", (json_int_t)monitor_of(call)->launch->cfg->ram_size), ret, err);
}

MONITOR_OBJECT(name_info, "NameInfo", { .name = "name", .type = &qmp_str, .optional = true });
MONITOR_OBJECT(uuid_info, "UuidInfo", { .name = "UUID", .type = &qmp_str });
MONITOR_OBJECT(kvm_info, "KvmInfo", { .name = "enabled", .type = &qmp_bool }, { .name = "present", .type = &qmp_bool });
MONITOR_OBJECT(target_info, "TargetInfo", { .name = "arch", .type = &qmp_str });
MONITOR_OBJECT(cpu_info, "CpuInfoFast", { .name = "cpu-index", .type = &qmp_int }, { .name = "qom-path", .type = &qmp_str },
       { .name = "thread-id", .type = &qmp_int }, { .name = "target", .type = &qmp_str });
MONITOR_OBJECT(chardev_info, "ChardevInfo", { .name = "label", .type = &qmp_str }, { .name = "filename", .type = &qmp_str },
       { .name = "frontend-open", .type = &qmp_bool });
MONITOR_OBJECT(memory_info, "MemoryInfo", { .name = "base-memory", .type = &qmp_int });
static const struct qmp_type cpu_list = { .name = "CpuInfoFastList", .meta = QMP_ARRAY, .element = &cpu_info };
static const struct qmp_type chardev_list = { .name = "ChardevInfoList", .meta = QMP_ARRAY, .element = &chardev_info };

const struct qmp_command monitor_query_commands[] = {
	{ .name = "query-name", .ret = &name_info, .run = query_name },
	{ .name = "query-uuid", .ret = &uuid_info, .run = query_uuid },
	{ .name = "query-kvm", .ret = &kvm_info, .run = query_kvm },
	{ .name = "query-target", .ret = &target_info, .run = query_target },
	{ .name = "query-cpus-fast", .ret = &cpu_list, .run = query_cpus_fast },
	{ .name = "query-chardev", .ret = &chardev_list, .run = query_chardev },
	{ .name = "query-memory-size-summary", .ret = &memory_info, .run = query_memory_size },
	{ 0 },
};
