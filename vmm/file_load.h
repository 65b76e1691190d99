/* SPDX-License-Identifier: MIT */
/* Whole files of the user's into memory. Thread: any. */
#ifndef VMM_FILE_LOAD_H
#define VMM_FILE_LOAD_H

#include <stddef.h>
#include <stdint.h>

struct err;

/*
 * Reads the regular file `path` of at most `max` bytes; `*data` is the caller's to free, and not NULL for an empty file. `what` is for messages:
 * "-fw_cfg". 0, or with `err`: -E2BIG, -EINVAL for what is no regular file, -ENOMEM, or the errno of what failed.
 */
int file_load(const char *what, const char *path, size_t max, uint8_t **data, size_t *size, struct err *err);

#endif
