/* SPDX-License-Identifier: MIT */
/* kite-user-net's arguments and the commands at run time: lines of the input. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tools/user-net/config.h"
#include "tools/user-net/spawn.h"
#include "vmm/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config *cfg = malloc(sizeof(*cfg));
	char *text = malloc(size + 1), *args[64], *save = NULL, **words;
	struct err err = ERR_INIT;
	struct hostfwd fwd;
	int n = 0;

	memcpy(text, data, size);
	text[size] = '\0';
	words = spawn_split(text);
	free(words);
	config_hostfwd(&fwd, text, size & 1, &err);
	for (char *line = strtok_r(text, "\n", &save); line && n < 64; line = strtok_r(NULL, "\n", &save))
		args[n++] = line;
	if (config_parse(cfg, args, n, &err) == 0) {
		if ((cfg->host.s_addr & cfg->mask.s_addr) != cfg->net.s_addr || cfg->n_guestfwd > CONFIG_MAX_RULES + 1)
			abort();
	} else if (!err.msg[0]) {
		abort();
	}
	free(text);
	free(cfg);
	return 0;
}
