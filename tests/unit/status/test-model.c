/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "unit.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>

#include "status/model.h"

#define NOW UINT64_C(1700000000)
#define HOUR UINT64_C(3600)

static struct entry sa_of(uint8_t proto, const char *src, uint8_t mode, uint64_t added)
{
	struct entry sa = make_sa(src, strchr(src, ':') ? "2001:db8::2" : "192.0.2.2");

	sa.sa.id.proto = proto;
	sa.sa.mode = mode;
	sa.sa.curlft.add_time = added;
	return sa;
}

static const struct sa_row {
	const char *name;
	uint8_t proto;
	const char *src;
	uint8_t mode;
	size_t as_proto, as_family, as_mode;
} sa_rows[] = {
	{"SA: esp tunnel", IPPROTO_ESP, "192.0.2.1", XFRM_MODE_TUNNEL, STATUS_ESP, STATUS_IPV4, XFRM_MODE_TUNNEL},
	{"SA: esp IPv6", IPPROTO_ESP, "2001:db8::1", XFRM_MODE_TUNNEL, STATUS_ESP, STATUS_IPV6, XFRM_MODE_TUNNEL},
	{"SA: ah transport", IPPROTO_AH, "192.0.2.1", XFRM_MODE_TRANSPORT, STATUS_AH, STATUS_IPV4, XFRM_MODE_TRANSPORT},
	{"SA: comp beet", IPPROTO_COMP, "2001:db8::1", XFRM_MODE_BEET, STATUS_COMP, STATUS_IPV6, XFRM_MODE_BEET},
	{"SA: highest mode", IPPROTO_ESP, "192.0.2.1", 7, STATUS_ESP, STATUS_IPV4, 7},
	{"SA: unheard-of mode", IPPROTO_ESP, "192.0.2.1", 255, STATUS_ESP, STATUS_IPV4, STATUS_MODES - 1},
};

/* Checks that an SA is counted only in its own place. */
static void counts_sa(void **state)
{
	const struct sa_row *row = *state;
	struct status_states states = {0}, expected = {0};
	struct entry sa = sa_of(row->proto, row->src, row->mode, 77);

	status_add_sa(&states, &sa);
	expected.sas[row->as_proto][row->as_family][row->as_mode] =
		(struct status_sas){.n = 1, .oldest = 77, .youngest = 77};
	assert_memory_equal(&states, &expected, sizeof(states));
	assert_int_equal(status_count_sas(&states), 1);
}

static void counts_ages(void **state)
{
	static const uint64_t times[] = {50, 70, 30, 60};
	struct status_states states = {0};
	const struct status_sas *sas = &states.sas[STATUS_ESP][STATUS_IPV4][XFRM_MODE_TUNNEL];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(times); i++) {
		struct entry sa = sa_of(IPPROTO_ESP, "192.0.2.1", XFRM_MODE_TUNNEL, times[i]);
		status_add_sa(&states, &sa);
	}
	assert_int_equal(sas->n, 4);
	assert_int_equal(sas->oldest, 30);
	assert_int_equal(sas->youngest, 70);
}

static void counts_others_apart(void **state)
{
	struct status_states states = {0};
	struct entry larval = sa_of(IPPROTO_ESP, "192.0.2.1", XFRM_MODE_TUNNEL, 1);
	struct entry other = sa_of(IPPROTO_IPIP, "192.0.2.1", XFRM_MODE_TUNNEL, 1);

	(void)state;
	larval.larval = true;
	/* An SA of another protocol has no algorithms, so it always seems larval. */
	other.larval = true;
	status_add_sa(&states, &larval);
	status_add_sa(&states, &other);
	assert_int_equal(states.larval, 1);
	assert_int_equal(states.other, 1);
	assert_int_equal(status_count_sas(&states), 0);
}

static const struct policy_row {
	const char *name;
	uint8_t dir, action;
	bool templates;
	uint8_t ptype;
	size_t as_action, as_ptype;
} policy_rows[] = {
	{"policy: protects", XFRM_POLICY_OUT, XFRM_POLICY_ALLOW, true, XFRM_POLICY_TYPE_MAIN, STATUS_PROTECT,
	 STATUS_MAIN},
	{"policy: bypass", XFRM_POLICY_IN, XFRM_POLICY_ALLOW, false, XFRM_POLICY_TYPE_MAIN, STATUS_BYPASS, STATUS_MAIN},
	{"policy: blocks", XFRM_POLICY_FWD, XFRM_POLICY_BLOCK, false, XFRM_POLICY_TYPE_MAIN, STATUS_BLOCK, STATUS_MAIN},
	{"policy: blocks with templates", XFRM_POLICY_OUT, XFRM_POLICY_BLOCK, true, XFRM_POLICY_TYPE_MAIN, STATUS_BLOCK,
	 STATUS_MAIN},
	{"policy: sub", XFRM_POLICY_OUT, XFRM_POLICY_ALLOW, true, XFRM_POLICY_TYPE_SUB, STATUS_PROTECT, STATUS_SUB},
};

static void counts_policy(void **state)
{
	const struct policy_row *row = *state;
	const struct xfrm_user_tmpl tmpl = make_template(IPPROTO_ESP, XFRM_MODE_TUNNEL, "192.0.2.1", "198.51.100.1");
	struct entry policy = make_policy("10.1.0.0/16", "10.2.0.0/16", &tmpl, row->templates);
	struct status_policies policies = {0}, expected = {0};

	policy.policy.info.dir = row->dir;
	policy.policy.info.action = row->action;
	policy.policy.ptype = row->ptype;
	status_add_policy(&policies, &policy);
	expected.n[row->dir][row->as_action][row->as_ptype] = 1;
	assert_memory_equal(&policies, &expected, sizeof(policies));
	assert_int_equal(status_count_policies(&policies), 1);
}

static void counts_policies_of_sockets(void **state)
{
	struct entry policy = make_policy("0.0.0.0/0", "0.0.0.0/0", NULL, 0);
	struct status_policies policies = {0};

	(void)state;
	policy.policy.info.index = 3;
	status_add_policy(&policies, &policy);
	policy.policy.info.index = 4;
	status_add_policy(&policies, &policy);
	assert_int_equal(policies.of_sockets, 2);
	assert_int_equal(status_count_policies(&policies), 0);
}

