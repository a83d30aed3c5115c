/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* What the running charon says of itself over VICI, as plain data. All functions take a deadline as vici.h does and
 * return 0 or a negative errno of it. */

#include <linux/xfrm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "ike/child.h"
#include "ike/vici.h"

#define CHARON_NAME_MAX 64

/* The command `version`: the smallest question that needs a daemon which works. */
struct charon_version {
	char daemon[CHARON_NAME_MAX], version[CHARON_NAME_MAX];
};
int charon_version(struct vici *vici, uint64_t deadline, struct charon_version *ret);

/* The command `stats`, as far as somebody looks at it. */
struct charon_stats {
	char uptime[CHARON_NAME_MAX], since[CHARON_NAME_MAX]; /* "3 minutes", "Nov 23 15:04:26 2026" */
	uint64_t ike_sas, half_open;
	uint64_t workers, idle; /* threads */
	uint64_t queued;	/* jobs that wait for a thread, all priorities */
};
int charon_stats(struct vici *vici, uint64_t deadline, struct charon_stats *ret);

/* An SA that charon knows, by what is unique to it in the kernel. Not by its addresses: they change under MOBIKE. */
struct charon_sa {
	uint8_t proto; /* IPPROTO_ESP, _AH or _COMP */
	uint32_t spi;  /* host byte order */
};

/* Both sides of the SAs of every CHILD_SA. Memory: 8 bytes an SA. */
struct charon_sas {
	struct charon_sa *list; /* sorted */
	size_t n, allocated;
	uint64_t n_ike_sas, n_child_sas;
};
/* The command `list-sas`, in the blocking way: an IKE_SA that a thread of charon works on is waited for, so that what a
 * thread has put in the kernel and not into its list is listed too. */
int charon_sas(struct vici *vici, uint64_t deadline, struct charon_sas *ret);
/* Whether charon said that it has such an SA. */
bool charon_knows(const struct charon_sas *sas, uint8_t proto, uint32_t spi);
void charon_free_sas(struct charon_sas *sas);

/* A connection of the loaded configuration, once for each pair of plain addresses in its local_addrs and remote_addrs
 * (names of hosts, networks and ranges are left out). */
struct charon_endpoints {
	char connection[CHARON_NAME_MAX];
	sa_family_t family;
	xfrm_address_t local, remote; /* `local` is 0 when it may be any */
	uint32_t modes;		      /* of its children: 1 << XFRM_MODE_… */
};

struct charon_configuration {
	struct charon_endpoints *list; /* sorted by family and remote address */
	size_t n, allocated;
};
/* The command `list-conns`. */
int charon_configuration(struct vici *vici, uint64_t deadline, struct charon_configuration *ret);
void charon_free_configuration(struct charon_configuration *configuration);

/* The name of the connection whose children can have had an SA of this mode between these addresses, in either
 * direction; NULL when there is none, or more than one. */
const char *charon_connection_between(const struct charon_configuration *configuration, sa_family_t family,
				      const xfrm_address_t *src, const xfrm_address_t *dst, uint8_t mode);

/* The commands `list-conns`, `get-conns` and `list-sas`: all children of the loaded configuration, and which of their
 * connections are busy. `ret` is incomplete when there are more connections than charon told of. Memory as children.h
 * says. */
int charon_children(struct vici *vici, uint64_t deadline, struct children *ret);

/* How far charon is with a child. */
enum charon_progress {
	CHARON_ABSENT, /* nobody has asked for it, or it has failed */
	CHARON_COMING, /* the IKE_SA of its connection is being made, or negotiates children */
	CHARON_THERE,  /* it has SAs */
};

/* A question about one child, of which the caller sets the names. It must stay until vici_continue() has ended it. */
struct charon_question {
	const char *connection, *child;
	enum charon_progress progress;
	bool accepted;
	char why[128];	      /* what charon says when it refuses, terminated */
	uint8_t buffer[1024]; /* for a command with two names, which charon limits to 255 bytes each */
	struct vici_writer arguments;
};

/* Begins the command `list-sas` for one connection, in the blocking way, which tells `progress`. */
int charon_ask_progress(struct vici *vici, struct charon_question *question, uint64_t deadline);

/* Begins the command `initiate`: has charon begin with a child, and does not wait for its SAs. It tells whether charon
 * has accepted that. */
int charon_ask_initiate(struct vici *vici, struct charon_question *question, uint64_t deadline);
