/* SPDX-License-Identifier: MIT */
/*
 * Disks and what is behind them (QEMU's qapi/block-core.json). A node is a drive of the configuration, by its -blockdev's name or its -drive's id.
 * What the disk's thread changes is copied on its loop.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "blk/blockdev.h"
#include "blk/throttle.h"
#include "vmm/err.h"
#include "vmm/eventloop.h"
#include "vmm/launch_disks.h"
#include "vmm/launch_scsi.h"
#include "vmm/monitor_priv.h"
#include "vmm/util.h"

#define PERIPHERAL "/machine/peripheral/"

/* ---- drives and disks ---- */

struct node {
	const struct config_drive *drive;
	const char *user; /* the id of the device in front; NULL: none uses it */
	bool scsi, cd;    /* what that is; else virtio */
	struct blockdev *bd; /* NULL: a CD-ROM drive that is empty */
	/* Copied on its loop: */
	struct blockdev_stats stats;
	uint64_t size;
	bool read_only;
	uint64_t resize;
	int result;
};

static void node_look(void *arg)
{
	struct node *node = arg;

	node->stats = node->bd->stats;
	node->size = node->bd->size;
	node->read_only = node->bd->read_only;
}

/* Who uses the drive. */
static void node_find_user(const struct vm_config *cfg, struct node *node)
{
	for (size_t k = 0; k < cfg->n_disks; k++)
		if (!strcmp(cfg->disks[k].drive, node->drive->id))
			node->user = cfg->disks[k].id;
	for (size_t k = 0; k < cfg->n_scsi_units; k++) {
		if (strcmp(cfg->scsi_units[k].drive, node->drive->id))
			continue;
		node->user = cfg->scsi_units[k].id;
		node->scsi = true;
		node->cd = cfg->scsi_units[k].cd;
	}
}

/* The i-th drive; whether it is open. */
static bool node_at(const struct launch *l, size_t i, struct node *node)
{
	const struct config_drive *drive = &l->cfg->drives[i];

	*node = (struct node){ .drive = drive, .bd = launch_disks_drive(l->disks, drive->id) };
	node_find_user(l->cfg, node);
	if (node->bd)
		eventloop_call_sync(node->bd->loop, node_look, node);
	return node->bd;
}

/* By the name of the drive, or of the disk in front: its id, or its path as query-block tells it. NULL: not asked for. */
static bool node_matches(const struct node *node, const char *name, const char *disk)
{
	const char *id = node->user;
	size_t len = id ? strlen(id) : 0;

	if (name && !strcmp(node->drive->id, name))
		return true;
	if (!disk || !id)
		return false;
	if (!strncmp(disk, PERIPHERAL, sizeof(PERIPHERAL) - 1))
		disk += sizeof(PERIPHERAL) - 1;
	return !strncmp(disk, id, len) && (disk[len] == '\0' || disk[len] == '/');
}

static int node_find(const struct launch *l, const char *name, const char *disk, struct node *node, struct err *err)
{
	for (size_t i = 0; i < l->cfg->n_drives; i++)
		if (node_at(l, i, node) && node_matches(node, name, disk))
			return 0;
	return err_set(err, -ENODEV, "there is no block device '%.64s'; query-block lists those there are", name ? name : disk ? disk : "");
}

/* As in QEMU, whose virtio disks are two devices, and the second has no id. */
static json_t *qdev_of(const struct node *node)
{
	return node->scsi ? json_string(node->user) : json_sprintf(PERIPHERAL "%s/virtio-backend", node->user);
}

/* ---- what they are ---- */

/* A drive may have begun empty: then nothing is known of the name of what is in it. */
static const char *path_of(const struct node *node)
{
	return node->drive->image.path ? node->drive->image.path : "";
}

static json_t *image_info(const struct node *node)
{
	const struct config_image *image = &node->drive->image;
	json_t *info = json_pack("{s:s,s:s,s:I,s:b}", "filename", path_of(node), "format", image->format ? image->format : "raw", "virtual-size",
				 (json_int_t)node->size, "dirty-flag", false);
	struct stat st;

	if (info && stat(path_of(node), &st) == 0)
		json_object_set_new(info, "actual-size", json_integer((json_int_t)st.st_blocks * 512));
	return info;
}

