/* SPDX-License-Identifier: MIT */
/*
 * A logical unit's task set: requests from submission to their end (SAM-5), sense data and unit attentions (SPC-4).
 *
 * A request is in its unit's list, in the order of arrival, until it is done. Simple tasks begin at once and end in any order, but for
 * ordered ones (SAM-5, 8.6): an ordered task begins when all before it are done, and those behind wait for it. Head of queue
 * tasks wait for nothing.
 *
 * What the host has begun cannot be taken back: an aborted request stays in the list, marked, until the host is done with its buffers.
 *
 * Unit attentions are a set of bits, reported by the next command that is not exempt, the first in the table first. A power-on covers the
 * others.
 */
#include <string.h>

#include "hw/scsi_priv.h"
#include "vmm/iov.h"
#include "vmm/util.h"

static const enum scsi_sense attentions[] = { SCSI_UA_POWER_ON, SCSI_UA_LUN_RESET, SCSI_UA_NEXUS_LOSS, SCSI_UA_NEW_MEDIUM, SCSI_UA_CAPACITY,
					      SCSI_UA_LUNS };

/* ---- sense data and attentions ---- */

size_t scsi_build_sense(uint8_t *out, enum scsi_sense sense, bool descriptor)
{
	uint8_t key = (uint8_t)(sense >> 16), code = (uint8_t)(sense >> 8), qualifier = (uint8_t)sense;

	memset(out, 0, SCSI_SENSE_MAX);
	if (descriptor) {
		out[0] = 0x72;
		out[1] = key;
		out[2] = code;
		out[3] = qualifier;
		return 8;
	}
	out[0] = 0x70;
	out[2] = key;
	out[7] = SCSI_SENSE_MAX - 8; /* additional length */
	out[12] = code;
	out[13] = qualifier;
	return SCSI_SENSE_MAX;
}

void scsi_unit_attention(struct scsi_unit *unit, enum scsi_sense what)
{
	for (size_t i = 0; i < ARRAY_SIZE(attentions); i++)
		if (attentions[i] == what)
			unit->attentions = i == 0 ? 1 : unit->attentions | BIT(i);
}

enum scsi_sense scsi_take_attention(struct scsi_unit *unit)
{
	unsigned i;

	if (!unit->attentions)
		return SCSI_NO_SENSE;
	i = (unsigned)__builtin_ctz(unit->attentions);
	unit->attentions &= ~BIT(i);
	return attentions[i];
}

bool scsi_ready(const struct scsi_unit *unit)
{
	return unit->bd && !unit->tray_open;
}

enum scsi_sense scsi_not_ready(const struct scsi_unit *unit)
{
	return unit->tray_open ? SCSI_TRAY_OPEN : SCSI_NO_MEDIUM;
}

/* ---- starting ---- */

static unsigned command_length(uint8_t opcode)
{
	static const uint8_t lengths[] = { 6, 10, 10, 16, 16, 12, 10, 10 }; /* SPC-4, 4.2.5.1, by the group code */

	return lengths[opcode >> 5];
}

/* The last row, which does nothing, for what is not in the table. */
static const struct scsi_command *find_command(const struct scsi_type *type, uint8_t opcode)
{
	const struct scsi_command *command = type->commands;

	while (command->run && command->opcode != opcode)
		command++;
	return command;
}

static void run(struct scsi_req *req)
{
	struct scsi_unit *unit = req->unit;
	const struct scsi_command *command = find_command(unit->type, req->cdb[0]);
	unsigned control = command_length(req->cdb[0]) - 1;

	req->state = SCSI_REQ_RUNNING;
	if (unit->attentions && !(command->flags & SCSI_ANYTIME))
		scsi_check(req, scsi_take_attention(unit));
	else if (!command->run)
		scsi_check(req, unit->type->no_such_command);
	else if (req->cdb[control] & 0x04) /* NACA, which needs auto contingent allegiance */
		scsi_bad_field(req, control);
	else if ((command->flags & SCSI_MEDIUM) && !scsi_ready(unit))
		scsi_check(req, scsi_not_ready(unit));
	else if ((command->flags & SCSI_WRITES) && unit->bd->read_only)
		scsi_check(req, SCSI_WRITE_PROTECTED);
	else
		command->run(req);
}

/* Whether what is in front of `req`, or in its way, is done. */
static bool may_start(const struct scsi_req *req)
{
	if (req->attr == SCSI_HEAD_OF_QUEUE)
		return true;
	if (req->attr == SCSI_ORDERED)
		return !req->prev;
	for (const struct scsi_req *r = req->unit->n_ordered ? req->prev : NULL; r; r = r->prev)
		if (r->attr == SCSI_ORDERED)
			return false;
	return true;
}

static struct scsi_req *next_to_start(const struct scsi_unit *unit)
{
	for (struct scsi_req *r = unit->first; r; r = r->next) {
		if (r->state == SCSI_REQ_WAITING)
			return may_start(r) ? r : NULL;
		if (r->attr == SCSI_ORDERED)
			return NULL;
	}
	return NULL;
}

static void start_waiting(struct scsi_unit *unit)
{
	struct scsi_req *req;

	if (unit->starting)
		return;
	unit->starting = true;
	while (unit->n_waiting && (req = next_to_start(unit))) {
		unit->n_waiting--;
		run(req);
	}
	unit->starting = false;
}

