/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* The findings of `xfrmctl status` as plain data, and their output as text, JSON and metrics. verb_status() collects
 * the findings. Pure. Points in time are seconds since the epoch, because the kernel writes these into lifetimes. */

#include <linux/xfrm.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "hold/shadow.h"
#include "ike/charon.h"
#include "ike/key_manager.h"
#include "routes/table.h"
#include "status/disagreement.h"
#include "status/orphans.h"
#include "xfrm/entry.h"

/* Number of modes that are counted separately. The kernel has six (Linux 6.14). */
#define STATUS_MODES 8

/* Maximum number of key managers in struct status. */
#define STATUS_KEY_MANAGERS_MAX 16

/* Size of the longest answer of status_key_manager_name(), in bytes. */
#define STATUS_KEY_MANAGER_MAX (NAME_MAX + sizeof(" (PID 2147483648)"))

/* Size of a buffer that holds any sentence of status_problem(), in bytes. */
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

/* The effect of a policy on the packets that it matches. */
enum status_action {
	STATUS_PROTECT, /* the policy has templates */
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
	uint64_t oldest, youngest; /* times at which the oldest and the youngest SA were added */
};

struct status_shadows {
	/* Number of shadows with the tags SHADOW_HOLD, SHADOW_EXPIRING and SHADOW_ADJACENT. */
	uint64_t hold, expiring, adjacent;
	/* Number of all these shadows that are bypasses. */
	uint64_t passing;
	/* Time at which the kernel removes the last expiring shadow. */
	uint64_t expires;
	/* The kernel's counters at the time when the oldest shadow was made. */
	struct xfrm_counters before;
};

struct status_policies {
	/* Numbers of policies, without those of sockets, shadows and kept policies. */
	uint64_t n[XFRM_POLICY_MAX][STATUS_ACTIONS][STATUS_PTYPES];
	uint64_t of_sockets;
	/* Number of kept policies. */
	uint64_t kept;
	struct status_shadows shadows;
};

struct status_states {
	struct status_sas sas[STATUS_PROTOS][STATUS_FAMILIES][STATUS_MODES];
	uint64_t larval;
	uint64_t guard_sas;
	uint64_t other; /* number of SAs of protocols other than ESP, AH and IPComp */
};

/* The outcome of the attempt to ask charon. */
enum status_charon_state {
	/* charon answers. */
	STATUS_CHARON_UP,
	/* The socket does not exist, or no process listens on it. */
	STATUS_CHARON_ABSENT,
	/* charon does not accept the connection, or does not answer, within the timeout. */
	STATUS_CHARON_SILENT,
	/* This process has no permission to connect to the socket. */
	STATUS_CHARON_FORBIDDEN,
	/* charon answers, but works in another network namespace. */
	STATUS_CHARON_ELSEWHERE,
	/* Any other error. */
	STATUS_CHARON_BROKEN,
};

struct status_charon {
	const char *socket;
	int error;	/* of VICI: 0 or a negative errno */
	bool elsewhere; /* charon works in another network namespace */
	uint64_t timeout_usec;
	pid_t pid; /* 0 if the process is not visible from here */
	struct charon_version version;
	bool has_stats; /* `stats` is valid */
	struct charon_stats stats;
	uint64_t ike_sas, child_sas;
};

struct status {
	/* Time at which the status was taken. */
	uint64_t now;
	/* 0, or a negative errno if the kernel's SAs or policies could not be listed. */
	int kernel_error;
	/* 0, or a negative errno if key managers could not be looked for. */
	int key_managers_error;
	struct status_states states;
	struct status_policies policies;
	/* `blocked` is valid. */
	bool blocked_known;
	/* Packets that policies have blocked since the network namespace was made. */
	struct xfrm_counters blocked;
	struct key_manager key_managers[STATUS_KEY_MANAGERS_MAX];
	/* Number of key managers found, which may be more than STATUS_KEY_MANAGERS_MAX. */
	size_t n_key_managers;
	struct status_charon charon;
	/* `orphans` is valid. */
	bool orphans_known;
	struct orphans orphans;
	/* `findings` and `connections` are valid: charon answers. `findings` are then complete, unless `rules_error` is
	 * a negative errno: then missing rules and routes are not known. */
	bool compared;
	struct findings findings;
	int rules_error;
	struct connections connections;
	/* `default_blocks` is valid: directions, as bits 1 << XFRM_POLICY_…, in which the kernel blocks packets that
	 * match no policy. */
	bool default_known;
	uint8_t default_blocks;
	/* Number of charon's routing table. */
	uint32_t table;
	/* 0, or a negative errno if the routes could not be listed. */
	int routes_error;
	/* `routes` is valid, and so is `explained` of each route. */
	bool routes_known;
	struct routes routes;
};

