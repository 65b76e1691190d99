/* SPDX-License-Identifier: MIT */
/* The commands and their options: the grammar is qemu-img's. */
#include <stddef.h>

#include "tools/img/img.h"

#define AT(field) offsetof(struct img_args, field)
#define FLAG(l, n, field) { .letter = (l), .name = (n), .kind = ARG_FLAG, .offset = AT(field) }
#define TEXT(l, n, field, v) { .letter = (l), .name = (n), .kind = ARG_TEXT, .offset = AT(field), .value = (v) }
#define SIZE_(l, n, field, has, v) { .letter = (l), .name = (n), .kind = ARG_SIZE, .offset = AT(field), .has_offset = (has), .value = (v) }
#define NUMBER(l, n, field, has, lo, hi, v) \
	{ .letter = (l), .name = (n), .kind = ARG_NUMBER, .offset = AT(field), .has_offset = (has), .min = (lo), .max = (hi), .value = (v) }

#define HELP FLAG('h', "help", help), TEXT(0, "object", object, "OBJECT")
#define IMAGE_OPTS FLAG(0, "image-opts", image_opts)
#define FORMAT TEXT('f', "format", format, "FORMAT")
#define QUIET FLAG('q', "quiet", quiet)
#define SHARE FLAG('U', "force-share", force_share)
#define PROGRESS FLAG('p', NULL, progress)
#define OPTIONS { .letter = 'o', .kind = ARG_TEXTS, .offset = AT(options), .value = "OPTIONS" }
#define OUTPUT { .name = "output", .kind = ARG_OUTPUT, .offset = AT(json), .value = "human|json" }
#define END { .kind = ARG_END }

static const struct img_option create_options[] = {
	HELP, QUIET, TEXT('f', NULL, format, "FORMAT"),
	{ .letter = 'b', .kind = ARG_TEXT, .offset = AT(base), .has_offset = AT(has_base), .value = "BACKING_FILE" },
	TEXT('F', NULL, format2, "BACKING_FORMAT"), FLAG('u', NULL, unsafe), OPTIONS, END,
};
static const struct img_option info_options[] = {
	HELP, IMAGE_OPTS, FORMAT, OUTPUT, FLAG(0, "backing-chain", chain), SHARE, END,
};
static const struct img_option check_options[] = {
	HELP, IMAGE_OPTS, QUIET, FORMAT, OUTPUT, TEXT('r', "repair", repair, "leaks|all"), TEXT('T', NULL, src_cache, "CACHE"), SHARE, END,
};
static const struct img_option convert_options[] = {
	HELP, IMAGE_OPTS, FLAG(0, "target-image-opts", target_image_opts), FLAG(0, "target-is-zero", target_is_zero),
	FLAG(0, "bitmaps", bitmaps), FLAG(0, "skip-broken-bitmaps", skip_broken), FLAG(0, "salvage", salvage), SHARE, QUIET, PROGRESS,
	FLAG('C', NULL, offload), FLAG('c', NULL, compress), FLAG('n', NULL, no_create), FLAG('W', NULL, out_of_order),
	TEXT('f', NULL, format, "FORMAT"), TEXT('O', NULL, out_format, "FORMAT"), TEXT('t', NULL, cache, "CACHE"),
	TEXT('T', NULL, src_cache, "CACHE"),
	{ .letter = 'B', .kind = ARG_TEXT, .offset = AT(base), .has_offset = AT(has_base), .value = "BACKING_FILE" },
	TEXT('F', NULL, format2, "BACKING_FORMAT"), OPTIONS, TEXT('l', NULL, snapshot, "SNAPSHOT"),
	SIZE_('S', NULL, sparse, AT(has_sparse), "BYTES"), TEXT('r', NULL, rate, "BYTES_A_SECOND"),
	NUMBER('m', NULL, workers, 0, 1, 16, "REQUESTS"), END,
};
static const struct img_option resize_options[] = {
	HELP, IMAGE_OPTS, QUIET, TEXT('f', NULL, format, "FORMAT"), TEXT(0, "preallocation", prealloc, "off|metadata|falloc|full"),
	FLAG(0, "shrink", shrink), END,
};
static const struct img_option map_options[] = {
	HELP, IMAGE_OPTS, FORMAT, OUTPUT, SIZE_('s', "start-offset", offset, 0, "BYTES"),
	SIZE_('l', "max-length", length, AT(has_length), "BYTES"), SHARE, END,
};
static const struct img_option compare_options[] = {
	HELP, IMAGE_OPTS, TEXT('f', NULL, format, "FORMAT"), TEXT('F', NULL, format2, "FORMAT"), TEXT('T', NULL, src_cache, "CACHE"), PROGRESS,
	QUIET, FLAG('s', NULL, strict), SHARE, END,
};
static const struct img_option snapshot_options[] = {
	HELP, IMAGE_OPTS, SHARE, QUIET, TEXT('f', NULL, format, "FORMAT"), FLAG('l', NULL, list), TEXT('a', NULL, snap_apply, "SNAPSHOT"),
	TEXT('c', NULL, snap_create, "SNAPSHOT"), TEXT('d', NULL, snap_delete, "SNAPSHOT"), END,
};
static const struct img_option commit_options[] = {
	HELP, IMAGE_OPTS, QUIET, TEXT('f', NULL, format, "FORMAT"), TEXT('t', NULL, cache, "CACHE"),
	{ .letter = 'b', .kind = ARG_TEXT, .offset = AT(base), .has_offset = AT(has_base), .value = "BASE" },
	TEXT('r', NULL, rate, "BYTES_A_SECOND"), FLAG('d', NULL, keep), PROGRESS, END,
};
static const struct img_option rebase_options[] = {
	HELP, IMAGE_OPTS, SHARE, QUIET, TEXT('f', NULL, format, "FORMAT"), TEXT('t', NULL, cache, "CACHE"), TEXT('T', NULL, src_cache, "CACHE"),
	PROGRESS, FLAG('u', NULL, unsafe),
	{ .letter = 'b', .kind = ARG_TEXT, .offset = AT(base), .has_offset = AT(has_base), .value = "BACKING_FILE" },
	TEXT('F', NULL, format2, "BACKING_FORMAT"), END,
};
static const struct img_option bench_options[] = {
	HELP, IMAGE_OPTS, NUMBER('c', NULL, count, 0, 0, INT32_MAX, "COUNT"), NUMBER('d', NULL, depth, 0, 1, 65536, "DEPTH"),
	TEXT('f', NULL, format, "FORMAT"), NUMBER(0, "flush-interval", interval, AT(has_interval), 1, INT32_MAX, "COUNT"),
	TEXT('i', NULL, aio, "threads|native|io_uring"), FLAG('n', NULL, native), FLAG(0, "no-drain", no_drain),
	SIZE_('o', NULL, offset, 0, "OFFSET"), NUMBER(0, "pattern", pattern, 0, 0, 255, "BYTE"), QUIET,
	SIZE_('s', NULL, size, AT(has_size), "BYTES"), SIZE_('S', NULL, step, AT(has_step), "BYTES"), TEXT('t', NULL, cache, "CACHE"),
	FLAG('w', NULL, write), SHARE, END,
};
static const struct img_option dd_options[] = {
	HELP, IMAGE_OPTS, SHARE, TEXT('f', NULL, format, "FORMAT"), TEXT('O', NULL, out_format, "FORMAT"), END,
};
static const struct img_option measure_options[] = {
	HELP, IMAGE_OPTS, OUTPUT, TEXT('O', NULL, out_format, "FORMAT"), OPTIONS, SIZE_(0, "size", size, AT(has_size), "BYTES"), FORMAT,
	TEXT('l', NULL, snapshot, "SNAPSHOT"), SHARE, END,
};

