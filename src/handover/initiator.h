/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Asks charon to begin with its children, in a process of its own: charon may take its time to answer, and traffic has
 * to be moved meanwhile. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "ike/charon.h"
#include "ike/child.h"
#include "ike/vici.h"

struct initiator {
	int fd; /* for poll(2): POLLIN when there is an answer, or the process has ended */
	pid_t pid;
};

struct initiator_question {
	size_t group, child;
	size_t tries; /* so often it was asked before; no bool, behind which there would be unset bytes */
};

struct initiator_answer {
	size_t group;
	enum charon_progress found; /* before charon was asked; it is asked when nobody is at it */
	int error;		    /* 0, or a negative errno */
	char why[128];		    /* what charon says when it refuses (-ENOENT) */
};

/* Starts the process. It takes over `vici`, looks at `children` as they are now, and ends with us. */
int initiator_start(struct vici **vici, const struct children *children, struct initiator *ret);
void initiator_end(struct initiator *initiator);

/* Questions are answered in their order. -EAGAIN when too many wait. */
int initiator_ask(const struct initiator *initiator, const struct initiator_question *question);

/* The next answer, without waiting: 1, or 0 when there is none yet. -ECONNRESET when the process has ended. */
int initiator_read(const struct initiator *initiator, struct initiator_answer *ret);
