/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The XFRM client: all requests of xfrmctl to XFRM go through it (NETLINK_XFRM, net/xfrm/xfrm_user.c). It works in the
 * network namespace in which the calling thread was when it called xfrm_open(). Its callers decide which entries to
 * change. Functions that return an int return 0 or a negative errno, unless their comments name other values. */

#include <linux/netlink.h>
#include <stdbool.h>
#include <stdint.h>

#include "xfrm/counters.h"
#include "xfrm/entry.h"

struct xfrm;

/* Numbers of entries, from the answers to XFRM_MSG_GETSADINFO and XFRM_MSG_GETSPDINFO. */
struct xfrm_counts {
	uint32_t sas;			    /* SAs of all protocols, also of those that xfrmctl never changes */
	uint32_t policies[XFRM_POLICY_MAX]; /* by direction: main and sub policies, no per-socket ones */
};

/* Returns the number of policies of all directions together. */
uint64_t xfrm_sum_policies(const struct xfrm_counts *counts);

/* A change that was not made. */
struct xfrm_refusal {
	/* The entry that was to be deleted. If the change was only an addition, the policy that was to be added. An
	 * entry from the message of a deletion has no lifetimes and no templates. */
	struct entry entry;
	/* Negative errno. -ENOENT and -ESRCH of a deletion mean that the entry was already absent. -EEXIST of an
	 * addition means that a policy with this key exists; of a deletion, that another SA hides this one. -EAGAIN
	 * means that the kernel's answer was lost (ENOBUFS). */
	int error;
	/* Whether an addition failed. The deletion that depends on it, if any, was not made either. */
	bool addition;
};

/* Opens two sockets: one for dumps and one for changes, so that entries can be deleted during a dump. Fails with
 * -EPROTONOSUPPORT when the kernel has no XFRM. */
int xfrm_open(struct xfrm **ret);

/* Closes the sockets and erases the keys of SAs that were received. */
void xfrm_close(struct xfrm **xfrm);

/* Counts SAs and policies. Fails with -EPERM without CAP_NET_ADMIN in the user namespace that owns the network
 * namespace. */
int xfrm_count(struct xfrm *xfrm, struct xfrm_counts *ret);

/* Reads from /proc/net/xfrm_stat how many packets policies have blocked in the network namespace of the main thread.
 * Returns 0, -ENOENT when the kernel does not count them (CONFIG_XFRM_STATISTICS), or another negative errno. After an
 * error both counters are 0. */
int xfrm_read_counters(struct xfrm_counters *ret);

/* Finds out in which directions the kernel blocks packets that match no policy (`ip xfrm policy setdefault`), as bits
 * 1 << XFRM_POLICY_…. Fails when the kernel has no such setting (before Linux 5.14). */
int xfrm_default_blocks(struct xfrm *xfrm, uint8_t *ret);

/* Counts the SAs of one protocol in a dump that the kernel filters. Fails like xfrm_dump(). */
int xfrm_count_sas(struct xfrm *xfrm, uint8_t proto, uint32_t *ret);

/* Deletes all SAs of one protocol in one request (XFRM_MSG_FLUSHSA). Succeeds also when there are none. */
int xfrm_flush_sas(struct xfrm *xfrm, uint8_t proto);

/* Deletes all policies of one type, except per-socket policies, in one request (XFRM_MSG_FLUSHPOLICY). Fails with
 * -EINVAL when the kernel does not support the type (CONFIG_XFRM_SUB_POLICY). */
int xfrm_flush_policies(struct xfrm *xfrm, uint8_t ptype);

/* Handles one entry of a dump. A negative errno ends the dump, and xfrm_dump() returns it. */
typedef int (*xfrm_entry_fn)(const struct entry *entry, void *userdata);

/* Calls `fn` for each SA or each policy, with constant memory. Fails with -EAGAIN when a part of the dump was lost
 * (ENOBUFS). `fn` then got every entry that arrived, but there may be others. A dump does not show entries that are
 * added during it; xfrm/monitor.h reports them. */
int xfrm_dump(struct xfrm *xfrm, enum entry_kind kind, xfrm_entry_fn fn, void *userdata);