static struct entry shadow_of(uint32_t tag, uint64_t added, uint64_t seconds, uint64_t out, uint64_t in)
{
	struct entry shadow = make_policy("10.1.0.0/16", "10.2.0.0/16", NULL, 0);
	const struct xfrm_counters before = {out, in};

	shadow.policy.info.sel.user = tag;
	shadow.policy.info.action = XFRM_POLICY_BLOCK;
	shadow.policy.info.curlft.add_time = added;
	shadow.policy.info.lft.hard_add_expires_seconds = seconds;
	shadow_set_blocked(&shadow, &before);
	return shadow;
}

static void counts_shadows(void **state)
{
	const struct entry shadows[] = {
		shadow_of(SHADOW_HOLD, NOW, 0, 20, 7),	     shadow_of(SHADOW_HOLD, NOW, 0, 10, 9),
		shadow_of(SHADOW_EXPIRING, NOW, 300, 30, 8), shadow_of(SHADOW_EXPIRING, NOW - 60, 300, 30, 8),
		shadow_of(SHADOW_ADJACENT, NOW, 0, 30, 8),
	};
	struct entry passing = shadow_of(SHADOW_HOLD, NOW, 0, 30, 30);
	struct status_policies policies = {0};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(shadows); i++)
		status_add_policy(&policies, &shadows[i]);
	passing.policy.info.action = XFRM_POLICY_ALLOW;
	status_add_policy(&policies, &passing);
	assert_int_equal(policies.shadows.hold, 3);
	assert_int_equal(policies.shadows.expiring, 2);
	assert_int_equal(policies.shadows.adjacent, 1);
	assert_int_equal(policies.shadows.passing, 1);
	assert_int_equal(policies.shadows.expires, NOW + 300);
	assert_int_equal(policies.shadows.before.out, 10);
	assert_int_equal(policies.shadows.before.in, 7);
	assert_int_equal(status_count_shadows(&policies.shadows), 6);
	assert_int_equal(status_count_policies(&policies), 0);
}

static struct orphan orphan_of(const char *src, const char *dst, uint32_t spi, uint64_t packets, uint64_t added)
{
	struct orphan orphan = {.sa = make_sa(src, dst).sa, .packets = packets, .bytes = packets * 84};

	orphan.sa.id.spi = htonl(spi);
	orphan.sa.curlft.add_time = added;
	return orphan;
}

static void sorts_orphans(void **state)
{
	struct orphan list[] = {
		orphan_of("192.0.2.1", "192.0.2.2", 4, 0, 200), orphan_of("192.0.2.1", "192.0.2.2", 1, 50, 300),
		orphan_of("192.0.2.1", "192.0.2.2", 3, 0, 100), orphan_of("192.0.2.1", "192.0.2.2", 2, 7, 100),
		orphan_of("192.0.2.1", "192.0.2.2", 6, 0, 300), orphan_of("192.0.2.1", "192.0.2.2", 5, 0, 300),
	};
	struct orphans orphans = {.list = list, .n = ARRAY_SIZE(list)}, none = {0};

	(void)state;
	status_sort_orphans(&orphans);
	for (size_t i = 0; i < orphans.n; i++)
		assert_int_equal(ntohl(list[i].sa.id.spi), i + 1);
	status_sort_orphans(&none);
}

static const struct state_row {
	const char *name;
	int error;
	bool elsewhere;
	enum status_charon_state state;
	const char *word, *why; /* `why` is NULL without a problem */
} state_rows[] = {
	{"charon: up", 0, false, STATUS_CHARON_UP, "up", NULL},
	{"charon: no socket", -ENOENT, false, STATUS_CHARON_ABSENT, "absent",
	 "charon does not answer: there is no socket /run/charon.vici."},
	{"charon: dead socket", -ECONNREFUSED, false, STATUS_CHARON_ABSENT, "absent",
	 "charon does not answer: nobody listens any more on /run/charon.vici."},
	{"charon: silent", -ETIMEDOUT, false, STATUS_CHARON_SILENT, "silent",
	 "charon does not answer: no word on /run/charon.vici within 5s. It hangs or is very busy (--timeout= waits "
	 "longer)."},
	{"charon: forbidden", -EACCES, false, STATUS_CHARON_FORBIDDEN, "forbidden",
	 "charon cannot be asked on /run/charon.vici: no permission to connect; run as root, with CAP_DAC_OVERRIDE if "
	 "the "
	 "socket is another user's."},
	{"charon: elsewhere", 0, true, STATUS_CHARON_ELSEWHERE, "elsewhere",
	 "charon cannot be asked: the one that listens on /run/charon.vici (PID 612) works in another network "
	 "namespace; --socket= names that of this one."},
	{"charon: silent elsewhere", -ETIMEDOUT, true, STATUS_CHARON_SILENT, "silent",
	 "charon does not answer: no word on /run/charon.vici within 5s. It hangs or is very busy (--timeout= waits "
	 "longer)."},
	{"charon: hung up", -ECONNRESET, false, STATUS_CHARON_BROKEN, "broken",
	 "charon cannot be asked on /run/charon.vici: it hung up."},
	{"charon: not VICI", -EBADMSG, false, STATUS_CHARON_BROKEN, "broken",
	 "charon cannot be asked on /run/charon.vici: what it says is not VICI."},
	{"charon: no socket but a file", -ENOTSOCK, false, STATUS_CHARON_BROKEN, "broken",
	 "charon cannot be asked on /run/charon.vici: Socket operation on non-socket."},
};

static void knows_state_of_charon(void **state)
{
	const struct state_row *row = *state;
	const struct status status = {.charon = {.socket = "/run/charon.vici",
						 .error = row->error,
						 .elsewhere = row->elsewhere,
						 .timeout_usec = 5 * USEC_PER_SEC,
						 .pid = 612}};
	char buffer[STATUS_PROBLEM_MAX];

	assert_int_equal(status_charon_state(&status.charon), row->state);
	assert_string_equal(status_charon_state_name(row->state), row->word);
	const char *why = status_problem(&status, STATUS_PART_CHARON, buffer);
	if (row->why)
		assert_string_equal(why, row->why);
	else
		assert_null(why);
}

