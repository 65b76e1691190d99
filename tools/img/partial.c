/* SPDX-License-Identifier: MIT */
/*
 * Files that a command has made and not yet finished. What is half written looks like an image and is none, so when the command fails or is
 * interrupted, they go. Files that were there before stay.
 */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/img/img.h"
#include "vmm/util.h"

#define FILES_MAX 4

static const int ends[] = { SIGINT, SIGTERM, SIGHUP };
static char *volatile made[FILES_MAX]; /* read by the handler at any moment */

/* Only what handlers may call. */
static void on_end(int signal_number)
{
	static const char says[] = "\nkite-img: interrupted; what was not complete is removed\n";
	bool any = false;

	for (int i = 0; i < FILES_MAX; i++)
		any |= made[i] && unlink(made[i]) == 0;
	if (any)
		(void)!write(STDERR_FILENO, says, sizeof(says) - 1);
	signal(signal_number, SIG_DFL);
	raise(signal_number);
}

static void handlers_set(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(ends); i++) {
		struct sigaction old, sa = { .sa_handler = on_end };

		/* What a parent has ignored, as nohup does, stays so. */
		if (sigaction(ends[i], NULL, &old) == 0 && old.sa_handler == SIG_DFL)
			sigaction(ends[i], &sa, NULL);
	}
}

void img_partial_begin(const char *path)
{
	for (int i = 0; i < FILES_MAX; i++)
		if (!made[i]) {
			made[i] = strdup(path);
			break;
		}
	handlers_set();
}

void img_partial_end(bool keep)
{
	for (int i = 0; i < FILES_MAX; i++) {
		char *path = made[i];

		if (!path)
			continue;
		made[i] = NULL;
		if (!keep)
			unlink(path);
		free(path);
	}
}
