/* SPDX-License-Identifier: MIT */
/*
 * Any command line: the input's bytes, split at NUL, are the words after the program's name. The parser must accept it and leave a
 * configuration that keeps vmm/config.h's promises, or refuse it with one clean line; the sanitizers watch the rest.
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cli.h"
#include "vmm/err.h"
#include "vmm/log.h"

#define MAX_WORDS 128

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "fuzz_options: broken promise: %s\n", what);
	abort();
}

static void check_serials(const struct vm_config *cfg)
{
	unsigned ports = 0;

	require(cfg->n_serials <= CONFIG_MAX_SERIALS && cfg->n_chardevs <= CONFIG_MAX_CHARDEVS, "counts");
	for (size_t i = 0; i < cfg->n_serials; i++) {
		const struct config_serial *s = &cfg->serials[i];
		size_t matches = 0;

		require(s->id && s->chardev && s->index < CONFIG_MAX_SERIALS && !(ports & 1u << s->index), "a serial port");
		ports |= 1u << s->index;
		for (size_t j = 0; j < cfg->n_chardevs; j++)
			matches += !strcmp(cfg->chardevs[j].id, s->chardev);
		require(matches == 1, "a serial port's chardev");
	}
	for (size_t i = 0; i < cfg->n_chardevs; i++) {
		const struct config_chardev *c = &cfg->chardevs[i];

		require(c->id && *c->id, "a chardev's id");
		require((c->backend != CHARDEV_FILE && c->backend != CHARDEV_SOCKET) || (c->path && *c->path), "a chardev's path");
		require(!c->wait || c->server, "wait without server");
	}
}

static bool power_of_two(uint64_t v, uint64_t max)
{
	return v >= 512 && v <= max && !(v & (v - 1));
}

static void check_image(const struct config_image *m, unsigned depth)
{
	if (!m)
		return;
	require(depth <= 3 * CONFIG_MAX_DRIVES, "images on top of each other end");
	require(m->path && *m->path, "an image's file");
	require(m->cache <= CONFIG_CACHE_UNSAFE, "an image's cache mode");
	require(!m->qcow2.cache_size || (m->qcow2.l2_cache_size <= m->qcow2.cache_size && m->qcow2.refcount_cache_size <= m->qcow2.cache_size),
		"caches that fit");
	require(!m->data_file || (m->data_file->format && !strcmp(m->data_file->format, "raw")), "a raw data file");
	check_image(m->backing, depth + 1);
	check_image(m->data_file, depth + 1);
}

static void check_drives(const struct vm_config *cfg)
{
	require(cfg->n_drives <= CONFIG_MAX_DRIVES && cfg->n_disks <= CONFIG_MAX_DISKS && cfg->n_iothreads <= CONFIG_MAX_IOTHREADS, "counts");
	for (size_t i = 0; i < cfg->n_drives; i++) {
		const struct config_drive *d = &cfg->drives[i];

		require(d->id && *d->id, "a drive's id");
		check_image(&d->image, 0);
		for (unsigned n = 0; n < CONFIG_LIMITS; n++)
			require(d->throttle.max[n] == 0 || d->throttle.avg[n] != 0, "a burst with a limit");
		for (size_t j = 0; j < i; j++)
			require(strcmp(cfg->drives[j].id, d->id) != 0, "one drive of a name");
	}
}

static void check_disk(const struct vm_config *cfg, size_t i)
{
	const struct config_disk *k = &cfg->disks[i];
	size_t drives = 0, threads = 0;

	for (size_t j = 0; j < cfg->n_drives; j++)
		drives += !strcmp(cfg->drives[j].id, k->drive);
	for (size_t j = 0; k->iothread && j < cfg->n_iothreads; j++)
		threads += !strcmp(cfg->iothreads[j].id, k->iothread);
	require(k->id && *k->id, "a disk's id");
	require(drives == 1 && (!k->iothread || threads == 1), "a disk's drive and thread");
	require(k->queues >= 1 && k->queue_size >= 2 && k->queue_size <= 1024 && !(k->queue_size & (k->queue_size - 1)), "a disk's queues");
	require(!k->logical_block || power_of_two(k->logical_block, 2 << 20), "a disk's logical block");
	require(!k->physical_block || power_of_two(k->physical_block, 2 << 20), "a disk's physical block");
	require(k->vectors >= -1 && k->vectors <= 2048 && !(k->modern_only && k->legacy_only), "a disk as a PCI function");
	require(k->addr == CONFIG_ADDR_AUTO || (k->addr >= 0 && k->addr < 256), "a disk's address");
	for (size_t j = 0; j < i; j++)
		require(strcmp(cfg->disks[j].drive, k->drive) != 0 && strcmp(cfg->disks[j].id, k->id) != 0, "one disk of a drive and of a name");
}

static void check_config(const struct vm_config *cfg)
{
	const struct config_smp *smp = &cfg->smp;

	require(!cfg->kernel || *cfg->kernel, "a kernel, or the firmware's disks");
	require(cfg->ram_size >= CONFIG_MIN_RAM && cfg->ram_size <= CONFIG_MAX_RAM && cfg->ram_size % 8192 == 0, "ram_size");
	require(smp->cpus >= 1 && smp->cpus <= CONFIG_MAX_CPUS, "cpus");
	require(smp->cpus == smp->sockets * smp->cores * smp->threads, "topology");
	require(!strcmp(cfg->cpu.model, "host") || !strcmp(cfg->cpu.model, "max"), "cpu model");
	for (size_t i = 0; i < cfg->cpu.n_features; i++)
		require(*cfg->cpu.features[i].name, "a feature's name");
	for (size_t i = 0; i < cfg->n_debug_exits; i++)
		require(cfg->debug_exits[i].iosize >= 1 && cfg->debug_exits[i].iobase + cfg->debug_exits[i].iosize <= 0x10000, "debug exit");
	check_serials(cfg);
	check_drives(cfg);
	for (size_t i = 0; i < cfg->n_disks; i++)
		check_disk(cfg, i);
}

static void check_message(const struct err *err)
{
	require(err->code < 0 && err->msg[0], "an error without words");
	for (const char *p = err->msg; *p; p++)
		require((unsigned char)*p >= 0x20 && *p != 0x7f, "a control character in an error");
}

static void run(int argc, char *const argv[])
{
	static struct vm_config cfg;
	enum cli_action action = CLI_RUN;
	struct err err = ERR_INIT;

	config_init(&cfg);
	if (cli_parse(argc, argv, &cfg, &action, &err) < 0)
		check_message(&err);
	else if (action == CLI_RUN)
		check_config(&cfg);
	/* -d debug would fill the terminal from here on. */
	log_set_level(LOG_LEVEL_ERROR);
	config_fini(&cfg);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *argv[MAX_WORDS + 4] = { (char[]){ "kite" } }, *copy = malloc(size + 1);
	char dash_kernel[] = "-kernel", kernel[] = "K";
	int argc = 1;

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	copy[size] = '\0';
	/* An odd length goes with a kernel, so that half of all inputs get as far as the checks across options. */
	if (size % 2) {
		argv[argc++] = dash_kernel;
		argv[argc++] = kernel;
	}
	for (size_t at = 0; at < size && argc < MAX_WORDS; at += strlen(copy + at) + 1)
		argv[argc++] = copy + at;
	run(argc, argv);
	free(copy);
	return 0;
}