static const struct orphans_row {
	const char *name;
	struct status status;
	bool can;
	const char *why; /* part of the text about charon, or NULL for none */
} orphans_rows[] = {
	{"orphans: charon answers",
	 {.n_key_managers = 1, .key_managers = {{.kind = KEY_MANAGER_IKE, .pid = 612}}},
	 true,
	 NULL},
	{"orphans: no charon", {.charon.error = -ENOENT}, true, "does not answer: there is no socket /run/x."},
	{"orphans: no charon, and others that look on",
	 {.charon.error = -ECONNREFUSED,
	  .n_key_managers = 2,
	  .key_managers = {{.kind = KEY_MANAGER_MONITOR, .pid = 7}, {.kind = KEY_MANAGER_UNKNOWN, .pid = 8}}},
	 true,
	 "does not answer: nobody listens any more on /run/x."},
	{"orphans: a key manager without VICI",
	 {.charon.error = -ENOENT,
	  .n_key_managers = 2,
	  .key_managers = {{.kind = KEY_MANAGER_MONITOR, .pid = 7},
			   {.kind = KEY_MANAGER_IKE, .pid = 612, .name = "pluto"}}},
	 false,
	 "charon cannot be asked: there is no socket /run/x, and the key manager pluto (PID 612) is alive. Orphans are "
	 "unknown; --socket= names charon's VICI socket, if it has one."},
	{"orphans: a key manager that cannot be seen",
	 {.charon.error = -ECONNREFUSED, .n_key_managers = 1, .key_managers = {{.kind = KEY_MANAGER_IKE}}},
	 false,
	 "on /run/x, and a process that cannot be seen is alive"},
	{"orphans: key managers unknown",
	 {.charon.error = -ENOENT, .key_managers_error = -ENOENT},
	 false,
	 "there is no socket /run/x."},
	{"orphans: charon silent", {.charon.error = -ETIMEDOUT}, false, "does not answer: "},
	{"orphans: charon elsewhere", {.charon.elsewhere = true}, false, "works in another network namespace"},
};

/* Checks that without charon's list of SAs an SA counts as an orphan only if no running key manager may own it. */
static void finds_orphans(void **state)
{
	const struct orphans_row *row = *state;
	struct status status = row->status;
	char buffer[STATUS_PROBLEM_MAX];

	status.charon.socket = "/run/x";
	const char *why = status_problem(&status, STATUS_PART_CHARON, buffer);
	assert_int_equal(status_can_find_orphans(&status), row->can);
	if (row->why)
		check_contains(why ? why : "", row->why);
	else
		assert_null(why);
}

static const struct problem_row {
	const char *name;
	enum status_part part;
	struct status status;
	const char *why;
} problem_rows[] = {
	{"problem: kernel, no privilege", STATUS_PART_KERNEL, {.kernel_error = -EPERM}, "CAP_NET_ADMIN is needed"},
	{"problem: kernel without XFRM", STATUS_PART_KERNEL, {.kernel_error = -EPROTONOSUPPORT}, "CONFIG_XFRM_USER"},
	{"problem: kernel, lists in part", STATUS_PART_KERNEL, {.kernel_error = -EAGAIN}, "was lost each time"},
	{"problem: kernel, anything", STATUS_PART_KERNEL, {.kernel_error = -EIO}, "Input/output error"},
	{"problem: no /proc", STATUS_PART_KEY_MANAGERS, {.key_managers_error = -ENOENT}, "is /proc mounted?"},
	{"problem: a process that is not seen",
	 STATUS_PART_KEY_MANAGERS,
	 {.n_key_managers = 2, .key_managers = {{.pid = 7}, {.pid = 0}}},
	 "CAP_SYS_PTRACE"},
	{"problem: routes",
	 STATUS_PART_ROUTES,
	 {.routes_error = -EIO, .table = 220},
	 "The routes of table 220 are not known: Input/output error."},
	{"problem: none of the kernel", STATUS_PART_KERNEL, {0}, NULL},
	{"problem: none of processes",
	 STATUS_PART_KEY_MANAGERS,
	 {.n_key_managers = 1, .key_managers = {{.pid = 7}}},
	 NULL},
};

static void says_problem(void **state)
{
	const struct problem_row *row = *state;
	char buffer[STATUS_PROBLEM_MAX];
	const char *why = status_problem(&row->status, row->part, buffer);

	if (row->why)
		check_contains(why ? why : "", row->why);
	else
		assert_null(why);
}

static void ages(void **state)
{
	const struct status status = {.now = NOW};

	(void)state;
	assert_int_equal(status_age(&status, NOW - 3), 3 * USEC_PER_SEC);
	/* The clock was set back meanwhile. */
	assert_int_equal(status_age(&status, NOW + 3), 0);
}

/* Twelve orphans. The first belongs to a connection. */
static struct orphan some_orphans[12];

static struct route route_of(const char *dst, const char *src)
{
	struct route route = {
		.has_src = true, .src = make_address(src), .device = "wan", .table = 220, .protocol = 4, .type = 1};

	route.dst.family = family_of(dst);
	route.dst.length = split_prefix(dst, &route.dst.address);
	return route;
}

static struct route some_routes[3];

static void add_sas(struct status *status, uint8_t proto, const char *src, uint64_t added, unsigned int n)
{
	struct entry sa = sa_of(proto, src, XFRM_MODE_TUNNEL, added);

	while (n--)
		status_add_sa(&status->states, &sa);
}

