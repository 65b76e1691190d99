/* SPDX-License-Identifier: MIT */
/*
 * MODE SENSE and MODE SELECT (SPC-4, sections 6.10 to 6.13, 7.5): pages of parameters, from the table of the unit's type. Values are not
 * saved. What a page has not as changeable must be selected as it is.
 */
#include <string.h>

#include "hw/scsi_priv.h"
#include "vmm/iov.h"
#include "vmm/util.h"

#define PARAMETERS_MAX 512 /* all pages and a header are less */
#define PAGE_MAX 64
#define DESCRIPTOR 8

enum page_control { CURRENT, CHANGEABLE, DEFAULT, SAVED };

static void fill_page(const struct scsi_unit *unit, const struct scsi_mode_page *page, enum page_control control, uint8_t *out)
{
	memset(out, 0, 2u + page->len);
	out[0] = page->code;
	out[1] = page->len;
	if (control == CURRENT) {
		page->fill(unit, out);
	} else if (control == DEFAULT) {
		struct scsi_unit as_new = *unit;

		as_new.wce = as_new.wce_default;
		page->fill(&as_new, out);
	} else if (page->changeable) {
		memcpy(out + 2, page->changeable + 2, page->len);
	}
}

/* Pages that `code` asks for. 0 bytes: there are none. */
static size_t fill_pages(const struct scsi_unit *unit, uint8_t code, enum page_control control, uint8_t *out)
{
	size_t n = 0;

	for (size_t i = 0; i < unit->type->n_pages; i++) {
		const struct scsi_mode_page *page = &unit->type->pages[i];

		if (code != SCSI_MODE_ALL && code != page->code)
			continue;
		fill_page(unit, page, control, out + n);
		n += 2u + page->len;
	}
	return n;
}

static size_t header_length(bool ten)
{
	return ten ? 8 : 4;
}

/* The header and the block descriptor (SBC-3, 6.4.2.2), for `pages` bytes behind them. */
static size_t fill_header(const struct scsi_unit *unit, bool ten, bool descriptor, size_t pages, uint8_t *out)
{
	size_t header = header_length(ten), n = header + (descriptor ? DESCRIPTOR : 0);
	uint8_t specific = unit->type->device_specific;

	if (unit->type->writable && unit->bd && unit->bd->read_only)
		specific |= 0x80;
	memset(out, 0, n);
	if (ten) {
		store_be16(&out[0], (uint16_t)(n + pages - 2));
		out[3] = specific;
		store_be16(&out[6], descriptor ? DESCRIPTOR : 0);
	} else {
		out[0] = (uint8_t)(n + pages - 1);
		out[2] = specific;
		out[3] = descriptor ? DESCRIPTOR : 0;
	}
	if (descriptor) {
		store_be32(&out[header], (uint32_t)min_u64(unit->blocks, UINT32_MAX));
		store_be24(&out[header + 5], unit->block);
	}
	return n;
}

void scsi_mode_sense(struct scsi_req *req)
{
	const struct scsi_unit *unit = req->unit;
	const uint8_t *cdb = req->cdb;
	bool ten = cdb[0] == SCSI_MODE_SENSE_10;
	bool descriptor = !(cdb[1] & 0x08) && unit->type->block_descriptor && unit->bd;
	uint8_t code = cdb[2] & 0x3f, subpage = cdb[3], data[PARAMETERS_MAX], pages[PARAMETERS_MAX];
	size_t n, header;

	if (cdb[2] >> 6 == SAVED) {
		scsi_check(req, SCSI_NO_SAVING);
		return;
	}
	/* No page has subpages; ffh is all of them, page 0 included. */
	n = subpage == 0 || subpage == 0xff ? fill_pages(unit, code, cdb[2] >> 6, pages) : 0;
	if (n == 0) {
		scsi_bad_field(req, subpage && subpage != 0xff ? 3 : 2);
		return;
	}
	header = fill_header(unit, ten, descriptor, n, data);
	memcpy(data + header, pages, n);
	scsi_reply(req, data, header + n, ten ? load_be16(&cdb[7]) : cdb[4]);
}

