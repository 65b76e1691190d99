/* SPDX-License-Identifier: MIT */
/* -smbios: texts and numbers of the structures that Kite makes, and structures from files. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli_private.h"
#include "vmm/err.h"
#include "vmm/util.h"

struct smbios_opts {
	char *text[CONFIG_SMBIOS_TEXTS];
	char *release, *uuid, *cpu_id;
	bool uefi;
	uint16_t max_speed, speed;
	struct strv value, path;
};

#define TEXT(k, i) { .key = k, .type = PROP_STRING, .offset = offsetof(struct smbios_opts, text[CONFIG_SMBIOS_##i]) }
#define STRING(k, f) { .key = k, .type = PROP_STRING, .offset = offsetof(struct smbios_opts, f) }
#define NUMBER(k, f) { .key = k, .type = PROP_U16, .offset = offsetof(struct smbios_opts, f), .max = UINT16_MAX }

static const struct prop_row bios_rows[] = {
	TEXT("vendor", BIOS_VENDOR), TEXT("version", BIOS_VERSION), TEXT("date", BIOS_DATE), STRING("release", release),
	{ .key = "uefi", .type = PROP_BOOL, .offset = offsetof(struct smbios_opts, uefi) },
	{ .key = NULL },
};
static const struct prop_row system_rows[] = {
	TEXT("manufacturer", SYSTEM_MANUFACTURER), TEXT("product", SYSTEM_PRODUCT), TEXT("version", SYSTEM_VERSION),
	TEXT("serial", SYSTEM_SERIAL), STRING("uuid", uuid), TEXT("sku", SYSTEM_SKU), TEXT("family", SYSTEM_FAMILY),
	{ .key = NULL },
};
static const struct prop_row board_rows[] = {
	TEXT("manufacturer", BOARD_MANUFACTURER), TEXT("product", BOARD_PRODUCT), TEXT("version", BOARD_VERSION),
	TEXT("serial", BOARD_SERIAL), TEXT("asset", BOARD_ASSET), TEXT("location", BOARD_LOCATION),
	{ .key = NULL },
};
static const struct prop_row chassis_rows[] = {
	TEXT("manufacturer", CHASSIS_MANUFACTURER), TEXT("version", CHASSIS_VERSION), TEXT("serial", CHASSIS_SERIAL),
	TEXT("asset", CHASSIS_ASSET), TEXT("sku", CHASSIS_SKU),
	{ .key = NULL },
};
static const struct prop_row cpu_rows[] = {
	TEXT("sock_pfx", CPU_SOCKET), TEXT("manufacturer", CPU_MANUFACTURER), TEXT("version", CPU_VERSION), TEXT("serial", CPU_SERIAL),
	TEXT("asset", CPU_ASSET), TEXT("part", CPU_PART), NUMBER("max-speed", max_speed), NUMBER("current-speed", speed),
	STRING("processor-id", cpu_id),
	{ .key = NULL },
};
static const struct prop_row oem_rows[] = {
	{ .key = "value", .type = PROP_STRINGS, .offset = offsetof(struct smbios_opts, value) },
	{ .key = "path", .type = PROP_STRINGS, .offset = offsetof(struct smbios_opts, path) },
	{ .key = NULL },
};
static const struct prop_row memory_rows[] = {
	TEXT("loc_pfx", MEMORY_LOCATOR), TEXT("bank", MEMORY_BANK), TEXT("manufacturer", MEMORY_MANUFACTURER),
	TEXT("serial", MEMORY_SERIAL), TEXT("asset", MEMORY_ASSET), TEXT("part", MEMORY_PART), NUMBER("speed", speed),
	{ .key = NULL },
};
/* Every row of a table has its type's offsets only. */
static const struct smbios_type {
	const char *name;
	struct prop_table table;
} types[] = {
	{ "0", { .rows = bios_rows } },  { "1", { .rows = system_rows } }, { "2", { .rows = board_rows } },
	{ "3", { .rows = chassis_rows } }, { "4", { .rows = cpu_rows } },  { "11", { .rows = oem_rows } },
	{ "17", { .rows = memory_rows } },
};

static int set_release(struct config_smbios *smbios, const char *text, struct err *err)
{
	unsigned major, minor;
	int end = 0;

	if (sscanf(text, "%3u.%3u%n", &major, &minor, &end) != 2 || text[end] || major > UINT8_MAX || minor > UINT8_MAX)
		return err_set(err, -EINVAL, "-smbios type=0: property 'release': expected MAJOR.MINOR, each 0 to 255, got '%s'", err_show(text).s);
	smbios->bios_release_set = true;
	smbios->bios_major = (uint8_t)major;
	smbios->bios_minor = (uint8_t)minor;
	return 0;
}

