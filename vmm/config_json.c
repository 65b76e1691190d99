/* SPDX-License-Identifier: MIT */
/*
 * Writing, reading and checking walk the same tables. Reading counts an element of an array before it fills it, so that config_fini frees
 * whatever there is; what spans fields is checked at the end.
 */
#include "vmm/config_json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/config.h"
#include "vmm/config_fields.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define VERSION_KEY "kite-version"
#define DEPTH_MAX 64 /* of images upon images */
#define HEX_MAX 32

static uint64_t get_uint(const void *p, size_t size)
{
	uint64_t v = 0;

	memcpy(&v, p, size); /* little-endian, as the only architecture is */
	return v;
}

static int64_t get_sint(const void *p, size_t size)
{
	uint64_t v = get_uint(p, size);
	unsigned shift = (unsigned)(64 - 8 * size);

	return (int64_t)(v << shift) >> shift;
}

static size_t count_of(const struct config_field *f, const void *base)
{
	return f->count_size ? (size_t)get_uint((const char *)base + f->count_offset, f->count_size) : f->max_count;
}

/* ---- writing ---- */

static json_t *dump_table(const struct config_table *table, const void *base);

/* What JSON's integers do not hold is told as a string. */
static json_t *dump_uint(uint64_t v)
{
	return v <= INT64_MAX ? json_integer((json_int_t)v) : json_sprintf("%" PRIu64, v);
}