/* Returns the status of a gateway after a crash of charon. */
static struct status make_status(void)
{
	struct status status = {
		.now = NOW,
		.policies = {.of_sockets = 8,
			     .n[XFRM_POLICY_OUT] = {[STATUS_PROTECT] = {4, 0}, [STATUS_BYPASS] = {1, 0}},
			     .n[XFRM_POLICY_IN] = {[STATUS_PROTECT] = {3, 2}},
			     .shadows = {.hold = 3, .expiring = 2, .expires = NOW + 252, .before = {10, 20}}},
		.blocked_known = true,
		.blocked = {56, 93},
		.key_managers =
			{{.kind = KEY_MANAGER_IKE,
			  .pid = 612,
			  .name = "charon-systemd",
			  .sockets = KEY_MANAGER_SOCKET_XFRM | KEY_MANAGER_SOCKET_IKE | KEY_MANAGER_SOCKET_NATT},
			 {.kind = KEY_MANAGER_MONITOR, .pid = 700, .name = "ip", .sockets = KEY_MANAGER_SOCKET_XFRM},
			 {.kind = KEY_MANAGER_IKE, .pid = 701, .name = "racoon", .sockets = KEY_MANAGER_SOCKET_PFKEY}},
		.n_key_managers = 3,
		.charon = {.socket = "/run/charon.vici",
			   .pid = 612,
			   .version = {"charon-systemd", "5.9.8"},
			   .has_stats = true,
			   .stats = {.uptime = "3 minutes", .half_open = 1, .workers = 16, .idle = 11},
			   .ike_sas = 3,
			   .child_sas = 1},
		.orphans_known = true,
		.orphans = {.list = some_orphans, .n = ARRAY_SIZE(some_orphans), .usec = 2000100},
		.table = 220,
		.routes_known = true,
		.routes = {.list = some_routes, .n = ARRAY_SIZE(some_routes)},
	};

	add_sas(&status, IPPROTO_ESP, "192.0.2.1", NOW - 2 * HOUR - 200, 12);
	add_sas(&status, IPPROTO_ESP, "192.0.2.1", NOW - 3, 2);
	add_sas(&status, IPPROTO_AH, "2001:db8::1", NOW - 4, 1);
	status.states.larval = 2;
	for (uint32_t i = 0; i < ARRAY_SIZE(some_orphans); i++)
		some_orphans[i] =
			orphan_of("192.0.2.1", "198.51.100.1", 0xc0000001 + i, i ? 0 : 12345, NOW - 2 * HOUR - 200);
	strcpy(some_orphans[0].connection, "net\\4\"");
	some_routes[0] = route_of("10.2.0.0/24", "10.1.0.1");
	some_routes[0].explained = true;
	some_routes[1] = route_of("10.2.1.0/24", "10.9.0.1");
	strcpy(some_routes[1].stale_address_on, "wan");
	some_routes[2] = route_of("10.2.0.0/24", "10.1.0.1");
	some_routes[2].protocol = ROUTE_BACKUP;
	return status;
}

/* Size of the buffers for rendered texts, in bytes. No text here is longer. */
#define TEXT_SIZE 16384

static void text_of(const struct status *status, struct status_style style, char text[TEXT_SIZE])
{
	FILE *f = fmemopen(text, TEXT_SIZE, "w");

	assert_non_null(f);
	status_text(status, &style, f);
	fclose(f);
}

static void writes_text(void **state)
{
	static const char expected[] =
		"charon       charon-systemd 5.9.8 (PID 612), up 3 minutes\n"
		"             3 IKE SAs (1 half open), 1 child SA\n"
		"             11 of 16 threads idle, 0 jobs queued\n"
		"key managers charon-systemd (PID 612): XFRM netlink, IKE port 500, IKE port 4500\n"
		"             ip (PID 700): XFRM netlink (looks on)\n"
		"             racoon (PID 701): PF_KEY\n"
		"\n"
		"SAs          15, 2 being negotiated\n"
		"  esp  tunnel    IPv4       14  oldest 2h 3min, youngest 3s\n"
		"  ah   tunnel    IPv6        1  4s old\n"
		"policies     10, and 8 of sockets\n"
		"              protect   bypass    block\n"
		"  out               4        1        0\n"
		"  in                3        0        0\n"
		"  in  sub           2        0        0\n"
		"shadows      5: 3 hold, 2 expiring, the last in 4min 12s\n"
		"             since they were made, policies blocked 46 packets out and 73 in\n"
		"\n"
		"orphans      12 of 15 SAs unknown to charon (traffic of 2s)\n"
		"             racoon (PID 701) is alive: they may be its own\n"
		"       SPI         FROM       TO            REQID      AGE  PACKETS  BYTES  CONNECTION\n"
		"  esp  0xc0000001  192.0.2.1  198.51.100.1     11  2h 3min      12k   1.0M  net\\4\"\n"
		"  esp  0xc0000002  192.0.2.1  198.51.100.1     11  2h 3min        0      0\n";
	const struct status status = make_status();
	char text[TEXT_SIZE];

	(void)state;
	text_of(&status, (struct status_style){0}, text);
	assert_memory_equal(text, expected, strlen(expected));
	check_contains(text, "  esp  0xc000000a ");
	check_contains(text, "\n  … and 2 more; --all shows them\n"
			     "routes       1 of 2 in table 220 explained by no connection of charon, 1 backup route\n"
			     "  10.2.1.0/24 dev wan src 10.9.0.1");
	check_contains(text, "; its source is probably a left-over virtual address on wan\n");
	assert_null(strstr(text, "0xc000000b"));

	text_of(&status, (struct status_style){.all = true}, text);
	check_contains(text, "  esp  0xc000000c ");
	assert_null(strstr(text, "more"));
}

static void writes_text_when_all_is_well(void **state)
{
	struct status status = make_status();
	char text[TEXT_SIZE];

	(void)state;
	status.orphans.n = 0;
	status.routes.n = 1;
	status.policies.shadows = (struct status_shadows){0};
	status.n_key_managers = 0;
	text_of(&status, (struct status_style){0}, text);
	check_contains(text, "\norphans      none\nroutes       1 in table 220\n");
	check_contains(text, "\nshadows      none\n");
	check_contains(text, "\nkey managers none\n");
}

