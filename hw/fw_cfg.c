/* SPDX-License-Identifier: MIT */
/*
 * Theory of operation: one item is selected at a time, and `offset` says how far it has been read, by the data port, by DMA or skipped. What is
 * read behind an item's end, or of an item that does not exist, is zeroes.
 *
 * A DMA request is 16 bytes in guest memory, big-endian: control, length, address. It is copied once; then `control` is written back, zero for
 * "done", or the error bit. A request outside of RAM cannot be told so; it is logged. The guest's length is used only against a range
 * that guest_mem has checked, and for the item's own rest.
 */
#include "hw/fw_cfg.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "hw/devices.h"
#include "vmm/bus.h"
#include "vmm/endian.h"
#include "vmm/err.h"
#include "vmm/guest_mem.h"
#include "vmm/log.h"
#include "vmm/util.h"

#define DATA_OFFSET 1 /* of the data port, behind the selector's first byte */
#define DMA_OFFSET 4
#define DMA_PORTS 8
#define MAX_LEGACY 16 /* items that are no files */

#define ID_TRADITIONAL BIT(0)
#define ID_DMA BIT(1)

#define DMA_ERROR BIT(0)
#define DMA_READ BIT(1)
#define DMA_SKIP BIT(2)
#define DMA_SELECT BIT(3)
#define DMA_WRITE BIT(4)

static const uint8_t dma_signature[DMA_PORTS] = { 'Q', 'E', 'M', 'U', ' ', 'C', 'F', 'G' };

struct dma_request {
	uint32_t control, length;
	uint64_t address;
};
#define DMA_REQUEST_SIZE 16

/* An entry of the directory. */
struct wire_file {
	uint8_t size[4], select[2], reserved[2]; /* big-endian */
	char name[FW_CFG_MAX_NAME + 1];
};
static_assert(sizeof(struct wire_file) == 64, "a file of the directory");

struct item {
	uint16_t key;
	uint8_t *data; /* owned */
	size_t size;
};

/* What the guest can see beside the items. */
struct fw_cfg_regs {
	uint16_t selected;
	uint32_t dma_high;
	uint64_t offset;
};

struct fw_cfg {
	struct device dev;
	pthread_mutex_t lock;
	struct fw_cfg_regs r;
	struct item items[MAX_LEGACY + FW_CFG_MAX_FILES];
	size_t n_items;
	uint32_t n_files;
	struct wire_file files[FW_CFG_MAX_FILES]; /* file n has key FW_CFG_FILE_FIRST + n */
	struct log_limit log;

	const struct guest_mem *mem;
	struct bus *pio;
	struct bus_region ports, dma;
};

static void store_be(uint8_t *p, uint64_t v, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		p[i] = (uint8_t)(v >> (8 * (len - 1 - i)));
}

static uint64_t load_be(const uint8_t *p, unsigned len)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < len; i++)
		v = v << 8 | p[i];
	return v;
}

/* ---- items ---- */

static const struct item *find_item(const struct fw_cfg *s, uint16_t key)
{
	for (size_t i = 0; i < s->n_items; i++)
		if (s->items[i].key == key)
			return &s->items[i];
	return NULL;
}

static int add_item(struct fw_cfg *s, uint16_t key, const void *data, size_t size)
{
	struct item *item = &s->items[s->n_items];

	if (s->n_items == ARRAY_SIZE(s->items))
		return -ENOSPC;
	if (find_item(s, key))
		return -EEXIST;
	item->key = key;
	item->size = size;
	item->data = malloc(size + 1); /* never of size 0 */
	if (!item->data)
		return -ENOMEM;
	memcpy(item->data, data, size);
	s->n_items++;
	return 0;
}

int fw_cfg_add_item(struct device *dev, uint16_t key, const void *data, size_t size, struct err *err)
{
	struct fw_cfg *s = CONTAINER_OF(dev, struct fw_cfg, dev);
	int r = add_item(s, key, data, size);

	return r < 0 ? err_set_errno(err, r, "fw_cfg item 0x%x", key) : 0;
}

static const struct wire_file *find_file(const struct fw_cfg *s, const char *name)
{
	for (uint32_t i = 0; i < s->n_files; i++)
		if (!strcmp(s->files[i].name, name))
			return &s->files[i];
	return NULL;
}

/* The directory is the item whose bytes change with each file. */
static int update_directory(struct fw_cfg *s)
{
	struct item *dir = &s->items[find_item(s, FW_CFG_FILE_DIR) - s->items];
	size_t size = 4 + s->n_files * sizeof(s->files[0]);
	uint8_t *data = malloc(size);

	if (!data)
		return -ENOMEM;
	store_be(data, s->n_files, 4);
	memcpy(data + 4, s->files, s->n_files * sizeof(s->files[0]));
	free(dir->data);
	dir->data = data;
	dir->size = size;
	return 0;
}