static const char *const limit_names[CONFIG_LIMITS] = {
	[CONFIG_BPS_TOTAL] = "bps",   [CONFIG_BPS_READ] = "bps_rd",   [CONFIG_BPS_WRITE] = "bps_wr",
	[CONFIG_IOPS_TOTAL] = "iops", [CONFIG_IOPS_READ] = "iops_rd", [CONFIG_IOPS_WRITE] = "iops_wr",
};

static void add_limits(const struct launch *l, const struct node *node, json_t *info)
{
	struct throttle_config limits = { .iops_size = 0 };

	launch_disks_limits(l->disks, node->drive->id, &limits);
	for (unsigned i = 0; info && i < CONFIG_LIMITS; i++)
		json_object_set_new(info, limit_names[i], json_integer((json_int_t)limits.limits[i].avg));
}

static json_t *node_info(const struct launch *l, const struct node *node)
{
	const struct config_image *image = &node->drive->image;
	enum config_cache cache = image->cache;
	json_t *info = json_pack("{s:s,s:s,s:b,s:s,s:i,s:b,s:s,s:i}", "node-name", node->drive->id, "file", path_of(node), "ro", node->read_only,
				 "drv", image->format ? image->format : "raw", "backing_file_depth", image->backing ? 1 : 0, "encrypted", false,
				 "detect_zeroes", image->detect_zeroes ? "on" : "off", "write_threshold", 0);

	if (!info)
		return NULL;
	add_limits(l, node, info);
	json_object_set_new(info, "cache", json_pack("{s:b,s:b,s:b}", "writeback", node->bd->write_cache, "direct",
						     cache == CONFIG_CACHE_NONE || cache == CONFIG_CACHE_DIRECTSYNC, "no-flush",
						     cache == CONFIG_CACHE_UNSAFE));
	json_object_set_new(info, "image", image_info(node));
	return info;
}

static int query_named_block_nodes(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	const struct launch *l = monitor_of(call)->launch;
	json_t *list = json_array();
	struct node node;

	(void)args;
	for (size_t i = 0; i < l->cfg->n_drives; i++)
		if (node_at(l, i, &node))
			json_array_append_new(list, node_info(l, &node));
	return monitor_give(list, ret, err);
}

/* -blockdev's nodes have no back end of their own with a name; the disks in front have. */
static const char *backend_of(const struct node *node)
{
	return node->drive->node ? "" : node->drive->id;
}

static json_t *block_info(struct launch *l, const struct node *node)
{
	struct launch_scsi_tray tray = { .open = false };
	struct err err = ERR_INIT;
	json_t *info;

	if (node->cd)
		launch_scsi_look(&l->scsi, node->user, &tray, &err);
	info = json_pack("{s:s,s:s,s:b,s:b}", "device", backend_of(node), "type", "unknown", "removable", node->cd, "locked", tray.locked);
	if (info && node->cd)
		json_object_set_new(info, "tray_open", json_boolean(tray.open));
	if (info && node->bd) {
		json_object_set_new(info, "io-status", json_string("ok"));
		json_object_set_new(info, "inserted", node_info(l, node));
	}
	if (info && node->user)
		json_object_set_new(info, "qdev", qdev_of(node));
	return info;
}

static int query_block(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	struct launch *l = monitor_of(call)->launch;
	json_t *list = json_array();
	struct node node;

	(void)args;
	/* As in QEMU: what has a disk in front, or was made to have one. */
	for (size_t i = 0; i < l->cfg->n_drives; i++)
		if ((node_at(l, i, &node) || node.cd) && (node.user || !node.drive->node))
			json_array_append_new(list, block_info(l, &node));
	return monitor_give(list, ret, err);
}

/* ---- statistics ---- */

