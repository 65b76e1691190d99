/* SPDX-License-Identifier: MIT */
/* The configuration of an embedded machine (kite.h), and how a caller's thread goes into the library and out again. */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "vmm/cli.h"
#include "vmm/config.h"
#include "vmm/config_json.h"
#include "vmm/kite_priv.h"

unsigned kite_api_version(void)
{
	return KITE_API_VERSION;
}

const char *kite_version(void)
{
	return KITE_VERSION;
}

int kite_tell(const struct err *err, struct kite_error *error)
{
	static_assert(sizeof(error->text) == sizeof(err->msg), "a message of ours fits one of theirs");

	if (error) {
		error->code = err->code;
		memcpy(error->text, err->msg, sizeof(error->text));
	}
	return err->code;
}

/* The process's SIGPIPE and SIGXFSZ come to the thread that writes. */
static sigset_t write_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	sigaddset(&set, SIGXFSZ);
	return set;
}

void kite_go_in(struct kite_inside *inside, struct log_sink *sink)
{
	const sigset_t block = write_signals();
	sigset_t pending;

	sigpending(&pending);
	inside->pipe_pending = sigismember(&pending, SIGPIPE) || sigismember(&pending, SIGXFSZ);
	pthread_sigmask(SIG_BLOCK, &block, &inside->mask);
	inside->sink = log_use_sink(sink);
}

void kite_go_out(const struct kite_inside *inside)
{
	const struct timespec now = { 0 };
	const sigset_t ours = write_signals();

	log_use_sink(inside->sink);
	/* What was not pending before is of a write of ours. */
	while (!inside->pipe_pending && sigtimedwait(&ours, NULL, &now) > 0)
		;
	pthread_sigmask(SIG_SETMASK, &inside->mask, NULL);
}

struct kite_config *kite_config_create(void)
{
	/* No terminal is taken by default. */
	static const char *const first[] = { "kite", "-display", "none" };
	struct kite_config *config = calloc(1, sizeof(*config));
	struct err err = ERR_INIT;

	for (size_t i = 0; config && i < sizeof(first) / sizeof(first[0]); i++) {
		if (strv_add(&config->words, first[i], &err) < 0) {
			kite_config_destroy(config);
			return NULL;
		}
	}
	return config;
}

void kite_config_destroy(struct kite_config *config)
{
	if (!config)
		return;
	strv_fini(&config->words);
	free(config);
}

static int add_word(struct kite_config *config, const char *word)
{
	struct err err = ERR_INIT;

	return strv_add(&config->words, word, &err);
}

int kite_config_parse(struct kite_config *config, int argc, char *const argv[])
{
	int ret = 0;

	for (int i = 1; i < argc && ret == 0; i++)
		ret = add_word(config, argv[i]);
	return ret;
}

int kite_config_option(struct kite_config *config, const char *option, const char *value)
{
	int ret = add_word(config, option);

	return ret == 0 && value ? add_word(config, value) : ret;
}

/* The same with a value that is made; `fmt` gives it. */
static int __attribute__((format(printf, 3, 4))) add_made(struct kite_config *config, const char *option, const char *fmt, ...)
{
	char *value;
	va_list ap;
	int ret;

	va_start(ap, fmt);
	ret = vasprintf(&value, fmt, ap);
	va_end(ap);
	if (ret < 0)
		return -ENOMEM;
	ret = kite_config_option(config, option, value);
	free(value);
	return ret;
}

int kite_config_set_machine(struct kite_config *config, const char *type)
{
	return kite_config_option(config, "-machine", type);
}

int kite_config_set_memory(struct kite_config *config, uint64_t bytes)
{
	return add_made(config, "-m", "%" PRIu64 "b", bytes);
}

int kite_config_set_cpus(struct kite_config *config, unsigned count)
{
	return add_made(config, "-smp", "%u", count);
}

int kite_config_set_kernel(struct kite_config *config, const char *kernel, const char *initrd, const char *command_line)
{
	int ret = kite_config_option(config, "-kernel", kernel);

	if (ret == 0 && initrd)
		ret = kite_config_option(config, "-initrd", initrd);
	if (ret == 0 && command_line)
		ret = kite_config_option(config, "-append", command_line);
	return ret;
}

int kite_config_add_console(struct kite_config *config, const char *id)
{
	int ret = add_made(config, "-chardev", "callback,id=%s", id);

	return ret == 0 ? add_made(config, "-serial", "chardev:%s", id) : ret;
}

int kite_config_resolve(const struct kite_config *config, struct vm_config *cfg, struct err *err)
{
	enum cli_action action = CLI_RUN;
	int ret = cli_parse((int)config->words.n, config->words.v, cfg, &action, err);

	if (ret == 0 && action != CLI_RUN)
		return err_set(err, -EINVAL, "one of the options prints something instead of running a machine; leave it out");
	if (ret == 0 && (cfg->daemonize || cfg->pidfile))
		return err_set(err, -EINVAL, "-%s is for a process that is Kite's own; leave it out", cfg->daemonize ? "daemonize" : "pidfile");
	return ret;
}

static void drop_line(void *opaque, enum log_level level, const char *text)
{
	(void)opaque;
	(void)level;
	(void)text;
}

/* Resolves the configuration, and shows it where `text` asks for that. */
static int resolve(const struct kite_config *config, char **text, struct kite_error *error)
{
	struct log_sink sink = { .line = drop_line, .level = LOG_LEVEL_NONE };
	struct vm_config *cfg = malloc(sizeof(*cfg));
	struct err err = ERR_INIT;
	struct kite_inside inside;

	if (!cfg) {
		err_set(&err, -ENOMEM, "no memory to check the configuration");
		return kite_tell(&err, error);
	}
	kite_go_in(&inside, &sink);
	config_init(cfg);
	if (kite_config_resolve(config, cfg, &err) == 0 && text) {
		*text = config_dump(cfg);
		if (!*text)
			err_set(&err, -EINVAL, "no memory for the configuration, or a name in it that is not UTF-8");
	}
	config_fini(cfg);
	free(cfg);
	kite_go_out(&inside);
	return kite_tell(&err, error);
}

int kite_config_check(const struct kite_config *config, struct kite_error *error)
{
	return resolve(config, NULL, error);
}

char *kite_config_dump(const struct kite_config *config, struct kite_error *error)
{
	char *text = NULL;

	resolve(config, &text, error);
	return text;
}
