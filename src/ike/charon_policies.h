/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Asks charon which policies it still needs. */

#include <stddef.h>
#include <stdint.h>

#include "ike/needed_policies.h"
#include "ike/vici.h"

/* Sorts the policies. Sets `needed` of each policy that belongs to a CHILD_SA with policies in the kernel, to a trap,
 * or to a shunt that blocks. Sends the commands `list-sas`, in its blocking form, `list-policies` and `stats`. charon
 * waits for each IKE_SA that one of its threads works on, so a CHILD_SA that is being deleted is not listed.
 *
 * Each answer may take `timeout` microseconds. Returns 0, -EMSGSIZE if charon has left IKE_SAs out (vici.h), -ENOMEM,
 * or an error of vici_request(). */
int charon_find_needed(struct vici *vici, uint64_t timeout, struct needed_policy *list, size_t n);
