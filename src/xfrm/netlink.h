/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The door to the kernel: everything that xfrmctl asks XFRM (NETLINK_XFRM, net/xfrm/xfrm_user.c) goes through here. It
 * works in the network namespace that the calling thread was in when xfrm_open() was called, and knows nothing of
 * what should be removed or why. All functions return 0 or a negative errno. */

#include <linux/netlink.h>
#include <stdbool.h>
#include <stdint.h>

#include "xfrm/counters.h"
#include "xfrm/entry.h"

struct xfrm;

/* What the kernel has, from XFRM_MSG_GETSADINFO and XFRM_MSG_GETSPDINFO. */
struct xfrm_counts {
	uint32_t sas;			    /* all protocols, those that xfrmctl never touches included */
	uint32_t policies[XFRM_POLICY_MAX]; /* by direction, main and sub together, without per-socket ones */
};

uint64_t xfrm_sum_policies(const struct xfrm_counts *counts);

/* A change that was not carried out. */
struct xfrm_refusal {
	struct entry entry; /* as far as the deletion named it: no lifetimes, no templates */
	int error;	    /* negative errno; -ENOENT and -ESRCH: it had gone already */
	bool addition; /* the policy that was to stand in for `entry` was refused, so that `entry` was left alone; it
			* is the addition itself where nothing was to be deleted. -EEXIST: there is one already;
			* -EAGAIN: the kernel's word on it was lost (ENOBUFS) */
};

/* Opens the two sockets: one for dumps, one for changes, so that entries can be deleted while a dump goes on.
 * Errors: -EPROTONOSUPPORT when the kernel has no XFRM. */
int xfrm_open(struct xfrm **ret);
void xfrm_close(struct xfrm **xfrm);

/* Errors: -EPERM without CAP_NET_ADMIN in the user namespace that owns the network namespace. */
int xfrm_count(struct xfrm *xfrm, struct xfrm_counts *ret);

/* Reads how many packets policies have blocked so far in the network namespace of the calling process, from
 * /proc/net/xfrm_stat. Returns 0, -ENOENT when the kernel does not count them (CONFIG_XFRM_STATISTICS), or another
 * negative errno, and then the counters are 0. */
int xfrm_read_counters(struct xfrm_counters *ret);

/* How many SAs of one protocol there are, from a dump that the kernel filters. Errors as xfrm_dump(). */
int xfrm_count_sas(struct xfrm *xfrm, uint8_t proto, uint32_t *ret);

/* XFRM_MSG_FLUSHSA of one protocol, one call whatever their number. An empty database is no error. */
int xfrm_flush_sas(struct xfrm *xfrm, uint8_t proto);

/* XFRM_MSG_FLUSHPOLICY of one policy type; per-socket policies survive. -EINVAL when the kernel does not know the type
 * (CONFIG_XFRM_SUB_POLICY). */
int xfrm_flush_policies(struct xfrm *xfrm, uint8_t ptype);

/* Called for each entry of a dump; a negative errno ends the dump and is what xfrm_dump() returns. */
typedef int (*xfrm_entry_fn)(const struct entry *entry, void *userdata);

/* Streams all entries of a kind. Memory is constant. -EAGAIN when a part of the dump was lost (ENOBUFS): `fn` got every
 * entry that arrived, but there may be others. A dump does not show what is added while it goes on (monitor.h does). */
int xfrm_dump(struct xfrm *xfrm, enum entry_kind kind, xfrm_entry_fn fn, void *userdata);

/* The same, again a few times while it is incomplete. `begin`, unless NULL, is called before each: what `fn` was given
 * until then comes once more. -EAGAIN when the last one was incomplete too. */
int xfrm_dump_consistent(struct xfrm *xfrm, enum entry_kind kind, void (*begin)(void *userdata), xfrm_entry_fn fn,
			 void *userdata);

/* Called for each change that was not carried out. */
typedef void (*xfrm_refused_fn)(const struct xfrm_refusal *refusal, void *userdata);

/* Queues the deletion of an entry that a dump handed out, and sends the queue when it is full: policies by index, with
 * direction, ptype, mark and if_id; SAs by destination, SPI, protocol and mark. An entry that is handed to it is
 * deleted in this or a later call, or reported to `fn`; the errno that is returned is about the way to the kernel.
 *
 * A larval SA that waits for its negotiation has no SPI and so no name; it gets one first (XFRM_MSG_ALLOCSPI with its
 * sequence number). An SA that is hidden by one with the same SPI and destination but a wider mark is refused with
 * -EEXIST: the kernel would delete that one in its place (xfrm_state_lookup() takes the first that fits). */
int xfrm_delete(struct xfrm *xfrm, const struct entry *entry, xfrm_refused_fn fn, void *userdata);

/* Queues the addition of a policy (XFRM_MSG_NEWPOLICY: selector with `user`, priority, action, flags, lifetimes, ptype,
 * mark, if_id, templates and security context of `policy`), and behind it the deletion of `old`, which may be NULL.
 * `old` is deleted only when the kernel has confirmed the addition, so that at no time both are missing.
 *
 * An addition is refused with -EEXIST when there is a policy with the same selector, ptype, mark, if_id and security
 * context. Of network policies that costs the kernel a walk over all of them (xfrm_policy_inexact_insert()). */
int xfrm_exchange(struct xfrm *xfrm, const struct entry *policy, const struct entry *old, xfrm_refused_fn fn,
		  void *userdata);

/* Looks for the policy with this selector, direction, ptype, mark, if_id and security context; whatever else `policy`
 * says does not matter. `ret` is valid until the next call. -ENOENT when there is none. */
int xfrm_find_policy(struct xfrm *xfrm, const struct entry *policy, struct entry *ret);

/* Whether there is such a policy: 1 or 0. Errors as xfrm_find_policy(), but for -ENOENT. */
int xfrm_has_policy(struct xfrm *xfrm, const struct entry *policy);

/* Puts a policy in the place of the one with the same key at once (XFRM_MSG_UPDPOLICY). Of network policies that costs
 * the kernel a walk over all of them. */
int xfrm_update_policy(struct xfrm *xfrm, const struct entry *policy);

/* Looks for the SA with this destination, SPI, protocol and mark; whatever else `sa` says does not matter. -ESRCH when
 * there is none. */
int xfrm_find_sa(struct xfrm *xfrm, const struct entry *sa, struct entry *ret);

/* Lets an SA that a dump hands out end so many seconds after it was added, by the kernel's own clock. */
int xfrm_set_sa_lifetime(struct xfrm *xfrm, const struct entry *sa, uint64_t seconds);

/* Sends a request that somebody else has written, sets its sequence number, and waits for the acknowledgement. */
int xfrm_request(struct xfrm *xfrm, struct nlmsghdr *request);

/* Whether the errno of xfrm_find_policy() or xfrm_update_policy() was the kernel's answer, so that it is about this
 * policy alone; otherwise something happened on the way. */
bool xfrm_refused(const struct xfrm *xfrm);

/* Sends what is queued and reports what was refused. */
int xfrm_commit(struct xfrm *xfrm, xfrm_refused_fn fn, void *userdata);

/* Whether the kernel's word on refused deletions was lost on the way (ENOBUFS) since this was last asked. */
bool xfrm_lost_refusals(struct xfrm *xfrm);
