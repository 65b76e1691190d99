/* SPDX-License-Identifier: MIT */
/*
 * Types and objects by QEMU's names (qapi/qom.json, qdev.json). The drivers of -device are the command line's own table, with the properties
 * that it takes; what else there is has a row below. Objects are those of the configuration, in QEMU's places:
 *
 *   /machine/peripheral/ID          a device
 *   /machine/unattached/device[N]   a vCPU
 *   /objects/ID                     an -object
 *
 * They have no properties that change, but for `type` and a balloon's statistics.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli_list.h"
#include "vmm/cli_props.h"
#include "vmm/err.h"
#include "vmm/monitor_priv.h"
#include "vmm/util.h"

/* ---- types ---- */

struct qom_prop {
	const char *name, *type;
};

struct qom_type {
	const char *name, *parent;
	const struct qom_prop *props; /* ends with a row without a name; NULL: none */
	bool abstract;
	bool unlisted; /* not there, but asked for by clients that cannot do with an error */
};

#define PROPS(...) (const struct qom_prop[]){ __VA_ARGS__, { 0 } }
static const struct qom_type types[] = {
	{ "object", NULL, NULL, true, false },
	{ "device", "object", NULL, true, false },
	{ "machine", "object", NULL, true, false },
	{ "pc-i440fx-machine", "machine", NULL, true, false },
	{ MONITOR_PC_NAME "-machine", "pc-i440fx-machine", NULL, false, false },
	{ "microvm-machine", "machine",
	  PROPS({ "acpi", "OnOffAuto" }, { "pic", "OnOffAuto" }, { "pit", "OnOffAuto" }, { "rtc", "OnOffAuto" }, { "isa-serial", "bool" },
		{ "auto-kernel-cmdline", "bool" }),
	  false, false },
	{ "none-machine", "machine", NULL, false, false },
	{ "generic-pc-machine", "machine", NULL, true, true },
	{ "cpu", "device", NULL, true, false },
	{ "x86_64-cpu", "cpu", NULL, true, false },
	{ "host-x86_64-cpu", "x86_64-cpu", PROPS({ "migratable", "bool" }), false, false },
	{ "max-x86_64-cpu", "x86_64-cpu", PROPS({ "migratable", "bool" }), false, false },
	{ "kvm-accel", "object", NULL, false, false },
	{ "kvm-pit", "device", PROPS({ "lost_tick_policy", "LostTickPolicy" }), false, false },
	{ "PIIX4_PM", "device", PROPS({ "disable_s3", "uint8" }, { "disable_s4", "uint8" }), false, false },
	{ "iothread", "object", PROPS({ "poll-max-ns", "int" }), false, false },
	{ "rng-random", "object", PROPS({ "filename", "str" }), false, false },
	{ "rng-builtin", "object", NULL, false, false },
	{ "throttle-group", "object", NULL, false, false },
	{ "secret", "object", NULL, false, false },
	{ "memory-backend-file", "object", NULL, false, true },
};

static const struct qom_type *find_type(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (!strcmp(types[i].name, name))
			return &types[i];
	return NULL;
}

static bool find_driver(const char *name, struct cli_listed *driver)
{
	for (size_t i = 0; cli_device_at(i, driver); i++)
		if (!strcmp(driver->name, name))
			return driver->available;
	return false;
}

/* Whether `type` is an `ancestor` or comes from one. */
static bool descends(const char *type, const char *ancestor)
{
	while (type && strcmp(type, ancestor)) {
		const struct qom_type *t = find_type(type);

		type = t ? t->parent : "device";
	}
	return type;
}

static void append_type(json_t *list, const char *name, const char *parent, bool abstract)
{
	json_t *t = json_pack("{s:s}", "name", name);

	if (t && parent)
		json_object_set_new(t, "parent", json_string(parent));
	if (t && abstract)
		json_object_set_new(t, "abstract", json_true());
	json_array_append_new(list, t);
}