#define COMMAND(n, lo, hi, ops, w, text) \
	{ .name = #n, .operands = ops, .what = text, .options = n##_options, .min = lo, .max = hi, .run = cmd_##n, .wants = w }
const struct img_command img_commands[] = {
	COMMAND(bench, 1, 1, "FILE", "one image", "times reads, or writes with -w"),
	COMMAND(check, 1, 1, "FILE", "one image", "looks for faults in an image's tables, and mends them with -r"),
	COMMAND(commit, 1, 1, "FILE", "one image", "writes what an image has into its backing file"),
	COMMAND(compare, 2, 2, "FILE1 FILE2", "two images", "compares what two disks hold"),
	COMMAND(convert, 2, -1, "FILE... OUTPUT", "an image and the name of the one to make", "copies disks into an image of another format"),
	COMMAND(create, 1, 2, "FILE [SIZE]", "the name of one image, and its size", "makes an empty image"),
	COMMAND(dd, 0, -1, "[bs=BYTES] [count=BLOCKS] [skip=BLOCKS] if=FILE of=FILE", "if= and of=", "copies a part of a disk"),
	COMMAND(info, 1, 1, "FILE", "one image", "tells what an image is"),
	COMMAND(map, 1, 1, "FILE", "one image", "tells which file holds what part of a disk"),
	COMMAND(measure, 0, 1, "[FILE]", "one image, or --size", "tells how large the file of an image would be"),
	COMMAND(rebase, 1, 1, "FILE", "one image", "puts an image on another backing file"),
	COMMAND(resize, 2, 2, "FILE [+|-]SIZE", "one image and a size", "makes a disk larger or smaller"),
	COMMAND(snapshot, 1, 1, "FILE", "one image", "lists, makes, applies or deletes snapshots inside an image"),
	{ .name = NULL },
};
