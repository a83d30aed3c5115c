/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What `xfrmctl status` has found, as plain data, and what it has to say of it. Everything but verb_status() is pure.
 * Times are seconds since the epoch, as the kernel writes them into lifetimes. */

#include <linux/xfrm.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "hold/shadow.h"
#include "ike/charon.h"
#include "ike/key_manager.h"
#include "routes/table.h"
#include "status/orphans.h"
#include "xfrm/entry.h"

/* Modes that are told apart; the kernel has six (Linux 6.14). */
#define STATUS_MODES 8

#define STATUS_KEY_MANAGERS_MAX 16

/* Size of the longest answer of status_key_manager_name(), in bytes. */
#define STATUS_KEY_MANAGER_MAX (NAME_MAX + sizeof(" (PID 2147483648)"))

/* Long enough for every sentence that status_problem() writes. */
#define STATUS_PROBLEM_MAX 512

enum status_proto {
	STATUS_ESP,
	STATUS_AH,
	STATUS_COMP,
	STATUS_PROTOS,
};

enum status_family {
	STATUS_IPV4,
	STATUS_IPV6,
	STATUS_FAMILIES,
};

/* What a policy does with what it matches. */
enum status_action {
	STATUS_PROTECT, /* it has templates */
	STATUS_BYPASS,
	STATUS_BLOCK,
	STATUS_ACTIONS,
};

enum status_ptype {
	STATUS_MAIN,
	STATUS_SUB,
	STATUS_PTYPES,
};

struct status_sas {
	uint64_t n;
	uint64_t oldest, youngest; /* when these were added */
};

struct status_shadows {
	uint64_t hold, grace, close; /* by tag */
	uint64_t passing;	     /* of all of these, those that let traffic pass */
	uint64_t grace_ends;	     /* when the last of those with a grace goes */
	struct xfrm_counters before; /* the counters when the oldest of them was made */
};

struct status_policies {
	uint64_t n[XFRM_POLICY_MAX][STATUS_ACTIONS][STATUS_PTYPES]; /* without shadows */
	uint64_t of_sockets;
	uint64_t kept; /* kept shadows, through which traffic goes on */
	struct status_shadows shadows;
};

struct status_states {
	struct status_sas sas[STATUS_PROTOS][STATUS_FAMILIES][STATUS_MODES];
	uint64_t larval;
	uint64_t guard_sas; /* in front of SAs that were kept */
	uint64_t other;	    /* protocols that are none of IPsec's */
};

/* What became of the question to charon. */
enum status_charon_state {
	STATUS_CHARON_UP,
	STATUS_CHARON_ABSENT,	 /* nobody is there: no socket, or nobody listens on it */
	STATUS_CHARON_SILENT,	 /* it takes the connection, or not even that, and does not answer in time */
	STATUS_CHARON_FORBIDDEN, /* the socket is not for us */
	STATUS_CHARON_ELSEWHERE, /* it works in another network namespace */
	STATUS_CHARON_BROKEN,	 /* something else */
};

struct status_charon {
	const char *socket;
	int error; /* of VICI: 0 or a negative errno */
	bool elsewhere;
	uint64_t timeout_usec;
	pid_t pid; /* 0 when it cannot be seen */
	struct charon_version version;
	bool has_stats;
	struct charon_stats stats;
	uint64_t ike_sas, child_sas;
};

struct status {
	uint64_t now;
	int kernel_error; /* why the kernel's lists are not known: 0 or a negative errno */
	int key_managers_error;
	struct status_states states;
	struct status_policies policies;
	bool blocked_known;
	struct xfrm_counters blocked; /* since the network namespace was made */
	struct key_manager key_managers[STATUS_KEY_MANAGERS_MAX];
	size_t n_key_managers; /* can be more than fit */
	struct status_charon charon;
	bool orphans_known;
	struct orphans orphans;
	uint32_t table; /* charon's routing table */
	int routes_error;
	bool routes_known; /* and so is which of them charon explains */
	struct routes routes;
};

struct status_routes {
	size_t real, backups;
	size_t unexplained; /* of the real ones */
};

/* Each counts one entry. */
void status_add_sa(struct status_states *states, const struct entry *sa);
void status_add_policy(struct status_policies *policies, const struct entry *policy);

/* Puts orphans with traffic first, the busiest first of all; the others by age, the oldest first. */
void status_sort_orphans(struct orphans *orphans);

uint64_t status_count_sas(const struct status_states *states);
uint64_t status_count_policies(const struct status_policies *policies);
uint64_t status_count_shadows(const struct status_shadows *shadows);
struct status_routes status_count_routes(const struct routes *routes);

/* Whether somebody should look at a route: a real one that charon does not explain, or whose source is probably a
 * virtual address of an earlier charon. */
bool status_is_left_over(const struct route *route);

/* The microseconds from then to now; 0 when the clock was set back. */
uint64_t status_age(const struct status *status, uint64_t then);

enum status_charon_state status_charon_state(const struct status_charon *charon);

/* Returns the first key manager that is alive, or NULL. */
const struct key_manager *status_key_manager(const struct status *status);

/* Returns whether it can be found out which SAs are orphans, and which routes are explained: charon answers, or neither
 * charon nor any other key manager is alive. */
bool status_can_find_orphans(const struct status *status);

/* Names for people and programs. That of a key manager ("charon (PID 612)"), and of a mode that has none of its own, is
 * written into `buffer`. */
const char *status_charon_state_name(enum status_charon_state state);
const char *status_key_manager_name(const struct key_manager *key_manager, char buffer[STATUS_KEY_MANAGER_MAX]);
const char *status_proto_name(enum status_proto proto);
const char *status_family_name(enum status_family family);
const char *status_action_name(enum status_action action);
const char *status_mode_name(unsigned int mode, char buffer[4]);

/* A part of the answer that may be missing. */
enum status_part {
	STATUS_PART_KERNEL,
	STATUS_PART_CHARON,
	STATUS_PART_KEY_MANAGERS,
	STATUS_PART_ROUTES,
	STATUS_PARTS,
};

/* Writes a sentence on why a part is missing, or incomplete, and the remedy; NULL when it is not. */
const char *status_problem(const struct status *status, enum status_part part, char buffer[STATUS_PROBLEM_MAX]);

/* How status_text() writes. */
struct status_style {
	unsigned int width; /* columns; 0 when there is no need to keep to any */
	bool colour;
	bool all; /* lists are not cut */
};

/* Each writes all of it. Errors of the file are left to be found in the file. -ENOMEM. */
void status_text(const struct status *status, const struct status_style *style, FILE *f);
int status_json(const struct status *status, FILE *f);
void status_metrics(const struct status *status, FILE *f);