static int qom_list_types(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	const char *implements = json_string_value(json_object_get(args, "implements"));
	bool abstract = json_is_true(json_object_get(args, "abstract"));
	json_t *list = json_array();
	struct cli_listed driver;

	(void)call;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (!types[i].unlisted && (!implements || descends(types[i].name, implements)) && (abstract || !implements || !types[i].abstract))
			append_type(list, types[i].name, types[i].parent, types[i].abstract);
	for (size_t i = 0; cli_device_at(i, &driver); i++)
		if (driver.available && (!implements || descends(driver.name, implements)))
			append_type(list, driver.name, "device", false);
	return monitor_give(list, ret, err);
}

static json_t *props_of_rows(const struct prop_row *row)
{
	json_t *list = json_array();

	for (; row && row->key; row++)
		json_array_append_new(list, json_pack("{s:s,s:s}", "name", row->key, "type", cli_prop_type(row)));
	return list;
}

static json_t *props_of_type(const struct qom_type *type)
{
	json_t *list = json_array();

	for (const struct qom_prop *p = type->props; p && p->name; p++)
		json_array_append_new(list, json_pack("{s:s,s:s}", "name", p->name, "type", p->type));
	return list;
}

static int list_properties(const json_t *args, bool devices_only, json_t **ret, struct err *err)
{
	const char *name = json_string_value(json_object_get(args, "typename"));
	const struct qom_type *type = find_type(name);
	struct cli_listed driver;

	if (find_driver(name, &driver))
		return monitor_give(props_of_rows(driver.rows), ret, err);
	if (type && devices_only && !descends(name, "device"))
		return err_set(err, -EINVAL, "parameter 'typename' expects a device, and '%s' is none", name);
	if (!type)
		return err_set(err, -ENODEV, "there is no type '%.64s'; qom-list-types lists those there are", name);
	return monitor_give(props_of_type(type), ret, err);
}

static int device_list_properties(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	(void)call;
	return list_properties(args, true, ret, err);
}

static int qom_list_properties(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	(void)call;
	return list_properties(args, false, ret, err);
}

/* ---- objects ---- */

struct object {
	const char *id, *type;
};

/* The i-th of n things whose first member-like id is at `id`; a step of the walk below. */
#define TAKE(i, array, n, type_)                                      \
	do {                                                          \
		if ((i) < (n))                                        \
			return (struct object){ (array)[i].id, type_ }; \
		(i) -= (n);                                           \
	} while (0)

/* The i-th device of the configuration; without an id after the last. */
static struct object device_at(const struct vm_config *cfg, size_t i)
{
	bool pci = cfg->machine == MACHINE_PC;

	TAKE(i, cfg->serials, cfg->n_serials, "isa-serial");
	TAKE(i, cfg->disks, cfg->n_disks, pci ? "virtio-blk-pci" : "virtio-blk-device");
	TAKE(i, cfg->nics, cfg->n_nics, pci ? "virtio-net-pci" : "virtio-net-device");
	TAKE(i, cfg->virtio_serials, cfg->n_virtio_serials, pci ? "virtio-serial-pci" : "virtio-serial-device");
	TAKE(i, cfg->rngs, cfg->n_rngs, pci ? "virtio-rng-pci" : "virtio-rng-device");
	TAKE(i, &cfg->balloon, (size_t)cfg->has_balloon, pci ? "virtio-balloon-pci" : "virtio-balloon-device");
	TAKE(i, cfg->scsis, cfg->n_scsis, pci ? "virtio-scsi-pci" : "virtio-scsi-device");
	TAKE(i, cfg->scsi_units, cfg->n_scsi_units, cfg->scsi_units[i].cd ? "scsi-cd" : "scsi-hd");
	if (i < cfg->n_watchdogs)
		return (struct object){ cfg->watchdogs[i].id, cfg->watchdogs[i].ib700 ? "ib700" : "i6300esb" };
	return (struct object){ NULL, NULL };
}

