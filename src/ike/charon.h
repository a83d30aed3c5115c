/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/* State and configuration of the running charon, read over VICI into plain data. Functions that take a deadline
 * interpret it as vici.h does, and return 0, -ENOMEM, or an error of vici_request(). */

#include <linux/xfrm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "ike/child.h"
#include "ike/vici.h"

/* Size in bytes of a buffer for a name or a short text of charon. Longer texts are cut. */
#define CHARON_NAME_MAX 64

/* Answer to the command `version`. */
struct charon_version {
	char daemon[CHARON_NAME_MAX], version[CHARON_NAME_MAX];
};
/* Sends the command `version`: the smallest command that only a working charon answers. */
int charon_version(struct vici *vici, uint64_t deadline, struct charon_version *ret);

/* Answer to the command `stats`: the parts that xfrmctl uses. */
struct charon_stats {
	/* Time since charon's start ("3 minutes"), and the start ("Nov 23 15:04:26 2026"). */
	char uptime[CHARON_NAME_MAX], since[CHARON_NAME_MAX];
	/* Number of IKE_SAs, and of half-open ones. */
	uint64_t ike_sas, half_open;
	/* Number of threads, and of idle ones. */
	uint64_t workers, idle;
	/* Number of jobs of all priorities that wait for a thread. */
	uint64_t queued;
};
/* Sends the command `stats`. */
int charon_stats(struct vici *vici, uint64_t deadline, struct charon_stats *ret);

/* An SA that charon knows. Protocol and SPI identify it in the kernel. Addresses do not, since MOBIKE changes them. */
struct charon_sa {
	uint8_t proto; /* IPPROTO_ESP, IPPROTO_AH or IPPROTO_COMP */
	uint32_t spi;  /* host byte order */
};

/* Inbound and outbound SAs of every CHILD_SA. Memory: 8 bytes per SA. */
struct charon_sas {
	/* Sorted by protocol and SPI. */
	struct charon_sa *list;
	size_t n, allocated;
	/* Number of IKE_SAs and of CHILD_SAs. */
	uint64_t n_ike_sas, n_child_sas;
};
/* Sends the command `list-sas` in its blocking form: charon waits for each IKE_SA that one of its threads works on. A
 * thread adds an SA to the kernel before it adds the SA to charon's list. Without the wait, such an SA could be missing
 * in the answer. */
int charon_sas(struct vici *vici, uint64_t deadline, struct charon_sas *ret);
/* Does the same, and passes each event list-sa to `fn`, too. */
int charon_sas_and(struct vici *vici, uint64_t deadline, vici_message_fn fn, void *userdata, struct charon_sas *ret);
/* Returns whether charon has listed this SA. */
bool charon_knows(const struct charon_sas *sas, uint8_t proto, uint32_t spi);
void charon_free_sas(struct charon_sas *sas);

/* Sends the command `list-policies` for traps, for shunts that block and, with `pass`, for those that allow. Passes
 * each event list-policy to `fn`. */
int charon_policies(struct vici *vici, uint64_t deadline, bool pass, vici_message_fn fn, void *userdata);

/* A pair of plain addresses of a connection in the loaded configuration. The connection has an entry for each remote
 * address with each local one of the same family. Host names, networks and ranges are left out. */
struct charon_endpoints {
	char connection[CHARON_NAME_MAX];
	sa_family_t family;
	/* Addresses of both ends. `local` is all zeros (any address) if local_addrs has no entries, or not only plain
	 * addresses. */
	xfrm_address_t local, remote;
	/* Modes of the connection's children, as bits 1 << XFRM_MODE_…. */
	uint32_t modes;
};

/* Pairs of addresses of all connections. */
struct charon_configuration {
	struct charon_endpoints *list; /* sorted by family and remote address */
	size_t n, allocated;
};
/* Sends the command `list-conns`. */
int charon_configuration(struct vici *vici, uint64_t deadline, struct charon_configuration *ret);
void charon_free_configuration(struct charon_configuration *configuration);

/* Returns the name of the connection whose children can have had an SA of this mode between these addresses, in either
 * direction. Returns NULL if there is no such connection, or more than one. `configuration` owns the name. */
const char *charon_connection_between(const struct charon_configuration *configuration, sa_family_t family,
				      const xfrm_address_t *src, const xfrm_address_t *dst, uint8_t mode);

/* Sends the commands `list-conns` and `get-conns`. Reads all children of the loaded configuration. Sets `incomplete` of
 * `ret` if charon has more connections than it has listed. Memory: see child.h. */
int charon_connections(struct vici *vici, uint64_t deadline, struct children *ret);

/* Does the same, and sends the command `list-sas`, which tells the connections that are busy. */
int charon_children(struct vici *vici, uint64_t deadline, struct children *ret);

/* Progress of charon with a child. */
enum charon_progress {
	CHARON_ABSENT, /* charon has not begun to negotiate the child, or has failed */
	CHARON_COMING, /* charon sets up the connection's IKE_SA, or negotiates any child of it */
	CHARON_THERE,  /* the child has SAs */
};

/* A question about one child. The caller sets both names. It must not change or free the question until vici_continue()
 * has ended the call. */
struct charon_question {
	/* Names of the connection and of its child. */
	const char *connection, *child;
	/* Result of charon_ask_progress(). */
	enum charon_progress progress;
	/* Result of charon_ask_initiate(): whether charon has accepted the command. */
	bool accepted;
	/* charon's reason if it does not accept the command, as a terminated string. */
	char why[128];
	/* Holds the arguments: up to two names, which charon limits to 255 bytes each. */
	uint8_t buffer[1024];
	/* Writes the arguments into `buffer`. */
	struct vici_writer arguments;
};

/* Begins the command `list-sas`, in its blocking form, for the question's connection. The answer sets `progress`. */
int charon_ask_progress(struct vici *vici, struct charon_question *question, uint64_t deadline);

/* Begins the command `initiate`: charon begins to negotiate the child, and answers without waiting for the child's SAs.
 * The answer sets `accepted` and `why`. */
int charon_ask_initiate(struct vici *vici, struct charon_question *question, uint64_t deadline);