static void writes_text_of_what_is_missing(void **state)
{
	struct status status = make_status();
	char text[TEXT_SIZE];

	(void)state;
	status.kernel_error = -EPERM;
	status.charon.error = -EACCES;
	status.key_managers_error = -EACCES;
	status.n_key_managers = 0;
	status.orphans_known = false;
	status.routes_known = false;
	text_of(&status, (struct status_style){0}, text);
	check_contains(text, "\n             cannot be asked on /run/charon.vici: no permission to connect; ");
	check_contains(text, "\nkernel       The kernel's SAs and policies cannot be seen: CAP_NET_ADMIN");
	check_contains(text, "\nkey managers Key managers cannot be looked for: ");
	check_contains(text, "\norphans      unknown: both the kernel and charon have to answer\n");
	assert_null(strstr(text, "\nSAs "));
	assert_null(strstr(text, "\nroutes "));

	/* Without a socket, nothing is known of charon. */
	status.charon = (struct status_charon){.socket = "/run/x", .error = -ENOENT};
	text_of(&status, (struct status_style){0}, text);
	check_contains(text, "charon       does not answer: there is no socket /run/x.\n");

	/* VICI does not reach another key manager. */
	status.n_key_managers = 1;
	text_of(&status, (struct status_style){0}, text);
	check_contains(text, "charon       cannot be asked: there is no socket /run/x, and the key manager "
			     "charon-systemd (PID 612) is alive.");
	check_contains(text,
		       "\norphans      unknown: charon cannot be asked on /run/x, and charon-systemd (PID 612) is "
		       "alive\n");
}

static size_t columns(const char *line)
{
	size_t n = 0;

	for (; *line && *line != '\n'; line++)
		n += (*line & 0xc0) != 0x80;
	return n;
}

/* Checks that no line is wider than the terminal, and that addresses stay long enough to be useful. */
static void keeps_to_the_width(void **state)
{
	struct status status = make_status();
	char text[TEXT_SIZE];

	(void)state;
	some_orphans[3] = orphan_of("2001:db8:1111:2222:3333:4444:5555:6666", "2001:db8:1111:2222:3333:4444:5555:7777",
				    1, 0, NOW);
	for (unsigned int width = 60; width < 200; width++) {
		text_of(&status, (struct status_style){.width = width}, text);
		for (const char *line = text; *line; line = strchr(line, '\n') + 1)
			if (columns(line) > width)
				fail_msg("at %u columns: %.*s", width, (int)strcspn(line, "\n"), line);
		check_contains(text, width < 110 ? "2001:db8" : "2001:db8:1111:2222:3333:");
		check_contains(text, "threads idle, 0 jobs queued\n");
	}
	/* The column of addresses shrinks, and no other column does. */
	text_of(&status, (struct status_style){.width = 80}, text);
	check_contains(text, " net\\4\"\n");
	/* Line breaks lose no text. */
	status.charon.error = -ETIMEDOUT;
	text_of(&status, (struct status_style){.width = 80}, text);
	check_contains(text, "\n             does not answer: no word on /run/charon.vici within 0. It hangs or\n"
			     "             is very busy (--timeout= waits longer).\n");
}

/* Checks that escape sequences enclose whole lines, and that the text without them is the same. */
static void colours_lines(void **state)
{
	const struct status status = make_status();
	char plain[TEXT_SIZE], coloured[TEXT_SIZE], *to = coloured;

	text_of(&status, (struct status_style){.width = 80}, plain);
	text_of(&status, (struct status_style){.width = 80, .colour = true}, coloured);

	(void)state;
	assert_null(strchr(plain, '\033'));
	check_contains(coloured, "\033[32mcharon       charon-systemd 5.9.8 (PID 612), up 3 minutes\033[0m\n");
	check_contains(coloured, "\033[31morphans      12 of 15");
	check_contains(coloured, "\n\033[31m esp 0xc0000001");
	check_contains(coloured, "\n\033[33m esp 0xc0000002");
	for (const char *from = coloured; *from;)
		if (*from == '\033')
			from = strchr(from, 'm') + 1;
		else
			*to++ = *from++;
	*to = '\0';
	assert_string_equal(coloured, plain);
}

static json_t *json_of(const struct status *status)
{
	char text[TEXT_SIZE];
	FILE *f = fmemopen(text, TEXT_SIZE, "w");

	assert_non_null(f);
	assert_int_equal(status_json(status, f), 0);
	fclose(f);
	json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(json);
	return json;
}

static void check_json(const json_t *json, const char *name, const char *expected)
{
	char *text = json_dumps(json_object_get(json, name), JSON_ENCODE_ANY | JSON_COMPACT);

	assert_non_null(text);
	assert_string_equal(text, expected);
	free(text);
}

static void writes_json(void **state)
{
	const struct status status = make_status();
	json_t *json = json_of(&status);

	(void)state;
	check_json(
		json, "charon",
		"{\"state\":\"up\",\"socket\":\"/run/charon.vici\",\"pid\":612,\"daemon\":\"charon-systemd\","
		"\"version\":\"5.9.8\",\"uptime\":\"3 minutes\",\"since\":\"\",\"half_open_ike_sas\":1,\"threads\":16,"
		"\"idle_threads\":11,\"queued_jobs\":0,\"ike_sas\":3,\"child_sas\":1}");
	check_json(
		json, "key_managers",
		"[{\"pid\":612,\"name\":\"charon-systemd\",\"kind\":\"key-manager\",\"sockets\":[\"xfrm\",\"udp-500\","
		"\"udp-4500\"]},{\"pid\":700,\"name\":\"ip\",\"kind\":\"monitor\",\"sockets\":[\"xfrm\"]},"
		"{\"pid\":701,\"name\":\"racoon\",\"kind\":\"key-manager\",\"sockets\":[\"pfkey\"]}]");
	check_json(
		json, "sas",
		"[{\"proto\":\"esp\",\"family\":\"ipv4\",\"mode\":\"tunnel\",\"count\":14,\"oldest_age_seconds\":7400,"
		"\"youngest_age_seconds\":3},{\"proto\":\"ah\",\"family\":\"ipv6\",\"mode\":\"tunnel\",\"count\":1,"
		"\"oldest_age_seconds\":4,\"youngest_age_seconds\":4}]");
	check_json(json, "larval_sas", "2");
	check_json(json, "socket_policies", "8");
	check_json(json, "shadows",
		   "{\"hold\":3,\"expiring\":2,\"adjacent\":0,\"passing\":0,\"expire_seconds\":252,"
		   "\"blocked_packets\":{\"out\":46,\"in\":73}}");
	check_json(json, "kept_policies", "0");
	check_json(json, "guard_sas", "0");
	check_json(json, "blocked_packets", "{\"out\":56,\"in\":93}");
	check_json(json, "problems", "[]");
	check_json(json, "traffic_usec", "2000100");
	check_json(json, "routes",
		   "{\"table\":220,\"static\":2,\"unexplained\":1,\"backup\":1,\"left_over\":[{\"type\":\"unicast\","
		   "\"dst\":\"10.2.1.0/24\",\"dev\":\"wan\","
		   "\"table\":220,\"protocol\":\"static\",\"prefsrc\":\"10.9.0.1\",\"explained\":false,\"stale_address_"
		   "on\":\"wan\"}]}");
	const json_t *orphans = json_object_get(json, "orphans");
	assert_int_equal(json_array_size(orphans), ARRAY_SIZE(some_orphans));
	char *first = json_dumps(json_array_get(orphans, 0), JSON_COMPACT);
	assert_string_equal(first,
			    "{\"src\":\"192.0.2.1\",\"dst\":\"198.51.100.1\",\"proto\":\"esp\",\"spi\":3221225473,"
			    "\"reqid\":11,\"mode\":\"tunnel\",\"age_seconds\":7400,\"packets\":12345,"
			    "\"bytes\":1036980,\"connection\":\"net\\\\4\\\"\"}");
	free(first);
	json_decref(json);
}

