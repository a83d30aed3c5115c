/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Requests of `flush --orphans` to charon. Each function returns 0, or a negative errno, which it reports. */

#include "ike/vici.h"
#include "status/orphans.h"

/* Connects to the charon of this network namespace. A `socket` of NULL means the default socket. Fails if that charon
 * does not answer: without its list of SAs every SA would look orphaned. The caller closes `*ret`, after a failure
 * too. */
int flush_open_charon(const char *socket, struct vici **ret);

/* Finds the SAs that charon does not know. The caller frees `ret` with orphans_free(). */
int flush_find_orphans(struct xfrm *xfrm, struct vici *vici, struct orphans *ret);
