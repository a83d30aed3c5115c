/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Watches the policies of a live charon. If the kernel loses a policy that charon still needs, the policy's traffic is
 * unprotected: another program has deleted the policy.
 *
 * A thread receives the kernel's events, and puts a shadow in the place of such a policy at once. It waits only for
 * these events. The calling thread asks charon about lost policies, which may take long, and reports them. */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Reactions to the loss of a policy that charon still needs. */
enum on_missing {
	ON_MISSING_REPORT,  /* a warning */
	ON_MISSING_BLOCK,   /* a shadow until the policy is back, and a warning */
	ON_MISSING_RESTART, /* as ON_MISSING_BLOCK, and the caller ends charon */
};

struct policy_watch;

/* Reads all policies, and starts to watch them in the network namespace of the calling thread. Returns 0, or a negative
 * errno, which it reports. */
int policy_watch_open(enum on_missing action, struct policy_watch **ret);

/* Sets the process that the policies belong to. The caller calls it after the process has answered. For a new process,
 * forgets which policies were lost, because `release` removes their shadows. Ignores deletions while no process is set,
 * or the process has ended. Reports a process in another network namespace, whose policies are not watched. */
void policy_watch_set_daemon(struct policy_watch *watch, pid_t pid);

/* Returns a descriptor for poll(2), which reports POLLIN when policy_watch_turn() has to be called. */
int policy_watch_fd(const struct policy_watch *watch);

/* The daemon, for policy_watch_turn(). */
struct policy_owner {
	const char *name;   /* as charon names itself */
	const char *socket; /* its VICI socket */
	const char *unit;   /* its service */
	/* Maximum time for each answer of the daemon, in microseconds. */
	uint64_t deadline_usec;
};

/* Asks charon which lost policies it still needs, and reports these. Removes the shadows of those that it does not
 * need, and reports which policies are back. The caller calls this function when policy_watch_fd() is readable, and
 * repeatedly while policies may be lost. Returns 1 if charon has to be ended now (ON_MISSING_RESTART), or 0 if not.
 * Returns a negative errno, which it reports, if policies cannot be watched any more. */
int policy_watch_turn(struct policy_watch *watch, const struct policy_owner *owner);
