/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* Finds where the kernel and charon disagree, apart from orphans (orphans.h), and which connections are up. Pure.
 *
 * One comparison has false findings: both sides change while they are read. So the caller compares twice, and
 * findings_confirm() leaves what both comparisons have found. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ike/child.h"
#include "ike/child_sa.h"
#include "routes/table.h"
#include "xfrm/entry.h"

/* Maximum number of policies for all addresses that are examined for whether they block a missing policy's packets. */
#define COVERS_MAX 64

enum finding_kind {
	/* A CHILD_SA of charon has an SA that the kernel lacks. */
	FINDING_MISSING_SA,
	/* The kernel lacks a policy of a CHILD_SA, a trap or a shunt. */
	FINDING_MISSING_POLICY,
	/* Neither charon nor xfrmctl explains a policy. */
	FINDING_UNEXPLAINED_POLICY,
	/* No rule makes the kernel look up charon's routing table. */
	FINDING_MISSING_RULE,
	/* The kernel lacks the route of a CHILD_SA. */
	FINDING_MISSING_ROUTE,
	/* The configuration lacks the connection or the child of a CHILD_SA. */
	FINDING_UNCONFIGURED,
	FINDING_KINDS,
};

/* One disagreement. Which members are set depends on its kind. */
struct finding {
	enum finding_kind kind;
	/* The CHILD_SA, trap or shunt; not set for an unexplained policy and a rule. */
	struct child_sa_name owner;
	/* Protocol, SPI (in host byte order) and direction of an SA. */
	uint8_t proto;
	uint32_t spi;
	bool outbound;
	/* Selector of a policy. `dst` is also the destination of a route; its family is also that of a rule. */
	struct prefix src, dst;
	uint8_t dir, ptype;
	struct xfrm_mark mark;
	uint32_t if_id;
	/* Index of an unexplained policy. */
	uint32_t index;
	/* Whether another policy blocks or protects the packets of a missing policy. Otherwise they are unprotected. */
	bool blocked;
};

/* Memory: about 260 bytes for each finding. */
struct findings {
	struct finding *list; /* sorted by kind */
	size_t n, allocated;
	size_t counts[FINDING_KINDS];
	/* Number of missing policies whose packets are unprotected. */
	size_t unprotected;
};

/* Kernel and charon, read one after the other. The caller zeroes it first. */
struct comparison {
	/* All that charon lists, and its configuration. */
	struct child_sas sas;
	struct children children;
	/* Unexplained policies. */
	struct findings unexplained;
	/* Policies for all addresses that block or protect. */
	struct finding covers[COVERS_MAX];
	size_t n_covers;
	/* Routes, rules and addresses; not set if `routes_error` is a negative errno. */
	int routes_error;
	struct routes_look look;
	/* Directions, as bits 1 << XFRM_POLICY_…, in which the kernel blocks packets without a policy. */
	uint8_t default_blocks;
};

/* Compares a policy of the kernel with charon's. Returns 0 or -ENOMEM. */
int comparison_add_policy(struct comparison *comparison, const struct entry *policy);

/* Drops what comparison_add_policy() has noted, because the list of policies begins again. */
void comparison_begin_policies(struct comparison *comparison);

/* Finds the disagreements, after all SAs and policies have been added. Returns 0 or -ENOMEM. */
int comparison_judge(const struct comparison *comparison, struct findings *ret);

/* Frees all but `look`, which the caller frees before. Zeroes the comparison. */
void comparison_free(struct comparison *comparison);

/* Drops the findings that the earlier comparison did not have. */
void findings_confirm(struct findings *findings, const struct findings *earlier);
void findings_free(struct findings *findings);

/* Size of a buffer for the longest command of finding_mend(), in bytes. */
#define FINDING_MEND_MAX (16 * CHARON_NAME_MAX + 128)

/* Writes the command that mends a disagreement into `buffer`, for the shell. Returns `buffer`. */
const char *finding_mend(const struct finding *finding, uint32_t table, char buffer[FINDING_MEND_MAX]);

/* What a connection that is down waits for. */
enum connection_waits {
	CONNECTION_WAITS_NOTHING, /* it is up, or should be */
	CONNECTION_WAITS_TRAFFIC, /* charon negotiates when a packet matches */
	CONNECTION_WAITS_PEER,	  /* charon knows no address of the peer */
};

/* A child of a configured connection. */
struct connection {
	char connection[CHARON_NAME_MAX], child[CHARON_NAME_MAX];
	/* Whether it has a CHILD_SA in the state INSTALLED. */
	bool up;
	enum connection_waits waits;
	/* Seconds since the oldest of these CHILD_SAs was installed. */
	uint64_t age;
};

/* Sorted by the names of connection and child. Memory: about 150 bytes for each child. */
struct connections {
	struct connection *list;
	size_t n, allocated;
};

/* Lists the children of charon's configuration that can have CHILD_SAs. Returns 0 or -ENOMEM. */
int connections_list(const struct comparison *comparison, struct connections *ret);
void connections_free(struct connections *connections);

/* Returns the name of a value, as in the JSON output and in labels of metrics. */
const char *connection_waits_name(enum connection_waits waits);