static struct object object_at(const struct vm_config *cfg, size_t i)
{
	TAKE(i, cfg->iothreads, cfg->n_iothreads, "iothread");
	if (i < cfg->n_rng_sources)
		return (struct object){ cfg->rng_sources[i].id, cfg->rng_sources[i].filename ? "rng-random" : "rng-builtin" };
	i -= cfg->n_rng_sources;
	if (i < cfg->n_throttle_groups)
		return (struct object){ cfg->throttle_groups[i].group, "throttle-group" };
	return (struct object){ NULL, NULL };
}

struct folder {
	const char *path;
	struct object (*at)(const struct vm_config *cfg, size_t i);
};

static struct object root_at(const struct vm_config *cfg, size_t i)
{
	static const struct object rows[] = { { "machine", "container" }, { "objects", "container" } };

	(void)cfg;
	return i < ARRAY_SIZE(rows) ? rows[i] : (struct object){ NULL, NULL };
}

static struct object machine_at(const struct vm_config *cfg, size_t i)
{
	static const struct object rows[] = { { "peripheral", "container" }, { "peripheral-anon", "container" }, { "unattached", "container" } };

	(void)cfg;
	return i < ARRAY_SIZE(rows) ? rows[i] : (struct object){ NULL, NULL };
}

static struct object nothing_at(const struct vm_config *cfg, size_t i)
{
	(void)cfg;
	(void)i;
	return (struct object){ NULL, NULL };
}

static const struct folder folders[] = {
	{ "/", root_at },
	{ "/machine", machine_at },
	{ "/machine/peripheral", device_at },
	{ "/machine/peripheral-anon", nothing_at },
	{ "/machine/unattached", nothing_at },
	{ "/objects", object_at },
};

static const char *machine_type(const struct vm_config *cfg)
{
	static const char *const names[] = { [MACHINE_PC] = MONITOR_PC_NAME "-machine", [MACHINE_MICROVM] = "microvm-machine", [MACHINE_NONE] = "none-machine" };

	return names[cfg->machine];
}

static const struct folder *find_folder(const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++)
		if (!strcmp(folders[i].path, path))
			return &folders[i];
	return NULL;
}

static const char vcpu_prefix[] = "/machine/unattached/device[";

/* The type of the object at `path`; NULL: there is none. */
static const char *type_at(const struct vm_config *cfg, const char *path)
{
	const struct folder *folder = find_folder(path);
	struct object o;

	if (folder)
		return strcmp(path, "/machine") ? "container" : machine_type(cfg);
	if (!strncmp(path, vcpu_prefix, sizeof(vcpu_prefix) - 1)) {
		for (unsigned i = 0; cfg->machine != MACHINE_NONE && i < cfg->smp.cpus; i++) {
			char name[64];

			snprintf(name, sizeof(name), "%s%u]", vcpu_prefix, i);
			if (!strcmp(name, path))
				return "host-x86_64-cpu";
		}
	}
	for (size_t f = 0; f < ARRAY_SIZE(folders); f++) {
		size_t len = strlen(folders[f].path);

		for (size_t i = 0; !strncmp(path, folders[f].path, len) && path[len] == '/' && (o = folders[f].at(cfg, i)).id; i++)
			if (!strcmp(o.id, path + len + 1))
				return o.type;
	}
	return NULL;
}

static bool is_balloon(const char *type)
{
	return !strncmp(type, "virtio-balloon", 14);
}

static int no_object(const char *path, struct err *err)
{
	return err_set(err, -ENODEV, "there is nothing at the path '%.128s'", path);
}