static int set_numbers(struct vm_config *cfg, const struct smbios_opts *o, const char *type, struct err *err)
{
	struct config_smbios *smbios = &cfg->smbios;

	if (o->release && set_release(smbios, o->release, err) < 0)
		return err->code;
	if (o->uuid && !cli_value_uuid(o->uuid, cfg->uuid))
		return err_set(err, -EINVAL, "-smbios type=1: property 'uuid': expected 8-4-4-4-12 hexadecimal digits, got '%s'", err_show(o->uuid).s);
	cfg->uuid_set |= o->uuid != NULL;
	if (o->cpu_id && !cli_value_uint(o->cpu_id, &smbios->cpu_id))
		return err_set(err, -EINVAL, "-smbios type=4: property 'processor-id': expected a number, got '%s'", err_show(o->cpu_id).s);
	smbios->bios |= !strcmp(type, "0");
	smbios->bios_uefi |= o->uefi;
	smbios->board |= !strcmp(type, "2");
	if (o->max_speed)
		smbios->cpu_max_speed = o->max_speed;
	if (o->speed)
		*(strcmp(type, "17") ? &smbios->cpu_speed : &smbios->memory_speed) = o->speed;
	return 0;
}

/* Takes the texts over. */
static void set_texts(struct config_smbios *smbios, struct smbios_opts *o)
{
	for (size_t i = 0; i < CONFIG_SMBIOS_TEXTS; i++) {
		if (!o->text[i])
			continue;
		free(smbios->text[i]);
		smbios->text[i] = o->text[i];
		o->text[i] = NULL;
	}
}

static int add_oem(struct config_smbios *smbios, const struct strv *list, bool paths, struct err *err)
{
	for (size_t i = 0; i < list->n; i++) {
		struct config_oem_string *oem = &smbios->oem[smbios->n_oem];

		if (smbios->n_oem == CONFIG_MAX_OEM_STRINGS)
			return err_set(err, -E2BIG, "-smbios type=11: more than %d strings", CONFIG_MAX_OEM_STRINGS);
		smbios->n_oem++;
		if (cli_set_string(paths ? &oem->path : &oem->text, list->v[i], err) < 0)
			return err->code;
	}
	return 0;
}

static int add_structure(struct cli *cli, const char *type, const struct prop_list *l, struct err *err)
{
	char what[24];
	struct prop_ctx ctx = { .what = what, .notes = &cli->notes, .err = err };
	struct smbios_opts opts = { .uefi = false };
	const struct smbios_type *t = NULL;
	int ret;

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (!strcmp(types[i].name, type))
			t = &types[i];
	if (!t)
		return err_set(err, -EINVAL, "-smbios: type '%s' is not available; known: 0, 1, 2, 3, 4, 11, 17, or file=FILE for any", err_show(type).s);
	snprintf(what, sizeof(what), "-smbios type=%s", t->name);
	ret = props_apply(l, &t->table, &opts, &ctx);
	if (ret == 0)
		ret = set_numbers(cli->cfg, &opts, type, err);
	if (ret == 0)
		ret = add_oem(&cli->cfg->smbios, &opts.value, false, err);
	if (ret == 0)
		ret = add_oem(&cli->cfg->smbios, &opts.path, true, err);
	if (ret == 0)
		set_texts(&cli->cfg->smbios, &opts);
	props_fini(&t->table, &opts);
	return ret;
}

struct file_opts {
	char *file;
};

static int add_file(struct cli *cli, const struct prop_list *l, const struct prop_ctx *ctx)
{
	static const struct prop_row rows[] = {
		{ .key = "file", .type = PROP_STRING, .offset = offsetof(struct file_opts, file), .min = 1, .required = true },
		{ .key = NULL },
	};
	static const struct prop_table table = { .rows = rows };
	struct config_smbios *smbios = &cli->cfg->smbios;
	struct file_opts opts = { .file = NULL };
	int ret;

	if (smbios->n_files == CONFIG_MAX_SMBIOS_FILES)
		return err_set(ctx->err, -E2BIG, "%s: more than %d files", ctx->what, CONFIG_MAX_SMBIOS_FILES);
	ret = props_apply(l, &table, &opts, ctx);
	if (ret == 0)
		ret = cli_set_string(&smbios->files[smbios->n_files], opts.file, ctx->err);
	if (ret == 0)
		smbios->n_files++;
	props_fini(&table, &opts);
	return ret;
}

static bool list_has(const struct prop_list *l, const char *key)
{
	for (size_t i = 0; i < l->n; i++)
		if (!strcmp(l->items[i].key, key))
			return true;
	return false;
}

int cli_smbios(struct cli *cli, const char *arg, struct err *err)
{
	struct prop_ctx ctx = { .what = "-smbios", .notes = &cli->notes, .err = err };
	struct prop_list l = { .items = NULL };
	char *type = NULL;
	int ret = prop_list_parse(&l, arg, NULL, &ctx);

	if (ret == 0)
		ret = prop_list_take(&l, "type", &type, &ctx);
	if (ret == 0 && !type && !list_has(&l, "file"))
		ret = err_set(err, -EINVAL, "-smbios: expected type=N, with N one of 0, 1, 2, 3, 4, 11, 17, or file=FILE");
	if (ret == 0)
		ret = type ? add_structure(cli, type, &l, err) : add_file(cli, &l, &ctx);
	free(type);
	prop_list_fini(&l);
	return ret;
}
