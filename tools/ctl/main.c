/* SPDX-License-Identifier: MIT */
/* kite-ctl: a person's end of the control socket of a machine (-qmp). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/ctl/client.h"
#include "vmm/err.h"
#include "vmm/util.h"

#define TIMEOUT_S 10
#define TIMEOUT_MAX_S 86400

/* Exit statuses; scripts know them from -h. */
enum { CTL_OK, CTL_REFUSED, CTL_USAGE, CTL_NO_MACHINE, CTL_LOST };

static const char usage[] =
	"usage: kite-ctl [-t SECONDS] SOCKET COMMAND [ARGUMENT...]\n"
	"\n"
	"Controls the machine of kite -qmp unix:SOCKET,server=on,wait=off; SOCKET is a path or tcp:HOST:PORT. Commands:\n"
	"\n"
	"  status                 what the machine does: running, paused, shutdown...\n"
	"  pause, cont            stops it, when every processor stands; lets it go on\n"
	"  powerdown              presses its power button; the guest does what it likes\n"
	"  reset                  its reset button\n"
	"  quit                   ends it, as pulling the plug would\n"
	"  wait [EVENT...]        until one of the events comes (SHUTDOWN, STOP...); without any, until the machine has ended\n"
	"  events [EVENT...]      shows events, all or those, as they come, until the machine has ended\n"
	"  qmp [REQUEST]          a request as JSON, and its answer; without one, each line of standard input is one\n"
	"  NAME [KEY=VALUE...]    the QMP command of that name, such as query-block; a VALUE that is JSON is taken as such, and KEY\n"
	"                         may be a path, as in a.b=1\n"
	"\n"
	"  -t SECONDS             how long an answer may take; 10 if not given, 0 for ever. wait and events wait for ever, unless told\n"
	"\n"
	"Exit status: 0; 1 the machine refuses; 2 the command line is wrong; 3 there is no machine; 4 it does not answer, or went away.\n";

struct ctl {
	struct client client;
	char **argv; /* after the command; NULL at the end */
	bool timed;  /* -t was given */
	struct err err;
};

static int print_json(const json_t *value)
{
	int r = json_dumpf(value, stdout, JSON_INDENT(4) | JSON_ENCODE_ANY);

	putchar('\n');
	return r;
}

static int run(struct ctl *ctl, const char *command, json_t *args, json_t **result)
{
	return client_execute(&ctl->client, command, args, result, &ctl->err);
}

/* ---- commands ---- */

static int ctl_status(struct ctl *ctl, const char *command)
{
	json_t *result;
	const char *status;
	int ret = run(ctl, command, NULL, &result);

	if (ret < 0)
		return ret;
	status = json_string_value(json_object_get(result, "status"));
	printf("%s\n", status ? status : "unknown");
	json_decref(result);
	return 0;
}

static int ctl_plain(struct ctl *ctl, const char *command)
{
	json_t *result;
	int ret = run(ctl, command, NULL, &result);

	json_decref(result);
	return ret;
}

static int ctl_quit(struct ctl *ctl, const char *command)
{
	int ret = ctl_plain(ctl, command);

	/* It may be gone before it could answer. */
	return ret == -EPIPE ? 0 : ret;
}

static bool wanted(char *const names[], const char *name)
{
	if (!*names)
		return true;
	while (*names && strcasecmp(*names, name) != 0)
		names++;
	return *names != NULL;
}

/* The next event of ctl->argv, to be released; NULL with ctl->err. */
static json_t *next_event(struct ctl *ctl)
{
	for (;;) {
		json_t *object = client_receive(&ctl->client, &ctl->err);
		const char *name = json_string_value(json_object_get(object, "event"));

		if (!object || (name && wanted(ctl->argv, name)))
			return object;
		json_decref(object);
	}
}

static int ctl_events(struct ctl *ctl, const char *command)
{
	json_t *event;

	(void)command;
	while ((event = next_event(ctl))) {
		json_dumpf(event, stdout, JSON_COMPACT);
		putchar('\n');
		fflush(stdout);
		json_decref(event);
	}
	return ctl->err.code == -EPIPE ? 0 : ctl->err.code;
}

static int ctl_wait(struct ctl *ctl, const char *command)
{
	json_t *event;

	(void)command;
	do {
		event = next_event(ctl);
		json_decref(event);
	} while (event && !*ctl->argv);
	return event || (!*ctl->argv && ctl->err.code == -EPIPE) ? 0 : ctl->err.code;
}

/* One request as somebody wrote it; its answer is shown as it is. */
static int raw(struct ctl *ctl, const char *text)
{
	json_error_t why;
	json_t *request = json_loads(text, JSON_REJECT_DUPLICATES, &why), *answer;
	int ret;

	if (!json_is_object(request)) {
		json_decref(request);
		return err_set(&ctl->err, -EINVAL, "'%.60s' is not a JSON object%s%s", text, request ? "" : ": ", request ? "" : why.text);
	}
	ret = client_send(&ctl->client, request, &ctl->err);
	json_decref(request);
	while (ret == 0) {
		bool event;

		answer = client_receive(&ctl->client, &ctl->err);
		if (!answer)
			return ctl->err.code;
		event = json_object_get(answer, "event");
		ret = json_object_get(answer, "error") ? err_set(&ctl->err, -EREMOTE, "refused") : 0;
		print_json(answer);
		json_decref(answer);
		if (!event)
			break;
	}
	fflush(stdout);
	return ret;
}