static const struct {
	enum blk_op op;
	const char *bytes, *operations, *ns, *failed;
} kinds[] = {
	{ BLK_READ, "rd_bytes", "rd_operations", "rd_total_time_ns", "failed_rd_operations" },
	{ BLK_WRITE, "wr_bytes", "wr_operations", "wr_total_time_ns", "failed_wr_operations" },
	{ BLK_FLUSH, NULL, "flush_operations", "flush_total_time_ns", "failed_flush_operations" },
	{ BLK_DISCARD, "unmap_bytes", "unmap_operations", "unmap_total_time_ns", "failed_unmap_operations" },
};

static json_t *stats_info(const struct blockdev_stats *stats)
{
	/* Neither merged nor refused before they begin: those that Kite does not count, and QEMU does. */
	json_t *info = json_pack("{s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:i,s:b,s:b,s:[]}", "rd_merged", 0, "wr_merged", 0, "unmap_merged", 0,
				 "wr_highest_offset", 0, "invalid_rd_operations", 0, "invalid_wr_operations", 0, "invalid_flush_operations", 0,
				 "invalid_unmap_operations", 0, "account_invalid", true, "account_failed", true, "timed_stats");

	for (size_t i = 0; info && i < ARRAY_SIZE(kinds); i++) {
		enum blk_op op = kinds[i].op;
		/* Zeroes are written, as QEMU sees it. */
		enum blk_op also = op == BLK_WRITE ? BLK_WRITE_ZEROES : op;
		bool both = also != op;

		if (kinds[i].bytes)
			json_object_set_new(info, kinds[i].bytes, json_integer((json_int_t)(stats->bytes[op] + (both ? stats->bytes[also] : 0))));
		json_object_set_new(info, kinds[i].operations, json_integer((json_int_t)(stats->ops[op] + (both ? stats->ops[also] : 0))));
		json_object_set_new(info, kinds[i].ns, json_integer((json_int_t)(stats->ns[op] + (both ? stats->ns[also] : 0))));
		json_object_set_new(info, kinds[i].failed, json_integer((json_int_t)(stats->errors[op] + (both ? stats->errors[also] : 0))));
	}
	return info;
}

static int query_blockstats(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	const struct launch *l = monitor_of(call)->launch;
	bool nodes = json_is_true(json_object_get(args, "query-nodes"));
	json_t *list = json_array();
	struct node node;

	for (size_t i = 0; i < l->cfg->n_drives; i++) {
		json_t *entry;

		if (!node_at(l, i, &node) || (!nodes && !node.user && node.drive->node))
			continue;
		entry = json_pack("{s:s,s:o}", "node-name", node.drive->id, "stats", stats_info(&node.stats));
		if (entry && !nodes)
			json_object_set_new(entry, "device", json_string(backend_of(&node)));
		if (entry && !nodes && node.user)
			json_object_set_new(entry, "qdev", qdev_of(&node));
		json_array_append_new(list, entry);
	}
	return monitor_give(list, ret, err);
}

/* ---- what can be changed ---- */

static void node_resize(void *arg)
{
	struct node *node = arg;

	node->result = blockdev_resize(node->bd, node->resize);
}

static int block_resize(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	const char *name = json_string_value(json_object_get(args, "node-name"));
	json_int_t size = json_integer_value(json_object_get(args, "size"));
	struct node node;

	(void)ret;
	if (!name)
		name = json_string_value(json_object_get(args, "device"));
	if (node_find(monitor_of(call)->launch, name, name, &node, err) < 0)
		return err->code;
	if (size <= 0 || size % BLK_SECTOR)
		return err_set(err, -EINVAL, "parameter 'size' has to be a positive multiple of %d bytes", BLK_SECTOR);
	node.resize = (uint64_t)size;
	eventloop_call_sync(node.bd->loop, node_resize, &node);
	if (node.result == -ENOTSUP)
		return err_set(err, -EINVAL, "'%s' cannot change its size: its image format has one for good", node.drive->id);
	return node.result < 0 ? err_set(err, -EINVAL, "'%s' cannot change its size: %s", node.drive->id, strerrordesc_np(-node.result)) : 0;
}