/* Repeats xfrm_dump() a few times while the dump is incomplete. Calls `begin`, unless it is NULL, before each attempt,
 * because `fn` gets all entries again. Fails with -EAGAIN when the last attempt was incomplete too. */
int xfrm_dump_consistent(struct xfrm *xfrm, enum entry_kind kind, void (*begin)(void *userdata), xfrm_entry_fn fn,
			 void *userdata);

/* Handles one change that was not made. */
typedef void (*xfrm_refused_fn)(const struct xfrm_refusal *refusal, void *userdata);

/* Queues the deletion of an entry that a dump returned, and sends the queue first if it is full. The request names a
 * policy by index, direction, ptype, mark and if_id, and an SA by destination, SPI, protocol and mark. Each entry is
 * deleted in this call or a later one, or is reported to `fn`. Fails when communication with the kernel fails.
 *
 * A larval SA that waits for its negotiation has no SPI, so a request cannot name it. xfrm_delete() first gives the SA
 * an SPI (XFRM_MSG_ALLOCSPI, with the sequence number of the SA).
 *
 * An SA can be hidden by another SA with the same SPI and destination but a wider mark. The kernel would delete the
 * other SA, because xfrm_state_lookup() takes the first that fits. So xfrm_delete() refuses to delete the hidden SA and
 * reports -EEXIST. */
int xfrm_delete(struct xfrm *xfrm, const struct entry *entry, xfrm_refused_fn fn, void *userdata);

/* Queues the addition of a policy (XFRM_MSG_NEWPOLICY), and behind it the deletion of `old`, which may be NULL. The new
 * policy has the selector (with `user`), priority, action, flags, lifetimes, ptype, mark, if_id, templates and security
 * context of `policy`. `old` is deleted only after the kernel has added the policy, so that one of the two always
 * exists. Refusals and errors are as in xfrm_delete().
 *
 * The kernel refuses an addition with -EEXIST when there is a policy with the same selector, ptype, mark, if_id and
 * security context. If the policy is between networks, the kernel has to walk over all policies between networks
 * (xfrm_policy_inexact_insert()). */
int xfrm_exchange(struct xfrm *xfrm, const struct entry *policy, const struct entry *old, xfrm_refused_fn fn,
		  void *userdata);

/* Finds the policy with the selector, direction, ptype, mark, if_id and security context of `policy`; other members do
 * not matter. `ret` is valid until the next call. Fails with -ENOENT when there is no such policy. */
int xfrm_find_policy(struct xfrm *xfrm, const struct entry *policy, struct entry *ret);

/* Returns 1 when xfrm_find_policy() finds the policy, 0 when there is none, or another negative errno. */
int xfrm_has_policy(struct xfrm *xfrm, const struct entry *policy);

/* Replaces the policy with the same key in one step (XFRM_MSG_UPDPOLICY). If the policy is between networks, the kernel
 * has to walk over all policies between networks. */
int xfrm_update_policy(struct xfrm *xfrm, const struct entry *policy);

/* Finds the SA with the destination, SPI, protocol and mark of `sa`; other members do not matter. `ret` is valid until
 * the next call. Fails with -ESRCH when there is no such SA. */
int xfrm_find_sa(struct xfrm *xfrm, const struct entry *sa, struct entry *ret);

/* Sets the lifetime of an SA that a dump returned: the kernel ends the SA `seconds` after its addition, by its own
 * clock. */
int xfrm_set_sa_lifetime(struct xfrm *xfrm, const struct entry *sa, uint64_t seconds);

/* Sends a request that the caller has built, with the next sequence number, and waits for the acknowledgement. */
int xfrm_request(struct xfrm *xfrm, struct nlmsghdr *request);

/* Returns whether the last error of xfrm_find_policy() or xfrm_update_policy() concerns only that policy: the kernel
 * answered with it, or the request could not be built. Otherwise communication with the kernel failed. */
bool xfrm_refused(const struct xfrm *xfrm);

/* Sends the queued changes and reports those that were refused to `fn`. */
int xfrm_commit(struct xfrm *xfrm, xfrm_refused_fn fn, void *userdata);

/* Returns whether refusals of deletions have been lost (ENOBUFS) since the last call. */
bool xfrm_lost_refusals(struct xfrm *xfrm);
