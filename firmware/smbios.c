/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation: two entry points that point to one table of structures. Each structure has a fixed part, then its
 * strings, each ended by a zero, then one more zero; the fixed part names strings by number. Handles count up from 0 in the
 * order of writing. The entry points come first in memory but are written last, when the table's size is known.
 */
#include "firmware/smbios.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "firmware/blob.h"
#include "firmware/smbios_tables.h"
#include "vmm/config.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define ENTRY_ALIGN 16
#define ENTRY64_OFF 0
#define ENTRY32_OFF SMBIOS_ENTRY32_OFF
#define TABLE_OFF SMBIOS_TABLE_OFF
#define SEARCH_END UINT64_C(0x100000) /* systems search for the entry points below here, and _SM_'s table has 16-bit length */
#define DIMM_SIZE (16 * GIB)
#define SMBIOS_NAME_MAX 128 /* of a socket; what is longer is cut off */
#define MANUFACTURER "Kite"
#define CPU_MHZ 2000 /* QEMU's too: nothing better is known of a virtual processor */
/* Old kernels take firmware dated before 2008 for broken and ignore parts of ACPI; the day itself means nothing. */
#define RELEASE_DATE "01/01/2025"

static_assert(SMBIOS_MAX_FILES >= CONFIG_MAX_SMBIOS_FILES, "as many files as the user can name");

struct builder {
	const struct smbios_platform *platform;
	struct blob out;
	uint16_t n;        /* structures so far */
	uint16_t handle;   /* the next */
	size_t max_struct; /* bytes of the largest */
};

/* The strings of one structure. */
struct strings {
	const char *s[CONFIG_MAX_OEM_STRINGS];
	uint8_t n;
};

/* Returns the number of the string in its structure; 0, which means none, for an empty one. */
static uint8_t string_add(struct strings *set, const char *s)
{
	if (!*s || set->n == ARRAY_SIZE(set->s))
		return 0;
	set->s[set->n] = s;
	return ++set->n;
}

/* What the user says, or else Kite. */
static const char *text(const struct smbios_platform *p, enum config_smbios_text which, const char *own)
{
	return p->user && p->user->text[which] ? p->user->text[which] : own;
}

static uint8_t text_add(struct strings *set, const struct smbios_platform *p, enum config_smbios_text which, const char *own)
{
	return string_add(set, text(p, which, own));
}

static void count(struct builder *b, size_t size)
{
	b->max_struct = (size_t)max_u64(b->max_struct, size);
	b->n++;
}

static bool handle_taken(const struct smbios_platform *p, uint16_t handle)
{
	for (size_t i = 0; i < p->n_files; i++)
		if (load_le16(p->files[i].data + offsetof(struct smbios_header, handle)) == handle)
			return true;
	return false;
}

/* Whether a file is of that type, so that Kite's own structures of it are left out. */
static bool replaced(const struct builder *b, uint8_t type)
{
	for (size_t i = 0; i < b->platform->n_files; i++)
		if (b->platform->files[i].data[0] == type)
			return true;
	return false;
}

/* Appends a structure that begins with a struct smbios_header. Returns its handle. */
static uint16_t put(struct builder *b, uint8_t type, void *fixed, size_t len, const struct strings *set)
{
	struct smbios_header h = { .type = type, .length = (uint8_t)len };
	size_t start = b->out.len;

	if (replaced(b, type))
		return SMBIOS_NO_HANDLE;
	while (handle_taken(b->platform, b->handle))
		b->handle++;
	h.handle = le16_of(b->handle);
	memcpy(fixed, &h, sizeof(h));
	blob_put(&b->out, fixed, len);
	for (uint8_t i = 0; set && i < set->n; i++)
		blob_put(&b->out, set->s[i], strlen(set->s[i]) + 1);
	if (!set || set->n == 0)
		blob_put_byte(&b->out, 0);
	blob_put_byte(&b->out, 0);
	count(b, b->out.len - start);
	return b->handle++;
}