/* Checks that JSON omits unknown values and does not write 0 for them. */
static void writes_json_of_what_is_missing(void **state)
{
	struct status status = make_status();

	(void)state;
	status.kernel_error = -EPERM;
	status.key_managers_error = -ENOENT;
	status.blocked_known = false;
	status.orphans_known = false;
	status.routes_known = false;
	status.charon = (struct status_charon){.socket = "/run/x", .error = -EACCES};
	json_t *json = json_of(&status);
	check_json(json, "charon", "{\"state\":\"forbidden\",\"socket\":\"/run/x\"}");
	assert_int_equal(json_array_size(json_object_get(json, "problems")), 3);
	assert_int_equal(json_object_size(json), 2);
	json_decref(json);
}

static void metrics_of(const struct status *status, char text[TEXT_SIZE])
{
	FILE *f = fmemopen(text, TEXT_SIZE, "w");

	assert_non_null(f);
	status_metrics(status, f);
	fclose(f);
}

static void writes_metrics(void **state)
{
	static const char *const samples[] = {
		"\nxfrmctl_kernel_readable 1\n",
		"\nxfrmctl_charon_up 1\n",
		"\nxfrmctl_charon_info{daemon=\"charon-systemd\",version=\"5\\\\9\\\"8\"} 1\n",
		"\nxfrmctl_charon_ike_sas 3\n",
		"\nxfrmctl_charon_child_sas 1\n",
		"\nxfrmctl_charon_half_open_ike_sas 1\n",
		"\nxfrmctl_charon_idle_threads 11\n",
		"\nxfrmctl_key_managers 2\n",
		"\n# TYPE xfrmctl_sas gauge\nxfrmctl_sas{proto=\"esp\",family=\"ipv4\",mode=\"tunnel\"} 14\n"
		"xfrmctl_sas{proto=\"esp\",family=\"ipv6\",mode=\"tunnel\"} 0\n"
		"xfrmctl_sas{proto=\"ah\",family=\"ipv6\",mode=\"tunnel\"} 1\n#",
		"\nxfrmctl_sas_oldest_timestamp_seconds{proto=\"esp\",family=\"ipv4\",mode=\"tunnel\"} 1699992600\n",
		"\nxfrmctl_larval_sas 2\n",
		"\nxfrmctl_policies{dir=\"out\",kind=\"protect\",ptype=\"main\"} 4\n",
		"\nxfrmctl_policies{dir=\"in\",kind=\"protect\",ptype=\"sub\"} 2\n",
		"\nxfrmctl_policies{dir=\"fwd\",kind=\"block\",ptype=\"main\"} 0\n",
		"\nxfrmctl_socket_policies 8\n",
		"\nxfrmctl_shadows{kind=\"hold\"} 3\nxfrmctl_shadows{kind=\"expiring\"} 2\n"
		"xfrmctl_shadows{kind=\"adjacent\"} 0\n",
		"\nxfrmctl_shadows_expire_timestamp_seconds 1700000252\n",
		"\n# TYPE xfrmctl_shadows_blocked_packets gauge\nxfrmctl_shadows_blocked_packets{dir=\"out\"} 46\n"
		"xfrmctl_shadows_blocked_packets{dir=\"in\"} 73\n",
		"\nxfrmctl_kept_policies 0\n",
		"\nxfrmctl_guard_sas 0\n",
		"\n# TYPE xfrmctl_blocked_packets_total counter\nxfrmctl_blocked_packets_total{dir=\"out\"} 56\n"
		"xfrmctl_blocked_packets_total{dir=\"in\"} 93\n",
		"\nxfrmctl_orphans 12\n",
		"\nxfrmctl_orphans_active 1\n",
		"\nxfrmctl_routes_static 2\n",
		"\nxfrmctl_routes_unexplained 1\n",
		"\nxfrmctl_routes_backup 1\n",
	};
	struct status status = make_status();
	char text[TEXT_SIZE];

	(void)state;
	strcpy(status.charon.version.version, "5\\9\"8");
	metrics_of(&status, text);
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
		check_contains(text, samples[i]);
	/* Sub policies are omitted if there are none, because they are rare. */
	assert_null(strstr(text, "dir=\"out\",kind=\"protect\",ptype=\"sub\""));
}

static void writes_metrics_of_what_is_missing(void **state)
{
	struct status status = make_status();
	char text[TEXT_SIZE];

	(void)state;
	status.kernel_error = -EPERM;
	status.key_managers_error = -ENOENT;
	status.blocked_known = false;
	status.orphans_known = false;
	status.routes_known = false;
	status.charon = (struct status_charon){.socket = "/run/x", .error = -EACCES};
	metrics_of(&status, text);
	assert_string_equal(text,
			    "# HELP xfrmctl_kernel_readable Whether the kernel's SAs and policies could be read.\n"
			    "# TYPE xfrmctl_kernel_readable gauge\n"
			    "xfrmctl_kernel_readable 0\n"
			    "# HELP xfrmctl_charon_up Whether charon answers on its VICI socket.\n"
			    "# TYPE xfrmctl_charon_up gauge\n"
			    "xfrmctl_charon_up 0\n");
}