int monitor_block_commit(struct monitor *m, const char *name, struct err *err)
{
	const struct launch *l = m->launch;
	bool all = !strcmp(name, "all");
	struct node node;

	for (size_t i = 0; i < l->cfg->n_drives; i++) {
		bool open = node_at(l, i, &node), below = open && blockdev_backing(throttle_below(node.bd));

		if (all && !below)
			continue;
		if (!all && !(open && node_matches(&node, name, name)))
			continue;
		if (launch_disks_commit(l->disks, i, err) < 0)
			return err->code;
		if (!all)
			return 0;
	}
	return all ? 0 : err_set(err, -ENODEV, "there is no block device '%.64s'; query-block lists those there are", name);
}

/* A member of the arguments with a name made of two parts; 0 when it is not there, -1 for what no limit can be. */
static json_int_t limit_arg(const json_t *args, const char *name, const char *suffix)
{
	char key[32];
	json_int_t n;

	snprintf(key, sizeof(key), "%s%s", name, suffix);
	n = json_integer_value(json_object_get(args, key));
	return n < 0 || n > INT64_C(1000000000000000) ? -1 : n;
}

static int limits_from(const json_t *args, struct throttle_config *limits, struct err *err)
{
	for (unsigned i = 0; i < CONFIG_LIMITS; i++) {
		json_int_t avg = limit_arg(args, limit_names[i], ""), max = limit_arg(args, limit_names[i], "_max"),
			   length = limit_arg(args, limit_names[i], "_max_length");

		if (avg < 0 || max < 0 || length < 0 || length > 86400)
			return err_set(err, -ERANGE, "parameter '%s', its maximum or its length is out of range", limit_names[i]);
		limits->limits[i] = (struct throttle_limit){ .avg = (uint64_t)avg, .max = (uint64_t)max, .max_length = (uint32_t)length };
	}
	if (limit_arg(args, "iops_size", "") < 0)
		return err_set(err, -ERANGE, "parameter 'iops_size' is out of range");
	limits->iops_size = (uint64_t)limit_arg(args, "iops_size", "");
	return 0;
}

static int block_set_io_throttle(struct qmp_call *call, const json_t *args, json_t **ret, struct err *err)
{
	const struct launch *l = monitor_of(call)->launch;
	const char *group = json_string_value(json_object_get(args, "group"));
	struct throttle_config limits = { .iops_size = 0 };
	struct node node;

	(void)ret;
	if (node_find(l, json_string_value(json_object_get(args, "device")), json_string_value(json_object_get(args, "id")), &node, err) < 0)
		return err->code;
	if (group && (!node.drive->throttle.group || strcmp(group, node.drive->throttle.group)) && strcmp(group, node.drive->id))
		return err_set(err, -EINVAL, "'%s' cannot join the group '%.64s' any more; start it with throttling.group=", node.drive->id, group);
	if (limits_from(args, &limits, err) < 0)
		return err->code;
	return launch_disks_set_limits(l->disks, node.drive->id, &limits, err);
}

/* ---- tables ---- */

MONITOR_OBJECT(ImageInfo, "ImageInfo", { .name = "filename", .type = &qmp_str }, { .name = "format", .type = &qmp_str },
	       { .name = "virtual-size", .type = &qmp_int }, { .name = "actual-size", .type = &qmp_int, .optional = true },
	       { .name = "dirty-flag", .type = &qmp_bool, .optional = true });
MONITOR_OBJECT(BlockdevCacheInfo, "BlockdevCacheInfo", { .name = "writeback", .type = &qmp_bool }, { .name = "direct", .type = &qmp_bool },
	       { .name = "no-flush", .type = &qmp_bool });
#define INT_(n) { .name = n, .type = &qmp_int }
MONITOR_OBJECT(BlockDeviceInfo, "BlockDeviceInfo", { .name = "node-name", .type = &qmp_str }, { .name = "file", .type = &qmp_str },
	       { .name = "ro", .type = &qmp_bool }, { .name = "drv", .type = &qmp_str }, INT_("backing_file_depth"),
	       { .name = "encrypted", .type = &qmp_bool }, { .name = "detect_zeroes", .type = &qmp_str }, INT_("write_threshold"), INT_("bps"),
	       INT_("bps_rd"), INT_("bps_wr"), INT_("iops"), INT_("iops_rd"), INT_("iops_wr"), { .name = "cache", .type = &BlockdevCacheInfo },
	       { .name = "image", .type = &ImageInfo });