static void put_bios(struct builder *b)
{
	const struct smbios_platform *p = b->platform;
	struct strings set = { .n = 0 };
	struct smbios_type0 t = {
		.characteristics = le64_of(SMBIOS_BIOS_NOT_SUPPORTED),
		.ext = { SMBIOS_BIOS_EXT0_ACPI, SMBIOS_BIOS_EXT1_VM },
		.bios_major = 0xff, /* the four: no numbers */
		.bios_minor = 0xff,
		.ec_major = 0xff,
		.ec_minor = 0xff,
	};

	if (p->firmware && !(p->user && p->user->bios))
		return;
	t.vendor = text_add(&set, p, CONFIG_SMBIOS_BIOS_VENDOR, MANUFACTURER);
	t.version = text_add(&set, p, CONFIG_SMBIOS_BIOS_VERSION, KITE_VERSION);
	t.release_date = text_add(&set, p, CONFIG_SMBIOS_BIOS_DATE, RELEASE_DATE);
	if (p->user && p->user->bios_release_set) {
		t.bios_major = p->user->bios_major;
		t.bios_minor = p->user->bios_minor;
	}
	if (p->user && p->user->bios_uefi)
		t.ext[1] |= SMBIOS_BIOS_EXT1_UEFI;
	put(b, 0, &t, sizeof(t), &set);
}

static void put_system(struct builder *b)
{
	static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
	const struct smbios_platform *p = b->platform;
	struct strings set = { .n = 0 };
	struct smbios_type1 t = { .wake_up = SMBIOS_WAKE_POWER_SWITCH };

	t.manufacturer = text_add(&set, p, CONFIG_SMBIOS_SYSTEM_MANUFACTURER, MANUFACTURER);
	t.product = text_add(&set, p, CONFIG_SMBIOS_SYSTEM_PRODUCT, p->product);
	t.version = text_add(&set, p, CONFIG_SMBIOS_SYSTEM_VERSION, p->version);
	t.serial = text_add(&set, p, CONFIG_SMBIOS_SYSTEM_SERIAL, "");
	t.sku = text_add(&set, p, CONFIG_SMBIOS_SYSTEM_SKU, "");
	t.family = text_add(&set, p, CONFIG_SMBIOS_SYSTEM_FAMILY, "");
	for (size_t i = 0; i < sizeof(t.uuid); i++)
		t.uuid[i] = p->uuid[order[i]];
	put(b, 1, &t, sizeof(t), &set);
}

/* The board is in the chassis, so it comes after. */
static void put_board(struct builder *b, uint16_t chassis)
{
	const struct smbios_platform *p = b->platform;
	struct strings set = { .n = 0 };
	struct smbios_type2 t = {
		.features = SMBIOS_BOARD_HOSTING,
		.chassis = le16_of(chassis),
		.type = SMBIOS_BOARD_MOTHERBOARD,
	};

	if (!p->user || !p->user->board)
		return;
	t.manufacturer = text_add(&set, p, CONFIG_SMBIOS_BOARD_MANUFACTURER, MANUFACTURER);
	t.product = text_add(&set, p, CONFIG_SMBIOS_BOARD_PRODUCT, p->product);
	t.version = text_add(&set, p, CONFIG_SMBIOS_BOARD_VERSION, p->version);
	t.serial = text_add(&set, p, CONFIG_SMBIOS_BOARD_SERIAL, "");
	t.asset = text_add(&set, p, CONFIG_SMBIOS_BOARD_ASSET, "");
	t.location = text_add(&set, p, CONFIG_SMBIOS_BOARD_LOCATION, "");
	put(b, 2, &t, sizeof(t), &set);
}

static uint16_t put_chassis(struct builder *b)
{
	const struct smbios_platform *p = b->platform;
	struct strings set = { .n = 0 };
	struct smbios_type3 t = {
		.type = SMBIOS_CHASSIS_OTHER,
		.bootup_state = SMBIOS_STATE_SAFE,
		.power_state = SMBIOS_STATE_SAFE,
		.thermal_state = SMBIOS_STATE_SAFE,
		.security = SMBIOS_STATE_UNKNOWN,
	};

	t.manufacturer = text_add(&set, p, CONFIG_SMBIOS_CHASSIS_MANUFACTURER, MANUFACTURER);
	t.version = text_add(&set, p, CONFIG_SMBIOS_CHASSIS_VERSION, p->version);
	t.serial = text_add(&set, p, CONFIG_SMBIOS_CHASSIS_SERIAL, "");
	t.asset = text_add(&set, p, CONFIG_SMBIOS_CHASSIS_ASSET, "");
	t.sku = text_add(&set, p, CONFIG_SMBIOS_CHASSIS_SKU, "");
	return put(b, 3, &t, sizeof(t), &set);
}

static void put_oem(struct builder *b)
{
	const struct config_smbios *user = b->platform->user;
	struct strings set = { .n = 0 };
	struct smbios_type11 t = { .count = 0 };

	for (size_t i = 0; user && i < user->n_oem; i++)
		string_add(&set, b->platform->oem[i]);
	t.count = set.n;
	if (set.n > 0)
		put(b, 11, &t, sizeof(t), &set);
}

