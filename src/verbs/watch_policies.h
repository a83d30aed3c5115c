/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Watches the policies of a live charon. If the kernel loses a policy that charon still needs, the policy's traffic is
 * unprotected: something else than charon has deleted it.
 *
 * A thread receives the kernel's events, and puts a shadow in the place of such a policy at once. It waits for nothing
 * but these events. The calling thread asks charon about lost policies, which may take long, and reports them. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What happens when the kernel has lost a policy that charon still needs. */
enum on_missing {
	ON_MISSING_REPORT,  /* a warning */
	ON_MISSING_BLOCK,   /* a shadow until charon has the policy back, and a warning */
	ON_MISSING_RESTART, /* as ON_MISSING_BLOCK, and the caller ends charon */
};

struct policy_watch;

/* Reads all policies, and starts to watch them in the network namespace of the calling thread. Returns 0, or a negative
 * errno, which it reports. */
int policy_watch_open(enum on_missing action, struct policy_watch **ret);

/* Names the process that the policies belong to, after it has answered. If that is a new process, forgets which
 * policies were lost, since their shadows are left to `release`. Deletions are ignored while no process is named, or
 * the process has ended. Reports a process in another network namespace, whose policies are not watched. */
void policy_watch_set_daemon(struct policy_watch *watch, pid_t pid);

/* Returns a descriptor for poll(2), which reports POLLIN when policy_watch_turn() has something to do. */
int policy_watch_fd(const struct policy_watch *watch);

/* The daemon, for policy_watch_turn(). */
struct policy_owner {
	const char *name;   /* as charon names itself */
	const char *socket; /* its VICI socket */
	const char *unit;   /* its service */
	/* Maximum time for each of its answers, in microseconds. */
	uint64_t deadline_usec;
};

/* Asks charon which lost policies it still needs, and reports these. Removes the shadows of those that it does not
 * need, and reports which policies are back. The caller calls it when policy_watch_fd() is readable, and repeatedly
 * while policies may be lost. Returns 1 if charon has to be ended now (ON_MISSING_RESTART), 0 if not, or a negative
 * errno if policies cannot be watched any more, which it reports. */
int policy_watch_turn(struct policy_watch *watch, const struct policy_owner *owner);
