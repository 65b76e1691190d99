/* SPDX-License-Identifier: MIT */
/* From the text of a request to its command and back: parsed strictly, checked against the command's types, run. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/err.h"
#include "vmm/qmp_priv.h"
#include "vmm/util.h"

#define SHOWN 64

static const struct qmp_command *find_in(const struct qmp_command *commands, const char *name)
{
	for (const struct qmp_command *c = commands; c && c->name; c++)
		if (!strcmp(c->name, name))
			return c;
	return NULL;
}

const struct qmp_command *qmp_find(const struct qmp *qmp, const char *name)
{
	const struct qmp_command *c = find_in(qmp_core_commands, name);

	for (size_t i = 0; i < qmp->n_tables && !c; i++)
		c = find_in(qmp->tables[i].commands, name);
	return c;
}

const char *qmp_error_class(int code)
{
	switch (code) {
	case -ENODEV:
		return "DeviceNotFound";
	case -ENXIO:
		return "DeviceNotActive";
	case -ENOSYS:
		return "CommandNotFound";
	}
	return "GenericError";
}

/* Messages name files and the like, whose bytes need not be UTF-8. */
static json_t *message(const char *text)
{
	json_t *s = json_string(text);
	char plain[ERR_MSG_MAX];

	if (s)
		return s;
	snprintf(plain, sizeof(plain), "%s", text);
	for (char *c = plain; *c; c++)
		if (*c & 0x80)
			*c = '?';
	return json_string(plain);
}

json_t *qmp_reply(json_t *id, json_t *ret, const struct err *err)
{
	json_t *reply = json_object();

	if (err->code == 0)
		json_object_set_new(reply, "return", ret ? ret : json_object());
	else
		json_object_set_new(reply, "error", json_pack("{s:s,s:o}", "class", qmp_error_class(err->code), "desc", message(err->msg)));
	if (id)
		json_object_set_new(reply, "id", id);
	return reply;
}

static const json_t *no_arguments(const json_t *args, json_t **own)
{
	if (args)
		return args;
	*own = json_object();
	return *own;
}

int qmp_run(struct qmp_call *call, const char *name, const json_t *args, json_t **ret, struct err *err)
{
	const struct qmp_command *c = qmp_find(call->qmp, name);
	json_t *own = NULL;
	int r;

	*ret = NULL;
	if (!c)
		return err_set(err, -ENOSYS, "the command %.*s has not been found", SHOWN, name);
	args = no_arguments(args, &own);
	r = args ? qmp_check(c->args ? c->args : &qmp_empty, args, err) : err_set(err, -ENOMEM, "no memory for the command");
	if (r == 0)
		r = c->run(call, args, ret, err);
	json_decref(own);
	return r;
}

int qmp_do(struct qmp *qmp, const char *name, const json_t *args, json_t **ret, struct err *err)
{
	struct qmp_call call = { .qmp = qmp, .now = true };

	return qmp_run(&call, name, args, ret, err);
}

static int check_request(const json_t *request, struct err *err)
{
	json_t *o = (json_t *)request;

	if (!json_is_object(request))
		return err_set(err, -EINVAL, "QMP input has to be a JSON object");
	for (void *it = json_object_iter(o); it; it = json_object_iter_next(o, it)) {
		const char *key = json_object_iter_key(it);

		if (!strcmp(key, "arguments") && !json_is_object(json_object_iter_value(it)))
			return err_set(err, -EINVAL, "QMP input member 'arguments' has to be an object");
		if (strcmp(key, "execute") && strcmp(key, "arguments") && strcmp(key, "id"))
			return err_set(err, -EINVAL, "QMP input member '%.*s' is unexpected", SHOWN, key);
	}
	if (!json_is_string(json_object_get(request, "execute")))
		return err_set(err, -EINVAL, "QMP input lacks member 'execute', the name of a command");
	return 0;
}

static int run_request(struct qmp_call *call, const json_t *request, json_t **ret, struct err *err)
{
	const char *name;

	if (check_request(request, err) < 0)
		return err->code;
	name = json_string_value(json_object_get(request, "execute"));
	if (!call->monitor->negotiated && strcmp(name, "qmp_capabilities"))
		return err_set(err, -ENOSYS, "expecting capabilities negotiation with 'qmp_capabilities'");
	return qmp_run(call, name, json_object_get(request, "arguments"), ret, err);
}

static void call_later(struct qmp_call *call)
{
	struct qmp *qmp = call->qmp;

	call->now = false;
	call->next = qmp->calls;
	if (qmp->calls)
		qmp->calls->prev = call;
	qmp->calls = call;
}

void qmp_call_free(struct qmp_call *call)
{
	if (call->prev)
		call->prev->next = call->next;
	else
		call->qmp->calls = call->next;
	if (call->next)
		call->next->prev = call->prev;
	json_decref(call->id);
	free(call);
}

void qmp_dispatch(struct qmp_monitor *monitor, const char *text, size_t len, json_t **reply)
{
	struct qmp_call *call = calloc(1, sizeof(*call));
	struct err err = ERR_INIT;
	json_error_t why;
	json_t *request = call ? json_loadb(text, len, JSON_REJECT_DUPLICATES, &why) : NULL;
	json_t *ret = NULL, *id = NULL;
	int r;

	*reply = NULL;
	if (!call) {
		r = err_set(&err, -ENOMEM, "no memory for the command");
	} else if (!request) {
		r = err_set(&err, -EINVAL, "JSON parse error: %s", why.text);
	} else {
		id = json_incref(json_object_get(request, "id"));
		*call = (struct qmp_call){ .qmp = monitor->qmp, .monitor = monitor, .id = id, .now = true };
		monitor->call = call;
		r = run_request(call, request, &ret, &err);
	}
	json_decref(request);
	if (r == QMP_LATER) {
		call_later(call);
		return;
	}
	if (r == 0)
		err.code = 0;
	monitor->call = NULL;
	free(call);
	*reply = qmp_reply(id, ret, &err);
}