static void put_files(struct builder *b)
{
	for (size_t i = 0; i < b->platform->n_files; i++) {
		blob_put(&b->out, b->platform->files[i].data, b->platform->files[i].size);
		count(b, b->platform->files[i].size);
	}
}

static uint8_t count8(uint64_t n)
{
	return n < SMBIOS_CPU_SEE_COUNT2 ? (uint8_t)n : SMBIOS_CPU_SEE_COUNT2;
}

static void put_cpu(struct builder *b, unsigned socket)
{
	const struct smbios_platform *p = b->platform;
	uint64_t threads = (uint64_t)p->cores * p->threads; /* at most SMBIOS_CPU_MAX_COUNT */
	struct strings set = { .n = 0 };
	struct smbios_type4 t = {
		.type = SMBIOS_CPU_CENTRAL,
		.family = SMBIOS_CPU_OTHER,
		.family2 = le16_of(SMBIOS_CPU_OTHER),
		.status = SMBIOS_CPU_POPULATED,
		.upgrade = SMBIOS_CPU_OTHER,
		.l1_cache = le16_of(SMBIOS_NO_HANDLE),
		.l2_cache = le16_of(SMBIOS_NO_HANDLE),
		.l3_cache = le16_of(SMBIOS_NO_HANDLE),
		.id = le64_of(p->user && p->user->cpu_id ? p->user->cpu_id : (uint64_t)p->cpu_features << 32 | p->cpu_signature),
		.max_speed = le16_of(p->user && p->user->cpu_max_speed ? p->user->cpu_max_speed : CPU_MHZ),
		.speed = le16_of(p->user && p->user->cpu_speed ? p->user->cpu_speed : CPU_MHZ),
		.core_count = count8(p->cores),
		.core_enabled = count8(p->cores),
		.thread_count = count8(threads),
		.characteristics = le16_of((uint16_t)(SMBIOS_CPU_64BIT | (p->cores > 1 ? SMBIOS_CPU_MULTI_CORE : 0) |
						      (p->threads > 1 ? SMBIOS_CPU_MULTI_THREAD : 0))),
		.core_count2 = le16_of((uint16_t)p->cores),
		.core_enabled2 = le16_of((uint16_t)p->cores),
		.thread_count2 = le16_of((uint16_t)threads),
	};
	const char *prefix = text(p, CONFIG_SMBIOS_CPU_SOCKET, NULL);
	char name[SMBIOS_NAME_MAX];

	snprintf(name, sizeof(name), "%s%u", prefix ? prefix : "CPU ", socket);
	t.socket = string_add(&set, name);
	t.manufacturer = text_add(&set, p, CONFIG_SMBIOS_CPU_MANUFACTURER, MANUFACTURER);
	t.version = text_add(&set, p, CONFIG_SMBIOS_CPU_VERSION, p->version);
	t.serial = text_add(&set, p, CONFIG_SMBIOS_CPU_SERIAL, "");
	t.asset = text_add(&set, p, CONFIG_SMBIOS_CPU_ASSET, "");
	t.part = text_add(&set, p, CONFIG_SMBIOS_CPU_PART, "");
	put(b, 4, &t, sizeof(t), &set);
}

static uint16_t put_array(struct builder *b, uint64_t ram, uint16_t n_dimms)
{
	uint64_t kib = align_up(ram, KIB) / KIB;
	struct smbios_type16 t = {
		.location = SMBIOS_ARRAY_BOARD,
		.use = SMBIOS_ARRAY_SYSTEM,
		.ecc = SMBIOS_ECC_UNKNOWN,
		.max_capacity = le32_of(kib < SMBIOS_ARRAY_SEE_EXT ? (uint32_t)kib : SMBIOS_ARRAY_SEE_EXT),
		.ext_max_capacity = le64_of(kib < SMBIOS_ARRAY_SEE_EXT ? 0 : ram),
		.error_handle = le16_of(SMBIOS_NO_ERROR_INFO),
		.n_devices = le16_of(n_dimms),
	};

	return put(b, 16, &t, sizeof(t), NULL);
}