static int qom_list(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	const struct vm_config *cfg = monitor_of(call)->launch->cfg;
	const char *path = json_string_value(json_object_get(args, "path"));
	const struct folder *folder = find_folder(path);
	json_t *list;
	struct object o;
	const char *type;

	type = type_at(cfg, path);
	if (!type)
		return no_object(path, err);
	list = json_pack("[{s:s,s:s}]", "name", "type", "type", "string");
	if (is_balloon(type))
		monitor_balloon_list(list);
	for (size_t i = 0; folder && (o = folder->at(cfg, i)).id; i++)
		json_array_append_new(list, json_pack("{s:s,s:o}", "name", o.id, "type", json_sprintf("child<%s>", o.type)));
	return monitor_give(list, ret, err);
}

static int no_property(const json_t *args, const char *type, struct err *err)
{
	return err_set(err, -EINVAL, "property '%s.%.64s' not found", type, json_string_value(json_object_get(args, "property")));
}

static int qom_get(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	const char *path = json_string_value(json_object_get(args, "path"));
	const char *type = type_at(monitor_of(call)->launch->cfg, path);

	if (!type)
		return no_object(path, err);
	if (is_balloon(type) && monitor_balloon_get(monitor_of(call), args, ret))
		return *ret ? 0 : err_set(err, -ENOMEM, "no memory for the reply");
	if (strcmp(json_string_value(json_object_get(args, "property")), "type"))
		return no_property(args, type, err);
	return monitor_give(json_string(type), ret, err);
}

static int qom_set(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	const char *path = json_string_value(json_object_get(args, "path"));
	const char *type = type_at(monitor_of(call)->launch->cfg, path);

	(void)ret;
	if (!type)
		return no_object(path, err);
	if (is_balloon(type) && monitor_balloon_sets(args))
		return monitor_balloon_set(monitor_of(call), args, err);
	if (!strcmp(json_string_value(json_object_get(args, "property")), "type"))
		return err_set(err, -EPERM, "property '%s.type' cannot be set", type);
	return no_property(args, type, err);
}

/* ---- tables ---- */

MONITOR_OBJECT(ObjectTypeInfo, "ObjectTypeInfo", { .name = "name", .type = &qmp_str }, { .name = "abstract", .type = &qmp_bool, .optional = true },
	       { .name = "parent", .type = &qmp_str, .optional = true });
MONITOR_OBJECT(ObjectPropertyInfo, "ObjectPropertyInfo", { .name = "name", .type = &qmp_str }, { .name = "type", .type = &qmp_str },
	       { .name = "description", .type = &qmp_str, .optional = true }, { .name = "default-value", .type = &qmp_any, .optional = true });
MONITOR_ARRAY(type_list, ObjectTypeInfo);
MONITOR_ARRAY(property_list, ObjectPropertyInfo);
MONITOR_OBJECT(list_types_args, "qom-list-types-arg", { .name = "implements", .type = &qmp_str, .optional = true },
	       { .name = "abstract", .type = &qmp_bool, .optional = true });
MONITOR_OBJECT(typename_args, "device-list-properties-arg", { .name = "typename", .type = &qmp_str });
MONITOR_OBJECT(path_args, "qom-list-arg", { .name = "path", .type = &qmp_str });
MONITOR_OBJECT(get_args, "qom-get-arg", { .name = "path", .type = &qmp_str }, { .name = "property", .type = &qmp_str });
MONITOR_OBJECT(set_args, "qom-set-arg", { .name = "path", .type = &qmp_str }, { .name = "property", .type = &qmp_str },
	       { .name = "value", .type = &qmp_any });

const struct qmp_command monitor_qom_commands[] = {
	{ .name = "qom-list-types", .args = &list_types_args, .ret = &type_list, .run = qom_list_types },
	{ .name = "device-list-properties", .args = &typename_args, .ret = &property_list, .run = device_list_properties },
	{ .name = "qom-list-properties", .args = &typename_args, .ret = &property_list, .run = qom_list_properties },
	{ .name = "qom-list", .args = &path_args, .ret = &property_list, .run = qom_list },
	{ .name = "qom-get", .args = &get_args, .ret = &qmp_any, .run = qom_get },
	{ .name = "qom-set", .args = &set_args, .run = qom_set },
	{ 0 },
};