int fw_cfg_add_file(struct device *dev, const char *name, const void *data, size_t size, struct err *err)
{
	struct fw_cfg *s = CONTAINER_OF(dev, struct fw_cfg, dev);
	struct wire_file *file = &s->files[s->n_files];
	uint16_t key = (uint16_t)(FW_CFG_FILE_FIRST + s->n_files);
	int r;

	if (!*name || strlen(name) > FW_CFG_MAX_NAME)
		return err_set(err, -EINVAL, "fw_cfg: the name '%.64s' must have 1 to %d bytes", name, FW_CFG_MAX_NAME);
	if (find_file(s, name))
		return err_set(err, -EEXIST, "fw_cfg: there is a file '%s' already", name);
	if (s->n_files == FW_CFG_MAX_FILES)
		return err_set(err, -ENOSPC, "fw_cfg: '%s' is one too many, there is room for %d files", name, FW_CFG_MAX_FILES);
	if (size > UINT32_MAX)
		return err_set(err, -E2BIG, "fw_cfg: '%s' has more than 4 GiB", name);
	r = add_item(s, key, data, size);
	if (r == 0) {
		*file = (struct wire_file){ .reserved = { 0 } };
		store_be(file->size, size, 4);
		store_be(file->select, key, 2);
		strcpy(file->name, name); /* its length was checked */
		s->n_files++;
		r = update_directory(s);
	}
	return r < 0 ? err_set_errno(err, r, "fw_cfg: '%s'", name) : 0;
}

const void *fw_cfg_file(const struct device *dev, const char *name, size_t *size)
{
	const struct fw_cfg *s = CONTAINER_OF(dev, const struct fw_cfg, dev);
	const struct wire_file *file = find_file(s, name);
	const struct item *item = file ? find_item(s, (uint16_t)load_be(file->select, 2)) : NULL;

	if (!item)
		return NULL;
	*size = item->size;
	return item->data;
}

/* ---- ports ---- */

static void select_item(struct fw_cfg *s, uint16_t key)
{
	s->r.selected = key;
	s->r.offset = 0;
}

/* What is left of the selected item: its bytes and how many. */
static const uint8_t *rest(const struct fw_cfg *s, size_t *len)
{
	const struct item *item = find_item(s, s->r.selected);

	*len = 0;
	if (!item || s->r.offset >= item->size)
		return NULL;
	*len = item->size - (size_t)s->r.offset;
	return item->data + s->r.offset;
}

static uint8_t read_byte(struct fw_cfg *s)
{
	size_t left;
	const uint8_t *p = rest(s, &left);

	s->r.offset++;
	return p ? *p : 0;
}

static void ports_read(void *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	struct fw_cfg *s = dev;

	if (offset + len <= DATA_OFFSET)
		return; /* the selector cannot be read */
	pthread_mutex_lock(&s->lock);
	buf[DATA_OFFSET - offset] = read_byte(s);
	pthread_mutex_unlock(&s->lock);
}

/* Only a word selects; nothing can be written to an item. */
static void ports_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct fw_cfg *s = dev;

	if (offset != 0 || len != 2)
		return;
	pthread_mutex_lock(&s->lock);
	select_item(s, load_le16(buf));
	pthread_mutex_unlock(&s->lock);
}

static const struct bus_ops ports_ops = { .read = ports_read, .write = ports_write, .width = 2 };

/* ---- DMA ---- */

static bool dma_read(struct fw_cfg *s, const struct dma_request *dma)
{
	size_t left, n;
	const uint8_t *p = rest(s, &left);
	uint8_t *to = gm_map(s->mem, dma->address, dma->length);

	if (!to)
		return false;
	n = (size_t)min_u64(left, dma->length);
	if (n)
		memcpy(to, p, n);
	/* The range was found whole. */
	if (dma->length > n)
		gm_fill(s->mem, dma->address + n, 0, dma->length - n);
	return true;
}

/* Returns what becomes of the control word. */
static uint32_t dma_serve(struct fw_cfg *s, const struct dma_request *dma)
{
	bool ok = true;

	if (dma->control & DMA_SELECT)
		select_item(s, (uint16_t)(dma->control >> 16));
	if (dma->control & DMA_READ)
		ok = dma->length == 0 || dma_read(s, dma);
	else if (dma->control & DMA_WRITE)
		ok = false; /* items are read-only */
	else if (!(dma->control & DMA_SKIP))
		return 0;
	if (!ok) {
		log_guest(&s->log, s->dev.name, "DMA of 0x%x bytes at 0x%llx of item 0x%x: %s", dma->length, (unsigned long long)dma->address,
			  s->r.selected, dma->control & DMA_READ ? "not in memory" : "items are read-only");
		return DMA_ERROR;
	}
	if (!add_u64(s->r.offset, dma->length, &s->r.offset))
		s->r.offset = UINT64_MAX;
	return 0;
}