/* `size` is rounded up to the MiB in which a memory device counts; type 19 is exact. */
static void put_dimm(struct builder *b, uint16_t array, unsigned index, uint64_t size)
{
	struct strings set = { .n = 0 };
	struct smbios_type17 t = {
		.array = le16_of(array),
		.error_handle = le16_of(SMBIOS_NO_ERROR_INFO),
		.total_width = le16_of(SMBIOS_WIDTH_UNKNOWN),
		.data_width = le16_of(SMBIOS_WIDTH_UNKNOWN),
		.size = le16_of((uint16_t)(align_up(size, MIB) / MIB)),
		.form_factor = SMBIOS_DIMM_FORM,
		.type = SMBIOS_DIMM_RAM,
		.type_detail = le16_of(SMBIOS_DIMM_DETAIL_OTHER),
	};
	const struct smbios_platform *p = b->platform;
	const char *prefix = text(p, CONFIG_SMBIOS_MEMORY_LOCATOR, NULL);
	char name[SMBIOS_NAME_MAX];

	snprintf(name, sizeof(name), "%s%u", prefix ? prefix : "DIMM ", index);
	t.locator = string_add(&set, name);
	t.bank = text_add(&set, p, CONFIG_SMBIOS_MEMORY_BANK, "");
	t.manufacturer = text_add(&set, p, CONFIG_SMBIOS_MEMORY_MANUFACTURER, MANUFACTURER);
	t.serial = text_add(&set, p, CONFIG_SMBIOS_MEMORY_SERIAL, "");
	t.asset = text_add(&set, p, CONFIG_SMBIOS_MEMORY_ASSET, "");
	t.part = text_add(&set, p, CONFIG_SMBIOS_MEMORY_PART, "");
	t.speed = t.configured_speed = le16_of(p->user ? p->user->memory_speed : 0);
	put(b, 17, &t, sizeof(t), &set);
}
static_assert(DIMM_SIZE / MIB < 0x7fff, "a memory device's size fits its 16-bit field");

static void put_range(struct builder *b, uint16_t array, uint64_t start, uint64_t size)
{
	uint64_t last = start + size - 1;
	bool ext = last / KIB >= SMBIOS_MAPPED_SEE_EXT;
	struct smbios_type19 t = {
		.start = le32_of(ext ? SMBIOS_MAPPED_SEE_EXT : (uint32_t)(start / KIB)),
		.end = le32_of(ext ? SMBIOS_MAPPED_SEE_EXT : (uint32_t)(last / KIB)),
		.array = le16_of(array),
		.partition_width = 1,
		.ext_start = le64_of(ext ? start : 0),
		.ext_end = le64_of(ext ? last : 0),
	};

	put(b, 19, &t, sizeof(t), NULL);
}

static void put_memory(struct builder *b, const struct smbios_platform *p)
{
	uint64_t ram = p->ram_below_4g + p->ram_above_4g;
	uint64_t n_dimms = (ram - 1) / DIMM_SIZE + 1;
	uint16_t array;

	if (n_dimms > UINT16_MAX) {
		blob_fail(&b->out, -ENOSPC);
		return;
	}
	array = put_array(b, ram, (uint16_t)n_dimms);
	for (uint64_t i = 0; i < n_dimms && !b->out.error; i++)
		put_dimm(b, array, (unsigned)i, min_u64(ram - i * DIMM_SIZE, DIMM_SIZE));
	if (p->ram_below_4g > 0)
		put_range(b, array, 0, p->ram_below_4g);
	if (p->ram_above_4g > 0)
		put_range(b, array, 4 * GIB, p->ram_above_4g);
}

static void put_table(struct builder *b)
{
	struct smbios_type32 boot = { .status = 0 };
	struct smbios_type127 end;

	put_bios(b);
	put_system(b);
	put_board(b, put_chassis(b));
	for (unsigned i = 0; i < b->platform->sockets && !b->out.error; i++)
		put_cpu(b, i);
	put_oem(b);
	put_memory(b, b->platform);
	put_files(b);
	put(b, 32, &boot, sizeof(boot), NULL);
	put(b, 127, &end, sizeof(end), NULL);
}

static void fill_entry64(struct blob *out, uint64_t table, size_t len)
{
	struct smbios_entry64 e = {
		.length = sizeof(e),
		.major = 3,
		.revision = 1,
		.table_max_size = le32_of((uint32_t)len),
		.table_addr = le64_of(table),
	};
	uint8_t sum;

	memcpy(e.anchor, "_SM3_", sizeof(e.anchor));
	blob_set(out, ENTRY64_OFF, &e, sizeof(e));
	sum = blob_checksum(out, ENTRY64_OFF, sizeof(e));
	blob_set(out, ENTRY64_OFF + offsetof(struct smbios_entry64, checksum), &sum, 1);
}

