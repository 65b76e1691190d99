/* SPDX-License-Identifier: MIT */
/*
 * Who answers for units that are not there, so that drivers can ask a target which are: SPC-4, sections 4.4 and 6.6.2. And the REPORT LUNS
 * well-known logical unit, which knows little else (SPC-4, section 8.2).
 */
#include <string.h>

#include "hw/scsi_priv.h"

static const struct scsi_command nobody_commands[] = {
	{ SCSI_INQUIRY, SCSI_ANYTIME, scsi_inquiry },
	{ SCSI_REPORT_LUNS, SCSI_ANYTIME, scsi_report_luns },
	{ SCSI_REQUEST_SENSE, SCSI_ANYTIME, scsi_request_sense },
	{ 0 },
};

static const struct scsi_type nobody_type = {
	.device_type = SCSI_TYPE_NOBODY,
	.commands = nobody_commands,
	.no_such_command = SCSI_NO_SUCH_LUN,
};

static const struct scsi_command well_known_commands[] = {
	{ SCSI_INQUIRY, SCSI_ANYTIME, scsi_inquiry },
	{ SCSI_REPORT_LUNS, SCSI_ANYTIME, scsi_report_luns },
	{ SCSI_REQUEST_SENSE, SCSI_ANYTIME, scsi_request_sense },
	{ SCSI_TEST_UNIT_READY, 0, scsi_test_unit_ready },
	{ 0 },
};

static const struct scsi_type well_known_type = {
	.device_type = SCSI_TYPE_WELL_KNOWN,
	.commands = well_known_commands,
	.no_such_command = SCSI_INVALID_OPCODE,
};

void scsi_nobody_init(struct scsi_unit *unit, bool well_known)
{
	*unit = (struct scsi_unit){
		.type = well_known ? &well_known_type : &nobody_type,
		.name = "no unit",
		.log = LOG_LIMIT_INIT,
	};
	memset(unit->vendor, ' ', sizeof(unit->vendor));
	memset(unit->product, ' ', sizeof(unit->product));
	memset(unit->version, ' ', sizeof(unit->version));
}
