/* SPDX-License-Identifier: MIT */
/*
 * A whole configuration as JSON, and back: what -dump-config shows and -config reads. The keys are the fields of struct vm_config
 * (vmm/config_fields.c), all of them; the format follows the structs and so belongs to one version of Kite.
 *
 * Thread: one at a time.
 */
#ifndef VMM_CONFIG_JSON_H
#define VMM_CONFIG_JSON_H

#include <stddef.h>

struct err;
struct vm_config;

#define CONFIG_JSON_MAX (1u << 20) /* bytes */

/* Text that ends with a newline, to be freed by the caller; NULL without memory. */
char *config_dump(const struct vm_config *cfg);

/*
 * Reads `cfg`, initialized, and to be freed also after a failure. The text is not trusted: every key must be there and known, every
 * number in its range, every name defined, so that the result is as complete and consistent as cli_parse's. 0 or -errno with `err`.
 */
int config_read(struct vm_config *cfg, const char *text, size_t len, struct err *err);
/* The same from a file. */
int config_read_file(struct vm_config *cfg, const char *path, struct err *err);

#endif