static struct prefix prefix_of(const char *text)
{
	struct prefix prefix;

	assert_int_equal(prefix_parse(text, &prefix), 0);
	return prefix;
}

/* One finding of each kind, and a second missing policy, that of a shunt. */
static struct finding some_findings[FINDING_KINDS + 1];

static struct connection some_connections[] = {
	{.connection = "net", .child = "down"},
	{.connection = "net", .child = "trap", .waits = CONNECTION_WAITS_TRAFFIC},
	{.connection = "net", .child = "up", .up = true, .age = 70},
	{.connection = "warrior", .child = "any", .waits = CONNECTION_WAITS_PEER},
};

/* Returns the status of a gateway where kernel and charon disagree. */
static struct status make_disagreement(void)
{
	static const struct child_sa_name child_sa = {"net", "up", CHILD_SA_NEGOTIATED, 7},
					  shunt = {"", "lan", CHILD_SA_SHUNT, 0};
	struct status status = make_status();
	const struct finding findings[] = {
		{.kind = FINDING_MISSING_SA, .owner = child_sa, .proto = IPPROTO_ESP, .spi = 0xc1, .outbound = true},
		{.kind = FINDING_MISSING_POLICY,
		 .owner = child_sa,
		 .src = prefix_of("10.1.0.0/16"),
		 .dst = prefix_of("10.2.0.0/16"),
		 .dir = XFRM_POLICY_OUT,
		 .mark = {1, 255}},
		{.kind = FINDING_MISSING_POLICY,
		 .owner = shunt,
		 .src = prefix_of("10.3.0.0/16"),
		 .dst = prefix_of("10.3.0.0/16"),
		 .dir = XFRM_POLICY_IN,
		 .blocked = true},
		{.kind = FINDING_UNEXPLAINED_POLICY,
		 .src = prefix_of("fd00::/64"),
		 .dst = prefix_of("::/0"),
		 .dir = XFRM_POLICY_FWD,
		 .if_id = 9,
		 .index = 42},
		{.kind = FINDING_MISSING_RULE, .dst = prefix_of("::/0")},
		{.kind = FINDING_MISSING_ROUTE, .owner = child_sa, .dst = prefix_of("10.2.0.0/16")},
		{.kind = FINDING_UNCONFIGURED, .owner = child_sa},
	};

	status.compared = true;
	memcpy(some_findings, findings, sizeof(findings));
	status.findings = (struct findings){.list = some_findings, .n = ARRAY_SIZE(findings), .unprotected = 1};
	for (size_t i = 0; i < ARRAY_SIZE(findings); i++)
		status.findings.counts[findings[i].kind]++;
	status.connections = (struct connections){.list = some_connections, .n = ARRAY_SIZE(some_connections)};
	return status;
}

static void writes_text_of_findings(void **state)
{
	struct status status = make_disagreement();
	char text[TEXT_SIZE];

	(void)state;
	text_of(&status, (struct status_style){0}, text);
	check_contains(text, "\nmissing      1 SA that charon has and the kernel lacks\n"
			     "  net/up: esp 0x000000c1 out\n"
			     "    swanctl --terminate --child-id 7; swanctl --initiate --ike 'net' --child 'up'\n"
			     "missing      2 policies that charon has and the kernel lacks\n"
			     "  net/up: 10.1.0.0/16 → 10.2.0.0/16 dir out (unprotected)\n"
			     "    swanctl --terminate --child-id 7; swanctl --initiate --ike 'net' --child 'up'\n"
			     "  lan: 10.3.0.0/16 → 10.3.0.0/16 dir in (blocked)\n"
			     "    swanctl --uninstall --child 'lan'; swanctl --install --child 'lan'\n"
			     "unexplained  1 policy that neither charon nor xfrmctl explains\n"
			     "  fd00::/64 → ::/0 dir fwd\n"
			     "    ip xfrm policy delete dir fwd index 42 if_id 0x9\n"
			     "missing      1 rule for charon's routing table\n"
			     "  IPv6\n"
			     "    ip -6 rule add priority 220 table 220\n"
			     "missing      1 route that charon needs\n"
			     "  net/up: 10.2.0.0/16\n"
			     "    systemctl restart strongswan\n"
			     "unconfigured 1 CHILD_SA whose connection or child is not configured\n"
			     "  net/up\n"
			     "    swanctl --terminate --child-id 7\n");
	check_contains(text, "\nconnections  1 down, 2 waiting, 1 up\n"
			     "  down     net/down\n"
			     "  waiting  net/trap for traffic\n"
			     "  waiting  warrior/any for its peer\n"
			     "  up       net/up for 1min 10s\n");

	/* Without a finding, the text says so; a part that was not compared is named. */
	status.findings = (struct findings){0};
	status.rules_error = -EPERM;
	text_of(&status, (struct status_style){0}, text);
	check_contains(text, "\nmissing      none: the kernel has what charon has\n"
			     "             rules and routes of table 220 are not known: Operation not permitted\n");
	assert_null(strstr(text, "unexplained"));
}

static void leaves_out_findings(void **state)
{
	static struct finding many[12];
	struct status status = make_disagreement();
	char text[TEXT_SIZE];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct finding){.kind = FINDING_MISSING_RULE, .dst.family = AF_INET};
	status.findings = (struct findings){.list = many, .n = ARRAY_SIZE(many), .counts[FINDING_MISSING_RULE] = 12};
	text_of(&status, (struct status_style){0}, text);
	check_contains(text, "\nmissing      12 rules for charon's routing table\n");
	check_contains(text, "\n  IPv4\n    ip -4 rule add priority 220 table 220\n  … and 2 more; --all shows them\n");
	text_of(&status, (struct status_style){.all = true}, text);
	assert_null(strstr(text, "more"));
}