void scsi_submit(struct scsi_req *req)
{
	struct scsi_unit *unit = req->unit;

	req->aborted = SCSI_NOT_ABORTED;
	req->overrun = false;
	req->status = SCSI_GOOD;
	req->sense_len = 0;
	req->moved = req->will_move = 0;
	req->flush_before = req->flush_after = false;
	req->next_range = req->n_ranges = 0;
	req->op_flags = 0;
	req->bulk = NULL;
	req->state = SCSI_REQ_WAITING;
	req->next = NULL;
	req->prev = unit->last;
	if (unit->last)
		unit->last->next = req;
	else
		unit->first = req;
	unit->last = req;
	if (req->attr == SCSI_ORDERED)
		unit->n_ordered++;
	if (may_start(req))
		run(req);
	else
		unit->n_waiting++;
}

/* ---- ends ---- */

void scsi_end(struct scsi_req *req)
{
	struct scsi_unit *unit = req->unit;

	scsi_bulk_free(req);
	if (req->prev)
		req->prev->next = req->next;
	else
		unit->first = req->next;
	if (req->next)
		req->next->prev = req->prev;
	else
		unit->last = req->prev;
	if (req->state == SCSI_REQ_WAITING)
		unit->n_waiting--;
	if (req->attr == SCSI_ORDERED)
		unit->n_ordered--;
	req->done(req);
	if (unit->n_waiting)
		start_waiting(unit);
}

void scsi_good(struct scsi_req *req)
{
	scsi_end(req);
}

static void end_with_sense(struct scsi_req *req, enum scsi_sense sense)
{
	req->moved = 0;
	req->status = SCSI_CHECK_CONDITION;
	req->sense_len = (uint8_t)scsi_build_sense(req->sense, sense, false);
}

void scsi_check(struct scsi_req *req, enum scsi_sense sense)
{
	end_with_sense(req, sense);
	scsi_end(req);
}

/* SPC-4, 4.5.2.4.2: sense key specific data that point at a byte. */
static void end_at_field(struct scsi_req *req, enum scsi_sense sense, uint8_t where, unsigned byte)
{
	end_with_sense(req, sense);
	req->sense[15] = 0x80 | where;
	store_be16(&req->sense[16], (uint16_t)byte);
	scsi_end(req);
}

void scsi_bad_field(struct scsi_req *req, unsigned byte)
{
	end_at_field(req, SCSI_INVALID_FIELD, 0x40, byte);
}

void scsi_bad_parameter(struct scsi_req *req, unsigned byte)
{
	end_at_field(req, SCSI_INVALID_PARAMETER, 0, byte);
}

void scsi_overrun(struct scsi_req *req)
{
	req->moved = 0;
	req->overrun = true;
	scsi_end(req);
}

void scsi_reply(struct scsi_req *req, const void *data, size_t len, size_t allocated)
{
	struct iov_cursor c;

	len = min_u64(len, allocated);
	iov_cursor_init(&c, req->in, req->n_in);
	req->moved = (uint32_t)iov_cursor_write(&c, data, len);
	if (req->moved < len)
		req->overrun = true;
	scsi_end(req);
}

bool scsi_take_parameters(struct scsi_req *req, void *data, size_t len)
{
	struct iov_cursor c;

	iov_cursor_init(&c, req->out, req->n_out);
	if (c.left < len) {
		scsi_overrun(req);
		return false;
	}
	req->moved = (uint32_t)iov_cursor_read(&c, data, len);
	return true;
}

/* ---- aborts, resets ---- */

void scsi_abort(struct scsi_unit *unit, enum scsi_aborted how, bool (*match)(const struct scsi_req *req, const void *arg), const void *arg)
{
	bool starting = unit->starting;
	struct scsi_req *next;

	unit->starting = true; /* ends of some must not begin others that are about to be aborted */
	for (struct scsi_req *req = unit->first; req; req = next) {
		next = req->next;
		if (match && !match(req, arg))
			continue;
		req->aborted = how;
		if (req->state != SCSI_REQ_RUNNING)
			scsi_end(req);
	}
	unit->starting = starting;
	start_waiting(unit);
}

bool scsi_in_flight(const struct scsi_unit *unit, bool (*match)(const struct scsi_req *req, const void *arg), const void *arg)
{
	for (const struct scsi_req *req = unit->first; req; req = req->next)
		if (match(req, arg))
			return true;
	return false;
}

void scsi_unit_reset(struct scsi_unit *unit, enum scsi_sense what)
{
	unit->locked = false;
	unit->wce = unit->wce_default;
	scsi_unit_attention(unit, what);
}

void scsi_unit_drain(struct scsi_unit *unit)
{
	unit->ending = true;
	scsi_abort(unit, SCSI_ABORTED_BY_RESET, NULL, NULL);
	/* What completes may start the next part of its request. */
	while (unit->first)
		blockdev_drain(unit->bd);
	unit->ending = false;
}

void scsi_unit_retry(struct scsi_unit *unit)
{
	struct scsi_req *next;

	for (struct scsi_req *req = unit->first; req; req = next) {
		next = req->next;
		if (req->state == SCSI_REQ_KEPT)
			scsi_io_retry(req);
	}
}