/* ---- MODE SELECT ---- */

static const struct scsi_mode_page *find_page(const struct scsi_unit *unit, uint8_t code)
{
	for (size_t i = 0; i < unit->type->n_pages; i++)
		if (unit->type->pages[i].code == code)
			return &unit->type->pages[i];
	return NULL;
}

/* The first byte of `given` that is neither changeable nor as it is; 0: there is none. */
static size_t wrong_byte(const struct scsi_unit *unit, const struct scsi_mode_page *page, const uint8_t *given)
{
	uint8_t now[PAGE_MAX];

	fill_page(unit, page, CURRENT, now);
	for (size_t i = 2; i < 2u + page->len; i++) {
		uint8_t fixed = (uint8_t)~(page->changeable ? page->changeable[i] : 0);

		if ((given[i] & fixed) != (now[i] & fixed))
			return i;
	}
	return 0;
}

/* Goes over the pages of `data` from `at` on: checks them, or with `apply` puts them into effect. False: wrong, and the request has ended. */
static bool select_pages(struct scsi_req *req, const uint8_t *data, size_t at, size_t len, bool apply)
{
	struct scsi_unit *unit = req->unit;

	while (at < len) {
		const struct scsi_mode_page *page = find_page(unit, data[at] & 0x3f);
		size_t wrong;

		if (!page || (data[at] & 0x40)) { /* SPF: a subpage */
			scsi_bad_parameter(req, (unsigned)at);
			return false;
		}
		if (len - at < 2u + page->len) {
			scsi_check(req, SCSI_PARAMETER_LENGTH);
			return false;
		}
		if (data[at + 1] != page->len) {
			scsi_bad_parameter(req, (unsigned)at + 1);
			return false;
		}
		wrong = apply ? 0 : wrong_byte(unit, page, data + at);
		if (wrong) {
			scsi_bad_parameter(req, (unsigned)(at + wrong));
			return false;
		}
		if (apply && page->changed)
			page->changed(unit, data + at);
		at += 2u + page->len;
	}
	return true;
}

/* A block descriptor may say what is so. */
static bool descriptor_ok(const struct scsi_unit *unit, const uint8_t *d)
{
	uint32_t n = load_be32(d), block = load_be24(d + 5);

	return (n == 0 || n == UINT32_MAX || n == min_u64(unit->blocks, UINT32_MAX)) && (block == 0 || block == unit->block);
}

void scsi_mode_select(struct scsi_req *req)
{
	const uint8_t *cdb = req->cdb;
	bool ten = cdb[0] == SCSI_MODE_SELECT_10;
	size_t len = ten ? load_be16(&cdb[7]) : cdb[4], header = header_length(ten), descriptors;
	uint8_t data[PARAMETERS_MAX];

	if ((cdb[1] & 0x11) != 0x10) { /* PF: pages as in the standard; SP: to be saved */
		scsi_bad_field(req, 1);
		return;
	}
	if (len == 0) {
		scsi_good(req);
		return;
	}
	if (len < header || len > sizeof(data)) {
		scsi_check(req, SCSI_PARAMETER_LENGTH);
		return;
	}
	if (!scsi_take_parameters(req, data, len))
		return;
	descriptors = ten ? load_be16(&data[6]) : data[3];
	if (descriptors > len - header) {
		scsi_check(req, SCSI_PARAMETER_LENGTH);
		return;
	}
	if (descriptors && (descriptors != DESCRIPTOR || !req->unit->type->block_descriptor || !descriptor_ok(req->unit, &data[header]))) {
		scsi_bad_parameter(req, (unsigned)(descriptors == DESCRIPTOR ? header : header - 1));
		return;
	}
	if (select_pages(req, data, header + descriptors, len, false) && select_pages(req, data, header + descriptors, len, true))
		scsi_good(req);
}

void scsi_mode_control(const struct scsi_unit *unit, uint8_t *page)
{
	(void)unit;
	page[3] = 0x10; /* simple tasks are reordered at will */
}