static void writes_json_of_findings(void **state)
{
	const struct status status = make_disagreement();
	json_t *json = json_of(&status);

	(void)state;
	check_json(json, "missing_sas",
		   "[{\"connection\":\"net\",\"child\":\"up\",\"child_id\":7,\"dir\":\"out\",\"proto\":\"esp\","
		   "\"spi\":193,\"mend\":\"swanctl --terminate --child-id 7; swanctl --initiate --ike 'net' --child "
		   "'up'\"}]");
	check_json(json, "missing_policies",
		   "[{\"connection\":\"net\",\"child\":\"up\",\"child_id\":7,\"dir\":\"out\","
		   "\"src\":\"10.1.0.0/16\",\"dst\":\"10.2.0.0/16\",\"mark\":{\"value\":1,\"mask\":255},"
		   "\"traffic\":\"unprotected\",\"mend\":\"swanctl --terminate --child-id 7; swanctl --initiate --ike "
		   "'net' --child 'up'\"},"
		   "{\"child\":\"lan\",\"dir\":\"in\",\"src\":\"10.3.0.0/16\",\"dst\":\"10.3.0.0/16\","
		   "\"traffic\":\"blocked\",\"mend\":\"swanctl --uninstall --child 'lan'; swanctl --install --child "
		   "'lan'\"}]");
	check_json(json, "unexplained_policies",
		   "[{\"dir\":\"fwd\",\"src\":\"fd00::/64\",\"dst\":\"::/0\",\"if_id\":9,\"index\":42,"
		   "\"ptype\":\"main\",\"mend\":\"ip xfrm policy delete dir fwd index 42 if_id 0x9\"}]");
	check_json(json, "missing_rules", "[{\"family\":\"ipv6\",\"mend\":\"ip -6 rule add priority 220 table 220\"}]");
	check_json(json, "missing_routes",
		   "[{\"connection\":\"net\",\"child\":\"up\",\"child_id\":7,\"dst\":\"10.2.0.0/16\","
		   "\"mend\":\"systemctl restart strongswan\"}]");
	check_json(json, "unconfigured_child_sas",
		   "[{\"connection\":\"net\",\"child\":\"up\",\"child_id\":7,"
		   "\"mend\":\"swanctl --terminate --child-id 7\"}]");
	check_json(json, "connections",
		   "[{\"connection\":\"net\",\"child\":\"down\",\"up\":false,\"waits_for\":\"nothing\"},"
		   "{\"connection\":\"net\",\"child\":\"trap\",\"up\":false,\"waits_for\":\"traffic\"},"
		   "{\"connection\":\"net\",\"child\":\"up\",\"up\":true,\"up_seconds\":70},"
		   "{\"connection\":\"warrior\",\"child\":\"any\",\"up\":false,\"waits_for\":\"peer\"}]");
	json_decref(json);
}

/* Checks that JSON and metrics omit rules and routes that are not known. */
static void omits_unknown_rules(void **state)
{
	struct status status = make_disagreement();
	char text[TEXT_SIZE];

	(void)state;
	status.rules_error = -EPERM;
	json_t *json = json_of(&status);
	assert_null(json_object_get(json, "missing_rules"));
	assert_null(json_object_get(json, "missing_routes"));
	assert_int_equal(json_array_size(json_object_get(json, "missing_policies")), 2);
	json_decref(json);
	metrics_of(&status, text);
	assert_null(strstr(text, "xfrmctl_missing_r"));
	check_contains(text, "\nxfrmctl_missing_sas 1\n");
}

static void writes_metrics_of_findings(void **state)
{
	static const char *const samples[] = {
		"\nxfrmctl_missing_sas 1\n",
		"\nxfrmctl_missing_policies{traffic=\"unprotected\"} 1\n",
		"\nxfrmctl_missing_policies{traffic=\"blocked\"} 1\n",
		"\nxfrmctl_unexplained_policies 1\n",
		"\nxfrmctl_missing_rules{family=\"ipv4\"} 0\nxfrmctl_missing_rules{family=\"ipv6\"} 1\n",
		"\nxfrmctl_missing_routes 1\n",
		"\nxfrmctl_unconfigured_child_sas 1\n",
		"\nxfrmctl_connection_up{connection=\"net\",child=\"trap\",waits_for=\"traffic\"} 0\n",
		"\nxfrmctl_connection_up{connection=\"net\",child=\"up\",waits_for=\"nothing\"} 1\n",
		"\nxfrmctl_connection_up_since_timestamp_seconds{connection=\"net\",child=\"up\"} 1699999930\n",
		"\nxfrmctl_connections_left_out 0\n",
	};
	const struct status status = make_disagreement();
	char text[TEXT_SIZE];

	(void)state;
	metrics_of(&status, text);
	for (size_t i = 0; i < ARRAY_SIZE(samples); i++)
		check_contains(text, samples[i]);
}

int main(void)
{
	static struct cases cases;

	ADD_ROWS(&cases, counts_sa, sa_rows);
	ADD_CASE(&cases, counts_ages);
	ADD_CASE(&cases, counts_others_apart);
	ADD_ROWS(&cases, counts_policy, policy_rows);
	ADD_CASE(&cases, counts_policies_of_sockets);
	ADD_CASE(&cases, counts_shadows);
	ADD_CASE(&cases, sorts_orphans);
	ADD_ROWS(&cases, knows_state_of_charon, state_rows);
	ADD_ROWS(&cases, finds_orphans, orphans_rows);
	ADD_ROWS(&cases, says_problem, problem_rows);
	ADD_CASE(&cases, ages);
	ADD_CASE(&cases, writes_text);
	ADD_CASE(&cases, writes_text_when_all_is_well);
	ADD_CASE(&cases, writes_text_of_what_is_missing);
	ADD_CASE(&cases, keeps_to_the_width);
	ADD_CASE(&cases, colours_lines);
	ADD_CASE(&cases, writes_json);
	ADD_CASE(&cases, writes_json_of_what_is_missing);
	ADD_CASE(&cases, writes_metrics);
	ADD_CASE(&cases, writes_metrics_of_what_is_missing);
	ADD_CASE(&cases, writes_text_of_findings);
	ADD_CASE(&cases, leaves_out_findings);
	ADD_CASE(&cases, writes_json_of_findings);
	ADD_CASE(&cases, omits_unknown_rules);
	ADD_CASE(&cases, writes_metrics_of_findings);
	return cmocka_run_group_tests_name("model", cases.list, NULL, NULL);
}