MONITOR_OBJECT(BlockInfo, "BlockInfo", { .name = "device", .type = &qmp_str }, { .name = "qdev", .type = &qmp_str, .optional = true },
	       { .name = "type", .type = &qmp_str }, { .name = "removable", .type = &qmp_bool }, { .name = "locked", .type = &qmp_bool },
	       { .name = "io-status", .type = &qmp_str, .optional = true }, { .name = "tray_open", .type = &qmp_bool, .optional = true },
	       { .name = "inserted", .type = &BlockDeviceInfo, .optional = true });
MONITOR_OBJECT(BlockDeviceStats, "BlockDeviceStats", INT_("rd_bytes"), INT_("wr_bytes"), INT_("unmap_bytes"), INT_("rd_operations"),
	       INT_("wr_operations"), INT_("flush_operations"), INT_("unmap_operations"), INT_("rd_total_time_ns"), INT_("wr_total_time_ns"),
	       INT_("flush_total_time_ns"), INT_("unmap_total_time_ns"), INT_("wr_highest_offset"), INT_("rd_merged"), INT_("wr_merged"),
	       INT_("unmap_merged"), INT_("failed_rd_operations"), INT_("failed_wr_operations"), INT_("failed_flush_operations"),
	       INT_("failed_unmap_operations"), INT_("invalid_rd_operations"), INT_("invalid_wr_operations"), INT_("invalid_flush_operations"),
	       INT_("invalid_unmap_operations"), { .name = "account_invalid", .type = &qmp_bool }, { .name = "account_failed", .type = &qmp_bool },
	       { .name = "timed_stats", .type = &qmp_any });
MONITOR_OBJECT(BlockStats, "BlockStats", { .name = "device", .type = &qmp_str, .optional = true }, { .name = "qdev", .type = &qmp_str, .optional = true },
	       { .name = "node-name", .type = &qmp_str, .optional = true }, { .name = "stats", .type = &BlockDeviceStats });
MONITOR_ARRAY(node_list, BlockDeviceInfo);
MONITOR_ARRAY(block_list, BlockInfo);
MONITOR_ARRAY(stats_list, BlockStats);
MONITOR_OBJECT(nodes_args, "query-named-block-nodes-arg", { .name = "flat", .type = &qmp_bool, .optional = true });
MONITOR_OBJECT(stats_args, "query-blockstats-arg", { .name = "query-nodes", .type = &qmp_bool, .optional = true });
MONITOR_OBJECT(resize_args, "block_resize-arg", { .name = "device", .type = &qmp_str, .optional = true },
	       { .name = "node-name", .type = &qmp_str, .optional = true }, { .name = "size", .type = &qmp_int });
#define LIMIT_(n) { .name = n, .type = &qmp_int, .optional = true }
#define LIMITS_(n) { .name = n, .type = &qmp_int }, LIMIT_(n "_max"), LIMIT_(n "_max_length")
MONITOR_OBJECT(throttle_args, "BlockIOThrottle", { .name = "device", .type = &qmp_str, .optional = true },
	       { .name = "id", .type = &qmp_str, .optional = true }, LIMITS_("bps"), LIMITS_("bps_rd"), LIMITS_("bps_wr"), LIMITS_("iops"),
	       LIMITS_("iops_rd"), LIMITS_("iops_wr"), LIMIT_("iops_size"), { .name = "group", .type = &qmp_str, .optional = true });

const struct qmp_command monitor_block_commands[] = {
	{ .name = "query-named-block-nodes", .args = &nodes_args, .ret = &node_list, .run = query_named_block_nodes },
	{ .name = "query-block", .ret = &block_list, .run = query_block },
	{ .name = "query-blockstats", .args = &stats_args, .ret = &stats_list, .run = query_blockstats },
	{ .name = "block_resize", .args = &resize_args, .run = block_resize },
	{ .name = "block_set_io_throttle", .args = &throttle_args, .run = block_set_io_throttle },
	{ 0 },
};
