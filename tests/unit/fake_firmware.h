/* SPDX-License-Identifier: MIT */
/* What the tests of firmware tables share: other people's programs as judges of the tables. */
#ifndef TESTS_UNIT_FAKE_FIRMWARE_H
#define TESTS_UNIT_FAKE_FIRMWARE_H

#include <stddef.h>
#include <stdint.h>

/* Makes a temporary directory and goes there; fake_dir_remove goes to / and removes it and the files in it. */
struct fake_dir {
	char path[64];
};
void fake_dir_make(struct fake_dir *dir);
void fake_dir_remove(struct fake_dir *dir);

/* Fails the test, naming the Debian package, unless `program` is on PATH. */
void fake_need_program(const char *program, const char *package);

/* Runs a shell command and collects what it prints, stderr too; at most `size` - 1 bytes. Returns its exit status. */
int fake_run(const char *command, char *output, size_t size);

/* Writes `n` bytes at `off` of a file that it makes when there is none. */
void fake_write(const char *path, size_t off, const void *data, size_t n);

/* Reads a whole file of at most `size` bytes. Returns its length. */
size_t fake_read(const char *path, void *data, size_t size);

uint8_t fake_sum(const void *data, size_t n);

#endif