/* From a person's keyboard: a mistake is not the end. */
static int interactive(struct ctl *ctl)
{
	bool person = isatty(STDIN_FILENO);
	int status = 0;
	char *line = NULL;
	size_t size = 0;

	for (;;) {
		int ret;

		if (person) {
			fputs("qmp> ", stdout);
			fflush(stdout);
		}
		if (getline(&line, &size, stdin) < 0)
			break;
		line[strcspn(line, "\n")] = '\0';
		if (!*line)
			continue;
		ret = raw(ctl, line);
		if (ret == -EINVAL)
			fprintf(stderr, "kite-ctl: %s\n", ctl->err.msg);
		if (ret < 0)
			status = ret;
		if (ret < 0 && ret != -EINVAL && ret != -EREMOTE)
			break;
	}
	free(line);
	return status;
}

static int ctl_qmp(struct ctl *ctl, const char *command)
{
	(void)command;
	return *ctl->argv ? raw(ctl, *ctl->argv) : interactive(ctl);
}

static const struct command {
	const char *name, *qmp;
	int (*run)(struct ctl *ctl, const char *qmp);
	int max_args; /* -1: any number */
	bool patient; /* waits for ever, unless told how long */
} commands[] = {
	{ "status", "query-status", ctl_status, 0, false },
	{ "pause", "stop", ctl_plain, 0, false },
	{ "stop", "stop", ctl_plain, 0, false },
	{ "cont", "cont", ctl_plain, 0, false },
	{ "resume", "cont", ctl_plain, 0, false },
	{ "reset", "system_reset", ctl_plain, 0, false },
	{ "powerdown", "system_powerdown", ctl_plain, 0, false },
	{ "quit", "quit", ctl_quit, 0, false },
	{ "wait", NULL, ctl_wait, -1, true },
	{ "events", NULL, ctl_events, -1, true },
	{ "qmp", NULL, ctl_qmp, 1, false },
};

/* Puts `value` where the path `key` says, in objects made as needed. */
static int put_argument(json_t *args, char *key, const char *value)
{
	json_t *leaf = json_loads(value, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
	char *dot;

	while ((dot = strchr(key, '.'))) {
		json_t *inner;

		*dot = '\0';
		inner = json_object_get(args, key);
		if (!inner) {
			json_object_set_new(args, key, json_object());
			inner = json_object_get(args, key);
		}
		args = inner;
		key = dot + 1;
	}
	return json_object_set_new(args, key, leaf ? leaf : json_string(value));
}

/* A command that is not ours, by its QMP name. */
static int ctl_any(struct ctl *ctl, const char *command)
{
	json_t *args = *ctl->argv ? json_object() : NULL, *result;
	int ret;

	for (char **arg = ctl->argv; *arg; arg++) {
		char *equals = strchr(*arg, '=');

		if (equals)
			*equals = '\0';
		if (!equals || put_argument(args, *arg, equals + 1) < 0) {
			json_decref(args);
			return err_set(&ctl->err, -EINVAL, "%s: '%s' is not KEY=VALUE", command, *arg);
		}
	}
	ret = run(ctl, command, args, &result);
	if (ret == 0 && !(json_is_object(result) && json_object_size(result) == 0))
		print_json(result);
	json_decref(result);
	return ret;
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

static int exit_status(int code)
{
	return code == 0 ? CTL_OK : code == -EREMOTE ? CTL_REFUSED : code == -EINVAL ? CTL_USAGE : CTL_LOST;
}

static int fail(const struct err *err, int status)
{
	fprintf(stderr, "kite-ctl: %s\n", err->msg);
	return status;
}

static int obey(struct ctl *ctl, const struct command *command, const char *name, const char *address, int64_t timeout_ns)
{
	json_t *greeting;
	int ret = client_open(&ctl->client, address, timeout_ns, &greeting, &ctl->err), status = CTL_NO_MACHINE;

	json_decref(greeting);
	if (ret == 0) {
		if (command && command->patient && !ctl->timed)
			ctl->client.timeout_ns = 0;
		ret = command ? command->run(ctl, command->qmp) : ctl_any(ctl, name);
		status = exit_status(ret);
	} else if (ret == -ETIMEDOUT || ret == -EPIPE) {
		status = CTL_LOST;
	}
	client_close(&ctl->client);
	/* What was refused in raw mode has been shown. */
	if (ret == -EREMOTE && command && command->run == ctl_qmp)
		return status;
	return ret < 0 ? fail(&ctl->err, status) : fflush(stdout) == 0 ? status : CTL_LOST;
}

int main(int argc, char *argv[])
{
	struct ctl ctl = { .err = ERR_INIT };
	const struct command *command;
	double seconds = TIMEOUT_S;
	int opt;

	while ((opt = getopt(argc, argv, "+ht:")) != -1) {
		char *end;

		if (opt == 'h') {
			fputs(usage, stdout);
			return CTL_OK;
		}
		seconds = opt == 't' ? strtod(optarg, &end) : -1;
		if (!(seconds >= 0 && seconds <= TIMEOUT_MAX_S) || *end || end == optarg) {
			if (opt == 't')
				fprintf(stderr, "kite-ctl: -t %s: a number of seconds is expected, up to %d\n", optarg, TIMEOUT_MAX_S);
			return CTL_USAGE;
		}
		ctl.timed = true;
	}
	if (argc - optind < 2) {
		fputs(usage, stderr);
		return CTL_USAGE;
	}
	ctl.argv = argv + optind + 2;
	command = find_command(argv[optind + 1]);
	if (command && command->max_args >= 0 && argc - optind - 2 > command->max_args) {
		err_set(&ctl.err, -EINVAL, "%s: '%s' is one argument too many; see -h", command->name, ctl.argv[command->max_args]);
		return fail(&ctl.err, CTL_USAGE);
	}
	return obey(&ctl, command, argv[optind + 1], argv[optind], (int64_t)(seconds * (double)NS_PER_SEC));
}
