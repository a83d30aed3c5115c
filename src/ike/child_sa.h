/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What charon has in the kernel, by its own account: CHILD_SAs, traps and shunts, with the policies that it installs
 * for each of them. Pure. */

#include <linux/xfrm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/prefix.h"
#include "ike/charon.h"
#include "ike/traffic_selector.h"
#include "ike/vici_message.h"
#include "xfrm/entry.h"

/* What charon lists. */
enum child_sa_kind {
	CHILD_SA_NEGOTIATED, /* a CHILD_SA of an IKE_SA */
	CHILD_SA_TRAP,	     /* charon negotiates when a packet matches */
	CHILD_SA_SHUNT,	     /* a child of the mode pass or drop */
};

/* What names an element of charon's lists to an operator. */
struct child_sa_name {
	/* Names of the connection and of the child. */
	char connection[CHARON_NAME_MAX], child[CHARON_NAME_MAX];
	enum child_sa_kind kind;
	/* charon's number of the CHILD_SA (uniqueid), which is never given twice; 0 for traps and shunts. */
	uint32_t id;
};

/* A CHILD_SA, a trap or a shunt. */
struct child_sa {
	struct child_sa_name name;
	/* Whether charon has it completely in the kernel: a CHILD_SA in the state INSTALLED, a trap or a shunt. */
	bool installed;
	/* Whether charon has its policies in the kernel: also a CHILD_SA in the state REKEYING or UPDATING
	 * (child_sa_state_t). */
	bool has_policies;
	/* Whether another CHILD_SA of the same reqid is being replaced or deleted. As responder of a rekeying, charon
	 * installs the new outbound SA only when the old one is deleted (CHILD_OUTBOUND_REGISTERED of child_sa.c). */
	bool unsettled;
	/* Whether the mode is transport, in which charon installs no policies for forwarded packets. */
	bool transport;
	/* Protocol and SPIs of a CHILD_SA, in host byte order. */
	uint8_t proto;
	uint32_t spi_in, spi_out;
	uint32_t reqid;
	struct xfrm_mark mark_in, mark_out;
	uint32_t if_id_in, if_id_out;
	/* Seconds since charon has installed the CHILD_SA. */
	uint64_t age;
};

/* A policy of charon. Policies of one selector for several directions share an element. */
struct child_sa_policy {
	/* Networks from which and to which its packets go; all addresses for a dynamic traffic selector. */
	struct prefix src, dst;
	bool src_dynamic, dst_dynamic;
	/* Mark and if_id. Those of traps and shunts are not known. */
	struct xfrm_mark mark;
	uint32_t if_id;
	bool any_mark;
	/* Whether the selector is limited to a protocol or ports, and whether the members below are known. */
	bool limited, exact;
	uint8_t proto;
	uint16_t sport, sport_mask, dport, dport_mask;
	/* Whether the packets leave through the tunnel, in contrast to those that come from it. */
	bool outbound;
	/* Directions, as bits 1 << XFRM_POLICY_…, in which charon has the policy in the kernel, and in which the caller
	 * has found it, or a policy of xfrmctl that blocks in its place. */
	uint8_t expected, found, blocked;
	/* Index of the CHILD_SA, trap or shunt. */
	uint32_t owner;
};

/* An SA of charon. */
struct child_sa_spi {
	uint32_t spi; /* host byte order */
	uint32_t owner;
	uint8_t proto;
	bool outbound;
	bool found; /* whether the caller has found it in the kernel */
};

/* All that charon lists. The caller zeroes it first. Memory: about 220 bytes for each element, 200 for each pair of
 * traffic selectors, and 24 for each CHILD_SA. */
struct child_sas {
	struct child_sa *list;
	size_t n, allocated;
	/* Number of IKE_SAs. */
	uint64_t n_ike_sas;
	struct child_sa_policies {
		struct child_sa_policy *list;
		size_t n, allocated;
	} policies;
	struct child_sa_spis {
		struct child_sa_spi *list;
		size_t n, allocated;
	} spis;
	/* Traffic selectors of the element that is being read: local ones and remote ones. */
	struct child_sa_selectors {
		struct traffic_selector *list;
		size_t n, allocated;
	} selectors[2];
};

/* Read an event list-sa or list-policy, and add what it lists. Return 0, -ENOMEM, or -EBADMSG. They are functions as
 * vici_stream() takes them; `userdata` is a struct child_sas. */
int child_sas_read(struct vici_reader *message, void *userdata);
int child_sas_read_policy(struct vici_reader *message, void *userdata);

/* Sorts the lists of policies and SPIs, and sets `unsettled`. The caller does this after the last event. Returns 0 or
 * -ENOMEM. */
int child_sas_sort(struct child_sas *sas);
void child_sas_free(struct child_sas *sas);

/* Marks an SA of the kernel as found. */
void child_sas_find_sa(struct child_sas *sas, const struct entry *sa);

/* Marks the policies that are in the kernel as this entry as found or, with `blocks`, as blocked. */
void child_sas_find_policy(struct child_sas *sas, const struct entry *policy, bool blocks);

/* Returns whether charon lists a policy between the networks of this entry, whatever its direction, protocol and
 * mark. */
bool child_sas_explain(const struct child_sas *sas, const struct entry *policy);

/* Returns whether charon needs a policy: it lists one with these networks, this direction and this if_id, and has it in
 * the kernel. Leaves out protocols, ports and marks, so that no policy that charon needs is missed. A dynamic traffic
 * selector stands for any network, and the if_id of a trap or a shunt for any if_id, because charon lists neither. */
bool child_sas_need(const struct child_sas *sas, const struct entry *policy);