struct status_routes {
	size_t real, backups;
	size_t unexplained; /* number of real routes that charon does not explain */
};

/* Counts one SA. */
void status_add_sa(struct status_states *states, const struct entry *sa);

/* Counts one policy. */
void status_add_policy(struct status_policies *policies, const struct entry *policy);

/* Sorts orphans: those with the most traffic first, and those without traffic by age, the oldest first. */
void status_sort_orphans(struct orphans *orphans);

/* Returns the number of all SAs, without larval SAs, guard SAs and those of other protocols. */
uint64_t status_count_sas(const struct status_states *states);

/* Returns the number of all policies, without those of sockets, kept policies and shadows. */
uint64_t status_count_policies(const struct status_policies *policies);

uint64_t status_count_shadows(const struct status_shadows *shadows);

/* Returns the packets that policies have blocked since the oldest shadow was made. Valid if `blocked_known`. */
struct xfrm_counters status_blocked_since(const struct status *status);

struct status_routes status_count_routes(const struct routes *routes);

/* Returns whether the rule for charon's routing table is missing for a family. */
bool status_lacks_rule(const struct status *status, sa_family_t family);

/* Returns whether an operator should examine a route. It is a real route, and charon does not explain it, or its source
 * is probably a virtual address of a previous instance of charon. */
bool status_is_left_over(const struct route *route);

/* Returns the microseconds from `then` to now, or 0 if the clock was set back. */
uint64_t status_age(const struct status *status, uint64_t then);

enum status_charon_state status_charon_state(const struct status_charon *charon);

/* Returns the first process that is an IKE daemon (KEY_MANAGER_IKE), or NULL. */
const struct key_manager *status_key_manager(const struct status *status);

/* Returns whether orphans and unexplained routes can be determined: charon answers, or neither charon nor any other IKE
 * daemon runs. */
bool status_can_find_orphans(const struct status *status);

/* Returns the name of a state, as in the JSON output. */
const char *status_charon_state_name(enum status_charon_state state);

/* Writes the name of a key manager into `buffer` ("charon (PID 612)"). Returns `buffer`. */
const char *status_key_manager_name(const struct key_manager *key_manager, char buffer[STATUS_KEY_MANAGER_MAX]);

/* Return the name of a value, as in the JSON output and in labels of metrics. */
const char *status_proto_name(enum status_proto proto);
const char *status_family_name(enum status_family family);
const char *status_action_name(enum status_action action);

/* Returns the name of a mode. For a mode without a name, writes its number into `buffer` and returns `buffer`. */
const char *status_mode_name(unsigned int mode, char buffer[4]);

/* A part of the status that may be missing or incomplete. */
enum status_part {
	STATUS_PART_KERNEL,
	STATUS_PART_CHARON,
	STATUS_PART_KEY_MANAGERS,
	STATUS_PART_ROUTES,
	STATUS_PARTS,
};

/* Writes into `buffer` why a part is missing or incomplete, and the remedy. Returns `buffer`, or NULL if the part is
 * complete. */
const char *status_problem(const struct status *status, enum status_part part, char buffer[STATUS_PROBLEM_MAX]);

/* The style of the output of status_text(). */
struct status_style {
	unsigned int width; /* width of the terminal in columns, or 0 for lines of any length */
	bool colour;
	bool all; /* lists are shown in full */
};

/* Writes the status as text. The caller checks `f` for errors. */
void status_text(const struct status *status, const struct status_style *style, FILE *f);

/* Writes the status as a JSON object. The caller checks `f` for errors. Returns 0 or -ENOMEM. */
int status_json(const struct status *status, FILE *f);

/* Writes the status in the text format of Prometheus. The caller checks `f` for errors. */
void status_metrics(const struct status *status, FILE *f);