static json_t *dump_hex(const uint8_t *bytes, size_t size)
{
	char text[2 * HEX_MAX + 1] = "";

	for (size_t i = 0; i < size; i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	return json_string(text);
}

static json_t *dump_strv(const struct strv *strings)
{
	json_t *list = json_array();

	for (size_t i = 0; i < strings->n; i++)
		json_array_append_new(list, json_string(strings->v[i]));
	return list;
}

static json_t *dump_value(const struct config_field *f, const void *p)
{
	switch (f->kind) {
	case CONFIG_BOOL:
		return json_boolean(*(const bool *)p);
	case CONFIG_UINT:
		return dump_uint(get_uint(p, f->size));
	case CONFIG_SINT:
		return json_integer(get_sint(p, f->size));
	case CONFIG_ENUM:
		return json_string(f->names[get_uint(p, f->size)]);
	case CONFIG_STRING:
		return *(char *const *)p ? json_stringn_nocheck(*(char *const *)p, strlen(*(char *const *)p)) : json_null();
	case CONFIG_HEX:
		return dump_hex(p, f->size);
	case CONFIG_STRV:
		return dump_strv(p);
	case CONFIG_STRUCT:
		return dump_table(f->table, p);
	case CONFIG_POINTER:
		return *(void *const *)p ? dump_table(f->table, *(void *const *)p) : json_null();
	}
	return NULL;
}

static json_t *dump_field(const struct config_field *f, const void *base)
{
	const char *p = (const char *)base + f->offset;
	json_t *list;

	if (!f->max_count)
		return dump_value(f, p);
	list = json_array();
	for (size_t i = 0; i < count_of(f, base); i++, p += f->size)
		json_array_append_new(list, dump_value(f, p));
	return list;
}

static json_t *dump_table(const struct config_table *table, const void *base)
{
	json_t *object = json_object();

	for (const struct config_field *f = table->fields; f->name; f++)
		json_object_set_new(object, f->name, dump_field(f, base));
	return object;
}

/* Whether every key is there: without memory some are not. */
static bool dump_complete(const struct config_table *table, const json_t *object)
{
	size_t n = 0;

	while (table->fields[n].name)
		n++;
	return json_object_size(object) == n;
}

char *config_dump(const struct vm_config *cfg)
{
	json_t *object = dump_table(&config_table, cfg);
	char *text = NULL, *ended = NULL;

	if (dump_complete(&config_table, object) && json_object_set_new(object, VERSION_KEY, json_string(KITE_VERSION)) == 0)
		text = json_dumps(object, JSON_INDENT(2));
	json_decref(object);
	if (text && asprintf(&ended, "%s\n", text) < 0)
		ended = NULL;
	free(text);
	return ended;
}

/* ---- reading ---- */

struct reader {
	struct err *err;
	const struct config_table *table; /* of the field at hand */
	unsigned depth;
};

static int read_table(struct reader *r, const struct config_table *table, void *base, const json_t *object);

static int wrong(struct reader *r, const struct config_field *f, const char *expected)
{
	return err_set(r->err, -EINVAL, "%s: %s: expected %s", r->table->what, f->name, expected);
}

static int read_number(struct reader *r, const struct config_field *f, void *p, const json_t *value)
{
	uint64_t top = f->size == 8 ? UINT64_MAX : (UINT64_C(1) << 8 * f->size) - 1, v;
	bool negative = false;

	if (json_is_integer(value)) {
		negative = json_integer_value(value) < 0;
		v = (uint64_t)json_integer_value(value);
	} else {
		const char *text = json_string_value(value);
		char *end;

		if (!text || f->kind != CONFIG_UINT || *text < '0' || *text > '9')
			return wrong(r, f, "a number");
		errno = 0;
		v = strtoull(text, &end, 10);
		if (errno || *end)
			return wrong(r, f, "a number");
	}
	if (f->kind == CONFIG_SINT)
		top >>= 1;
	if (f->max && f->max < top)
		top = f->max;
	if (negative ? f->kind == CONFIG_UINT || (int64_t)v < f->min : v > top || (f->min > 0 && v < (uint64_t)f->min))
		return err_set(r->err, -ERANGE, "%s: %s: %s%" PRIu64 " is not from %" PRId64 " to %" PRIu64, r->table->what, f->name, negative ? "-" : "",
			       negative ? -v : v, f->min, top);
	if (f->power && (v & (v - 1)))
		return wrong(r, f, "a power of two");
	memcpy(p, &v, f->size);
	return 0;
}

static int read_enum(struct reader *r, const struct config_field *f, void *p, const json_t *value)
{
	const char *text = json_string_value(value);

	for (unsigned i = 0; text && f->names[i]; i++) {
		if (strcmp(f->names[i], text) == 0) {
			memcpy(p, &i, f->size);
			return 0;
		}
	}
	return err_set(r->err, -EINVAL, "%s: %s: not a value of it; there are %s and others", r->table->what, f->name, f->names[0]);
}

static int read_string(struct reader *r, const struct config_field *f, char **p, const json_t *value)
{
	const char *text = json_string_value(value);

	if (!text && (f->required || !json_is_null(value)))
		return wrong(r, f, f->required ? "a string" : "a string or null");
	if (text && f->max && strlen(text) > f->max)
		return err_set(r->err, -EINVAL, "%s: %s: longer than %" PRIu64 " bytes", r->table->what, f->name, f->max);
	if (text) {
		*p = strdup(text);
		if (!*p)
			return err_set(r->err, -ENOMEM, "no memory for the configuration");
	}
	return 0;
}

static int read_hex(struct reader *r, const struct config_field *f, uint8_t *p, const json_t *value)
{
	const char *text = json_string_value(value);

	if (!text || strlen(text) != 2 * f->size || strspn(text, "0123456789abcdefABCDEF") != 2 * f->size)
		return wrong(r, f, "hexadecimal digits, two a byte");
	for (size_t i = 0; i < f->size; i++) {
		char byte[3] = { text[2 * i], text[2 * i + 1] };

		p[i] = (uint8_t)strtoul(byte, NULL, 16);
	}
	return 0;
}

static int read_strv(struct reader *r, const struct config_field *f, struct strv *p, const json_t *value)
{
	const json_t *item;
	size_t i;

	if (!json_is_array(value) || json_array_size(value) > 256)
		return wrong(r, f, "a list of at most 256 strings");
	json_array_foreach((json_t *)value, i, item) {
		if (!json_is_string(item))
			return wrong(r, f, "a list of strings");
		if (strv_add(p, json_string_value(item), r->err) < 0)
			return r->err->code;
	}
	return 0;
}

static int read_pointer(struct reader *r, const struct config_field *f, void **p, const json_t *value)
{
	if (json_is_null(value))
		return 0;
	*p = calloc(1, f->table->size);
	if (!*p)
		return err_set(r->err, -ENOMEM, "no memory for the configuration");
	return read_table(r, f->table, *p, value);
}

static int read_value(struct reader *r, const struct config_field *f, void *p, const json_t *value)
{
	switch (f->kind) {
	case CONFIG_BOOL:
		*(bool *)p = json_is_true(value);
		return json_is_boolean(value) ? 0 : wrong(r, f, "true or false");
	case CONFIG_UINT:
	case CONFIG_SINT:
		return read_number(r, f, p, value);
	case CONFIG_ENUM:
		return read_enum(r, f, p, value);
	case CONFIG_STRING:
		return read_string(r, f, p, value);
	case CONFIG_HEX:
		return read_hex(r, f, p, value);
	case CONFIG_STRV:
		return read_strv(r, f, p, value);
	case CONFIG_STRUCT:
		return read_table(r, f->table, p, value);
	case CONFIG_POINTER:
		return read_pointer(r, f, p, value);
	}
	return -EINVAL;
}

static int read_array(struct reader *r, const struct config_field *f, void *base, const json_t *value)
{
	size_t n = json_array_size(value);
	char *p = (char *)base + f->offset;

	if (!json_is_array(value) || n > f->max_count || (!f->count_size && n != f->max_count))
		return err_set(r->err, -E2BIG, "%s: %s: expected a list of %s%u", r->table->what, f->name, f->count_size ? "at most " : "",
			       f->max_count);
	for (uint64_t i = 0; i < n; i++, p += f->size) {
		uint64_t count = i + 1;

		if (f->count_size)
			memcpy((char *)base + f->count_offset, &count, f->count_size);
		if (read_value(r, f, p, json_array_get(value, i)) < 0)
			return r->err->code;
	}
	return 0;
}

static const struct config_field *find_field(const struct config_table *table, const char *name)
{
	const struct config_field *f = table->fields;

	while (f->name && strcmp(f->name, name) != 0)
		f++;
	return f->name ? f : NULL;
}

static int read_table(struct reader *r, const struct config_table *table, void *base, const json_t *object)
{
	const struct config_table *outer = r->table;
	const char *key;
	const json_t *value;
	int ret = 0;

	r->table = table;
	if (!json_is_object(object))
		return err_set(r->err, -EINVAL, "%s: expected an object", table->what);
	if (r->depth == DEPTH_MAX)
		return err_set(r->err, -E2BIG, "%s: more than %d within each other", table->what, DEPTH_MAX);
	r->depth++;
	json_object_foreach((json_t *)object, key, value)
		if (!find_field(table, key))
			return err_set(r->err, -EINVAL, "%s: there is no '%.40s' in this version", table->what, key);
	for (const struct config_field *f = table->fields; f->name && ret == 0; f++) {
		value = json_object_get(object, f->name);
		if (!value)
			ret = err_set(r->err, -EINVAL, "%s: '%s' is missing: a file of -config holds everything that -dump-config shows", table->what, f->name);
		else
			ret = f->max_count ? read_array(r, f, base, value) : read_value(r, f, (char *)base + f->offset, value);
	}
	r->depth--;
	r->table = outer;
	return ret;
}

/* ---- checks across fields ---- */

struct names {
	struct strv defined[CONFIG_NAMES], used[CONFIG_NAMES];
};

static int note_name(struct names *names, const struct config_field *f, const char *name, bool defines, struct err *err)
{
	if (!name)
		return 0;
	if (defines) {
		if (strv_has(&names->defined[f->defines], name))
			return err_set(err, -EEXIST, "there are two with the id '%.80s'", name);
		return strv_add(&names->defined[f->defines], name, err);
	}
	if (!strv_has(&names->defined[f->refers], name))
		return err_set(err, -ENOENT, "%s '%.80s' is not defined", f->name, name);
	if (f->once && strv_has(&names->used[f->refers], name))
		return err_set(err, -EBUSY, "%s '%.80s' is used twice; give each its own", f->name, name);
	return f->once ? strv_add(&names->used[f->refers], name, err) : 0;
}

/* Notes what `base` defines, or what it refers to. */
static int walk_names(struct names *names, const struct config_table *table, const void *base, bool defines, struct err *err)
{
	for (const struct config_field *f = table->fields; f->name; f++) {
		const char *p = (const char *)base + f->offset;
		size_t n = f->max_count ? count_of(f, base) : 1;

		for (size_t i = 0; i < n; i++, p += f->size) {
			int ret = 0;

			if (f->kind == CONFIG_STRUCT)
				ret = walk_names(names, f->table, p, defines, err);
			else if (defines ? f->defines : f->refers)
				ret = note_name(names, f, *(char *const *)p, defines, err);
			if (ret < 0)
				return ret;
		}
	}
	return 0;
}

static int check_names(const struct vm_config *cfg, struct err *err)
{
	struct names names = { .defined = { { .n = 0 } } };
	int ret = walk_names(&names, &config_table, cfg, true, err);

	if (ret == 0)
		ret = walk_names(&names, &config_table, cfg, false, err);
	for (size_t i = 0; i < CONFIG_NAMES; i++) {
		strv_fini(&names.defined[i]);
		strv_fini(&names.used[i]);
	}
	return ret;
}

static int check_ports(const struct config_virtio_serial *serial, struct err *err)
{
	uint32_t taken = 0;

	for (size_t i = 0; i < serial->n_ports; i++) {
		unsigned nr = serial->ports[i].nr;

		if (nr >= serial->max_ports || taken & UINT32_C(1) << nr)
			return err_set(err, -EINVAL, "port %u of '%.80s' is there already, or one too many for its max_ports", nr, serial->id);
		taken |= UINT32_C(1) << nr;
	}
	return 0;
}

/* Only a CD-ROM drive can do without a file. */
static int check_image(const struct config_image *image, bool may_be_empty, const char *id, struct err *err)
{
	if (!image)
		return 0;
	if (!image->path && (!may_be_empty || image->backing || image->data_file))
		return err_set(err, -EINVAL, "drive '%.80s': an image without a path", id);
	if (check_image(image->backing, false, id, err) < 0)
		return err->code;
	return check_image(image->data_file, false, id, err);
}

static bool is_cd(const struct vm_config *cfg, const char *drive)
{
	for (size_t i = 0; i < cfg->n_scsi_units; i++)
		if (strcmp(cfg->scsi_units[i].drive, drive) == 0)
			return cfg->scsi_units[i].cd;
	return false;
}

static int check_disks(const struct vm_config *cfg, struct err *err)
{
	for (size_t i = 0; i < cfg->n_drives; i++)
		if (check_image(&cfg->drives[i].image, is_cd(cfg, cfg->drives[i].id), cfg->drives[i].id, err) < 0)
			return err->code;
	for (size_t i = 0; i < cfg->n_scsi_units; i++) {
		const struct config_scsi_unit *unit = &cfg->scsi_units[i];

		if (unit->scsi >= cfg->n_scsis)
			return err_set(err, -EINVAL, "'%.80s' is on adapter %zu, and there are %zu", unit->id, unit->scsi, cfg->n_scsis);
		for (size_t j = 0; j < i; j++)
			if (cfg->scsi_units[j].scsi == unit->scsi && cfg->scsi_units[j].target == unit->target && cfg->scsi_units[j].lun == unit->lun)
				return err_set(err, -EBUSY, "two SCSI devices are at scsi-id=%u,lun=%u", unit->target, unit->lun);
	}
	return 0;
}

/* What is made of a file or of text. */
static int check_texts(const struct vm_config *cfg, struct err *err)
{
	for (size_t i = 0; i < cfg->n_fw_cfg; i++)
		if (!cfg->fw_cfg[i].file == !cfg->fw_cfg[i].string)
			return err_set(err, -EINVAL, "the fw_cfg item '%s' needs one of file and string", cfg->fw_cfg[i].name);
	for (size_t i = 0; i < cfg->smbios.n_oem; i++)
		if (!cfg->smbios.oem[i].text == !cfg->smbios.oem[i].path)
			return err_set(err, -EINVAL, "an OEM string needs one of text and path");
	return 0;
}

static int check_guards(const struct vm_config *cfg, struct err *err)
{
	unsigned at_ports = 0;

	if (cfg->has_balloon && !cfg->balloon.id)
		return err_set(err, -EINVAL, "the balloon: id: expected a string");
	for (size_t i = 0; i < cfg->n_watchdogs; i++) {
		at_ports += cfg->watchdogs[i].ib700;
		if (!cfg->watchdogs[i].ib700 && cfg->machine == MACHINE_MICROVM)
			return err_set(err, -EINVAL, "the watchdog '%.80s' is one for PCI, which a microvm has not", cfg->watchdogs[i].id);
	}
	if (at_ports > 1)
		return err_set(err, -EINVAL, "two watchdogs are at the same ports");
	if (cfg->pvpanic_pci.used && cfg->machine == MACHINE_MICROVM)
		return err_set(err, -EINVAL, "pvpanic_pci: a microvm has no PCI");
	return 0;
}

static int check_whole(const struct vm_config *cfg, struct err *err)
{
	const struct config_smp *smp = &cfg->smp;
	unsigned serials = 0;

	if (smp->sockets * smp->cores * smp->threads != smp->cpus)
		return err_set(err, -EINVAL, "smp: %u sockets, %u cores, %u threads are not %u processors", smp->sockets, smp->cores, smp->threads,
			       smp->cpus);
	if (cfg->ram_size % 8192)
		return err_set(err, -EINVAL, "ram_size is not a multiple of 8192");
	for (size_t i = 0; i < cfg->n_serials; i++) {
		if (serials & 1u << cfg->serials[i].index)
			return err_set(err, -EINVAL, "two serial ports have the index %u", cfg->serials[i].index);
		serials |= 1u << cfg->serials[i].index;
	}
	if (cfg->machine == MACHINE_MICROVM && config_virtio_devices(cfg) > CONFIG_MAX_VIRTIO_MMIO)
		return err_set(err, -E2BIG, "a microvm has at most %d virtio devices", CONFIG_MAX_VIRTIO_MMIO);
	for (size_t i = 0; i < cfg->n_virtio_serials; i++)
		if (check_ports(&cfg->virtio_serials[i], err) < 0)
			return err->code;
	if (cfg->machine == MACHINE_MICROVM && !cfg->kernel)
		return err_set(err, -EINVAL, "a microvm needs a kernel");
	if (cfg->machine == MACHINE_NONE && cfg->kernel)
		return err_set(err, -EINVAL, "the machine none runs nothing, and has no use for a kernel");
	if (check_names(cfg, err) < 0 || check_disks(cfg, err) < 0 || config_check_monitors(cfg, err) < 0 || config_check_daemon(cfg, err) < 0 ||
	    config_check_sandbox(cfg, err) < 0)
		return err->code;
	if (check_guards(cfg, err) < 0)
		return err->code;
	return check_texts(cfg, err);
}

int config_read(struct vm_config *cfg, const char *text, size_t len, struct err *err)
{
	struct reader r = { .err = err, .table = &config_table };
	json_error_t why;
	json_t *object = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	const char *version = json_string_value(json_object_get(object, VERSION_KEY));
	int ret;

	if (!object)
		return err_set(err, -EINVAL, "line %d: %s", why.line, why.text);
	if (!version || strcmp(version, KITE_VERSION) != 0) {
		ret = err_set(err, -EINVAL, VERSION_KEY " is %.40s, and this is Kite " KITE_VERSION "; make the file again with -dump-config",
			      version ? version : "missing");
	} else {
		json_object_del(object, VERSION_KEY);
		ret = read_table(&r, &config_table, cfg, object);
	}
	json_decref(object);
	return ret == 0 ? check_whole(cfg, err) : ret;
}

int config_read_file(struct vm_config *cfg, const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), ret;
	char *text = malloc(CONFIG_JSON_MAX + 1);
	size_t len = 0;
	ssize_t n = 1;

	if (fd < 0 || !text) {
		ret = err_set_errno(err, fd < 0 ? -errno : -ENOMEM, "-config: cannot open '%s'", err_show(path).s);
		fd_close(&fd);
		free(text);
		return ret;
	}
	while (n > 0 && len <= CONFIG_JSON_MAX) {
		n = read(fd, text + len, CONFIG_JSON_MAX + 1 - len);
		len += n > 0 ? (size_t)n : 0;
	}
	if (n < 0)
		ret = err_set_errno(err, -errno, "-config: cannot read '%s'", err_show(path).s);
	else if (len > CONFIG_JSON_MAX)
		ret = err_set(err, -EFBIG, "-config: '%s' is longer than %u bytes", err_show(path).s, CONFIG_JSON_MAX);
	else if (config_read(cfg, text, len, err) < 0)
		ret = err_prefix(err, "-config %s", err_show(path).s);
	else
		ret = 0;
	fd_close(&fd);
	free(text);
	return ret;
}
