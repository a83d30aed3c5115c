/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Writes events list-sa as charon does, each with one CHILD_SA. */

#include "unit.h"

#include "ike/child_sa.h"
#include "ike/vici_message.h"

/* Writes a list of one traffic selector. */
static inline void put_selector(struct vici_writer *message, const char *name, const char *selector)
{
	const char *const values[] = {selector};

	vici_put_list(message, name, values, 1);
}

/* Begins an event with a CHILD_SA of the connection and the child "net". */
static inline void begin_child_sa(struct vici_writer *message, const char *id, const char *reqid, const char *state)
{
	vici_put_section(message, "net");
	vici_put_section(message, "child-sas");
	vici_put_section(message, "net-1");
	vici_put_value(message, "name", "net");
	vici_put_value(message, "uniqueid", id);
	vici_put_value(message, "reqid", reqid);
	vici_put_value(message, "state", state);
}

/* Ends the event, and adds the CHILD_SA to `sas`. */
static inline void end_child_sa(struct vici_writer *message, const char *local, const char *remote,
				struct child_sas *sas)
{
	struct vici_reader reader;

	put_selector(message, "local-ts", local);
	put_selector(message, "remote-ts", remote);
	vici_put_section_end(message);
	vici_put_section_end(message);
	vici_put_section_end(message);
	assert_false(message->overflow);
	vici_read(&reader, message->buffer, message->length);
	assert_int_equal(child_sas_read(&reader, sas), 0);
}