static void dma_start(struct fw_cfg *s, uint64_t at)
{
	uint8_t wire[DMA_REQUEST_SIZE], control[4];
	struct dma_request dma;

	if (gm_read(s->mem, at, wire, sizeof(wire)) < 0) {
		log_guest(&s->log, s->dev.name, "a DMA request at 0x%llx is not in memory", (unsigned long long)at);
		return;
	}
	dma = (struct dma_request){
		.control = (uint32_t)load_be(wire, 4), .length = (uint32_t)load_be(wire + 4, 4), .address = load_be(wire + 8, 8),
	};
	store_be(control, dma_serve(s, &dma), sizeof(control));
	gm_write(s->mem, at, control, sizeof(control)); /* it was there a moment ago, and memory stays */
}

static void dma_port_read(void *dev, uint64_t offset, uint8_t *buf, unsigned len)
{
	(void)dev;
	memcpy(buf, dma_signature + offset, len);
}

static void dma_port_write(void *dev, uint64_t offset, const uint8_t *buf, unsigned len)
{
	struct fw_cfg *s = dev;

	if (len != 4 || offset % 4)
		return;
	pthread_mutex_lock(&s->lock);
	if (offset == 0) {
		s->r.dma_high = (uint32_t)load_be(buf, 4);
	} else {
		dma_start(s, (uint64_t)s->r.dma_high << 32 | load_be(buf, 4));
		s->r.dma_high = 0;
	}
	pthread_mutex_unlock(&s->lock);
}

static const struct bus_ops dma_ops = { .read = dma_port_read, .write = dma_port_write, .width = 4 };

/* ---- life cycle ---- */

static void fw_cfg_reset(struct device *dev)
{
	struct fw_cfg *s = CONTAINER_OF(dev, struct fw_cfg, dev);

	pthread_mutex_lock(&s->lock);
	s->r = (struct fw_cfg_regs){ 0 };
	pthread_mutex_unlock(&s->lock);
}

static void fw_cfg_free(struct fw_cfg *s)
{
	for (size_t i = 0; i < s->n_items; i++)
		free(s->items[i].data);
	pthread_mutex_destroy(&s->lock);
	free(s);
}

static void fw_cfg_destroy(struct device *dev)
{
	struct fw_cfg *s = CONTAINER_OF(dev, struct fw_cfg, dev);

	bus_remove(s->pio, &s->dma);
	bus_remove(s->pio, &s->ports);
	fw_cfg_free(s);
}

static const struct device_ops fw_cfg_ops = {
	.reset = fw_cfg_reset,
	.destroy = fw_cfg_destroy,
};

static int add_own_items(struct fw_cfg *s)
{
	const le32 id = le32_of(ID_TRADITIONAL | ID_DMA);
	const uint8_t no_files[4] = { 0 };
	int r = add_item(s, FW_CFG_SIGNATURE, dma_signature, 4); /* "QEMU" */

	if (r == 0)
		r = add_item(s, FW_CFG_ID, &id, sizeof(id));
	return r < 0 ? r : add_item(s, FW_CFG_FILE_DIR, no_files, sizeof(no_files));
}

static int place(struct fw_cfg *s, struct err *err)
{
	int r = add_own_items(s);

	if (r < 0)
		return err_set_errno(err, r, "fw_cfg");
	s->ports = (struct bus_region){ .name = "fw_cfg", .base = FW_CFG_PORT, .size = 2, .ops = &ports_ops, .dev = s };
	s->dma = (struct bus_region){ .name = "fw_cfg DMA", .base = FW_CFG_PORT + DMA_OFFSET, .size = DMA_PORTS, .ops = &dma_ops, .dev = s };
	r = bus_add(s->pio, &s->ports, err);
	if (r < 0)
		return r;
	r = bus_add(s->pio, &s->dma, err);
	if (r < 0)
		bus_remove(s->pio, &s->ports);
	return r;
}

struct device *fw_cfg_create(const struct device_env *env, struct err *err)
{
	struct fw_cfg *s = calloc(1, sizeof(*s));

	if (!s) {
		err_set(err, -ENOMEM, "fw_cfg: not enough memory on the host");
		return NULL;
	}
	s->dev = (struct device){ .ops = &fw_cfg_ops, .name = "fw_cfg" };
	s->mem = env->mem;
	s->pio = env->pio;
	s->log = (struct log_limit)LOG_LIMIT_INIT;
	pthread_mutex_init(&s->lock, NULL);
	if (place(s, err) < 0) {
		fw_cfg_free(s);
		return NULL;
	}
	return &s->dev;
}
