/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What `flush --orphans` asks charon. The functions report what fails and return 0 or a negative errno. */

#include "ike/vici.h"
#include "status/orphans.h"

/* Opens the VICI socket of the charon that owns this network namespace; NULL names the default one. Without charon's
 * list of SAs every SA would look orphaned. */
int flush_open_charon(const char *socket, struct vici **ret);

/* Finds the SAs that charon does not know. */
int flush_find_orphans(struct xfrm *xfrm, struct vici *vici, struct orphans *ret);