static void fill_entry32(struct blob *out, uint64_t table, size_t len, const struct builder *b)
{
	const size_t dmi = offsetof(struct smbios_entry32, dmi_anchor);
	struct smbios_entry32 e = {
		.length = sizeof(e),
		.major = 2,
		.minor = 8,
		.max_structure_size = le16_of((uint16_t)b->max_struct),
		.table_length = le16_of((uint16_t)len),
		.table_addr = le32_of((uint32_t)table),
		.n_structures = le16_of(b->n),
		.bcd_revision = 0x28,
	};
	uint8_t sum;

	memcpy(e.anchor, "_SM_", sizeof(e.anchor));
	memcpy(e.dmi_anchor, "_DMI_", sizeof(e.dmi_anchor));
	blob_set(out, ENTRY32_OFF, &e, sizeof(e));
	sum = blob_checksum(out, ENTRY32_OFF + dmi, sizeof(e) - dmi);
	blob_set(out, ENTRY32_OFF + offsetof(struct smbios_entry32, dmi_checksum), &sum, 1);
	sum = blob_checksum(out, ENTRY32_OFF, sizeof(e));
	blob_set(out, ENTRY32_OFF + offsetof(struct smbios_entry32, checksum), &sum, 1);
}
static_assert(ENTRY64_OFF + sizeof(struct smbios_entry64) <= ENTRY32_OFF && ENTRY32_OFF % ENTRY_ALIGN == 0 &&
	      ENTRY32_OFF + sizeof(struct smbios_entry32) <= TABLE_OFF, "the entry points have room");

int smbios_file_check(const struct smbios_file *file, const char *path, struct err *err)
{
	size_t at = file->size >= sizeof(struct smbios_header) ? file->data[offsetof(struct smbios_header, length)] : 0;

	if (at < sizeof(struct smbios_header) || file->size < at + 2)
		return err_set(err, -EINVAL, "-smbios file: %s is too short for an SMBIOS structure", path);
	if (file->data[0] == 127)
		return err_set(err, -EINVAL, "-smbios file: %s is an end of the table, type 127, which Kite writes itself", path);
	/* The strings end where two zeroes follow each other for the first time. */
	while (at + 2 < file->size && load_le16(file->data + at))
		at++;
	if (at + 2 != file->size || load_le16(file->data + at))
		return err_set(err, -EINVAL, "-smbios file: %s does not end with its strings and two zeroes", path);
	return 0;
}

static int check(const struct smbios_platform *p, struct err *err)
{
	uint64_t end;

	if (p->sockets == 0 || p->cores == 0 || p->threads == 0 || (uint64_t)p->cores * p->threads > SMBIOS_CPU_MAX_COUNT)
		return err_set(err, -EINVAL, "SMBIOS cannot describe %u CPU sockets of %u cores with %u threads", p->sockets,
			       p->cores, p->threads);
	/* What ends in the address space has a sum that fits too. */
	if (p->ram_below_4g > 4 * GIB || !add_u64(4 * GIB, p->ram_above_4g, &end) || p->ram_below_4g + p->ram_above_4g == 0)
		return err_set(err, -EINVAL, "SMBIOS cannot describe 0x%llx bytes of memory below 4 GiB and 0x%llx above",
			       (unsigned long long)p->ram_below_4g, (unsigned long long)p->ram_above_4g);
	return 0;
}

int smbios_build(const struct smbios_platform *platform, uint64_t base, size_t max, struct smbios_tables *out,
		 struct err *err)
{
	static const uint8_t entries[TABLE_OFF];
	uint64_t room = base < SEARCH_END ? SEARCH_END - base : 0;
	struct builder b = { .platform = platform, .handle = platform->firmware ? 1 : 0 };
	int r = check(platform, err);

	*out = (struct smbios_tables){ .data = NULL };
	if (r < 0)
		return r;
	blob_init(&b.out, (size_t)min_u64(min_u64(max, room), UINT16_MAX));
	blob_put(&b.out, entries, sizeof(entries));
	put_table(&b);
	fill_entry64(&b.out, base + TABLE_OFF, b.out.len - TABLE_OFF);
	fill_entry32(&b.out, base + TABLE_OFF, b.out.len - TABLE_OFF, &b);
	r = b.out.error;
	if (!r) {
		*out = (struct smbios_tables){ .data = b.out.data, .size = b.out.len };
		return 0;
	}
	blob_fini(&b.out);
	if (r == -ENOSPC)
		return err_set(err, r, "the SMBIOS tables of %u CPU sockets and %llu MiB of memory do not fit the %llu bytes kept for them",
			       platform->sockets, (unsigned long long)((platform->ram_below_4g + platform->ram_above_4g) / MIB),
			       (unsigned long long)min_u64(max, room));
	return err_set_errno(err, r, "cannot build the SMBIOS tables");
}

void smbios_tables_free(struct smbios_tables *tables)
{
	free(tables->data);
	*tables = (struct smbios_tables){ .data = NULL };
}
