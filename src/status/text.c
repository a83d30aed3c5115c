/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <string.h>

#include "base/timespan.h"
#include "base/util.h"
#include "routes/print.h"
#include "status/model.h"

/* Maximum number of orphans that are shown without --all. */
#define ORPHANS_SHOWN 10

/* Maximum number of disagreements of a kind, and of connections, that are shown without --all. */
#define FINDINGS_SHOWN 10
#define CONNECTIONS_SHOWN 10

/* Maximum number of routes that are shown without --all. */
#define ROUTES_SHOWN 5

/* Width of the labels at the left, in columns. */
#define LABEL_WIDTH 13

/* Maximum size of a text, in bytes. */
#define TEXT_MAX (FINDING_MEND_MAX + 16)

/* Minimum width of an address in the table of orphans, in columns. */
#define ADDRESS_MIN 9

#define KILO UINT64_C(1000)

enum colour {
	PLAIN,
	GREEN,
	YELLOW,
	RED,
};

struct screen {
	const struct status_style *style;
	FILE *f;
};

static const char *plural(uint64_t n)
{
	return n == 1 ? "" : "s";
}

static bool starts_character(char c)
{
	return (c & 0xc0) != 0x80;
}

/* Returns the number of columns of a text. Every character that is written here takes one column. */
static size_t columns(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += starts_character(*text);
	return n;
}

/* Cuts a text to `width` columns. If characters are cut off, the last column is an ellipsis. */
static void cut(char *text, size_t width)
{
	static const char ellipsis[] = "…";
	size_t n = 0;

	if (columns(text) <= width)
		return;
	for (; n < width; text++)
		n += starts_character(*text);
	/* Go back to the first byte of the character that the ellipsis replaces. */
	for (text--; !starts_character(*text); text--)
		;
	memcpy(text, ellipsis, sizeof(ellipsis));
}

/* Writes a line. */
static void put(const struct screen *screen, enum colour colour, const char *text)
{
	static const char *const codes[] = {
		[PLAIN] = "", [GREEN] = "\033[32m", [YELLOW] = "\033[33m", [RED] = "\033[31m"};

	if (screen->style->colour && colour != PLAIN)
		fprintf(screen->f, "%s%s\033[0m\n", codes[colour], text);
	else
		fprintf(screen->f, "%s\n", text);
}

/* Writes a line of a table. Cuts it to the width of the terminal. */
static void __attribute__((format(printf, 3, 4)))
line(const struct screen *screen, enum colour colour, const char *format, ...)
{
	char text[TEXT_MAX + sizeof("…")];
	va_list args;

	va_start(args, format);
	vsnprintf(text, TEXT_MAX, format, args);
	va_end(args);
	if (screen->style->width)
		cut(text, screen->style->width);
	put(screen, colour, text);
}

/* Writes a label and a text beside it. Breaks the text into lines that fit the width of the terminal. */
static void __attribute__((format(printf, 4, 5)))
entry(const struct screen *screen, enum colour colour, const char *label, const char *format, ...)
{
	char text[TEXT_MAX], output[LABEL_WIDTH + TEXT_MAX];
	size_t width = screen->style->width > 2 * LABEL_WIDTH ? screen->style->width - LABEL_WIDTH : SIZE_MAX;
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	for (char *next = text; next;) {
		char *end = NULL;
		size_t n = 0;

		for (char *c = next; *c; c++) {
			if (*c == ' ' && n <= width)
				end = c;
			n += starts_character(*c);
		}
		if (n <= width)
			end = NULL;
		if (end)
			*end++ = '\0';
		snprintf(output, sizeof(output), "%-*s%s", LABEL_WIDTH, label, next);
		put(screen, colour, output);
		label = "";
		next = end;
	}
}

/* Shows how many lines of a list were left out. */
static void show_left_out(const struct screen *screen, size_t n)
{
	if (n)
		line(screen, YELLOW, "  … and %zu more; --all shows them", n);
}

/* Writes why a part of the status is missing or incomplete. Returns false if the part is complete. */
static bool problem(const struct screen *screen, const struct status *status, enum status_part part, const char *label)
{
	char buffer[STATUS_PROBLEM_MAX];
	const char *why = status_problem(status, part, buffer);

	/* The label is "charon" already. */
	if (why && part == STATUS_PART_CHARON && strncmp(why, "charon ", strlen("charon ")) == 0)
		why += strlen("charon ");
	if (why)
		entry(screen, part == STATUS_PART_KEY_MANAGERS ? YELLOW : RED, label, "%s", why);
	return why != NULL;
}

static void show_charon(const struct screen *screen, const struct status *status)
{
	const struct status_charon *charon = &status->charon;
	bool up = status_charon_state(charon) == STATUS_CHARON_UP;
	const char *label = "charon";
	char pid[32] = "", uptime[CHARON_NAME_MAX + 8] = "";

	if (charon->pid)
		snprintf(pid, sizeof(pid), " (PID %d)", charon->pid);
	if (charon->has_stats)
		snprintf(uptime, sizeof(uptime), ", up %s", charon->stats.uptime);
	if (*charon->version.version) {
		entry(screen, up ? GREEN : PLAIN, label, "%s %s%s%s", charon->version.daemon, charon->version.version,
		      pid, uptime);
		label = "";
	}
	if (problem(screen, status, STATUS_PART_CHARON, label))
		return;
	entry(screen, PLAIN, "", "%" PRIu64 " IKE SA%s (%" PRIu64 " half open), %" PRIu64 " child SA%s",
	      charon->ike_sas, plural(charon->ike_sas), charon->stats.half_open, charon->child_sas,
	      plural(charon->child_sas));
	if (charon->has_stats)
		entry(screen, charon->stats.idle || !charon->stats.workers ? PLAIN : YELLOW, "",
		      "%" PRIu64 " of %" PRIu64 " threads idle, %" PRIu64 " job%s queued", charon->stats.idle,
		      charon->stats.workers, charon->stats.queued, plural(charon->stats.queued));
}

static const char *describe_sockets(const struct key_manager *key_manager, char *buffer, size_t size)
{
	static const struct {
		unsigned int socket;
		const char *name;
	} names[] = {
		{KEY_MANAGER_SOCKET_XFRM, "XFRM netlink"},
		{KEY_MANAGER_SOCKET_PFKEY, "PF_KEY"},
		{KEY_MANAGER_SOCKET_IKE, "IKE port 500"},
		{KEY_MANAGER_SOCKET_NATT, "IKE port 4500"},
	};
	size_t used = 0;

	*buffer = '\0';
	for (size_t i = 0; i < ARRAY_SIZE(names) && used < size; i++)
		if (key_manager->sockets & names[i].socket)
			used += (size_t)snprintf(buffer + used, size - used, "%s%s", used ? ", " : "", names[i].name);
	return buffer;
}

static void show_key_managers(const struct screen *screen, const struct status *status)
{
	const char *label = "key managers";
	char sockets[80], name[STATUS_KEY_MANAGER_MAX];

	for (size_t i = 0; i < status->n_key_managers && i < STATUS_KEY_MANAGERS_MAX; i++) {
		const struct key_manager *key_manager = &status->key_managers[i];
		const char *role = key_manager->kind == KEY_MANAGER_MONITOR   ? " (looks on)"
				   : key_manager->kind == KEY_MANAGER_UNKNOWN ? " (no sign of IKE)"
									      : "";

		describe_sockets(key_manager, sockets, sizeof(sockets));
		entry(screen, PLAIN, label, "%s: %s%s", status_key_manager_name(key_manager, name), sockets, role);
		label = "";
	}
	if (status->n_key_managers > STATUS_KEY_MANAGERS_MAX)
		entry(screen, PLAIN, "", "… and %zu more", status->n_key_managers - STATUS_KEY_MANAGERS_MAX);
	if (!problem(screen, status, STATUS_PART_KEY_MANAGERS, label) && !status->n_key_managers)
		entry(screen, PLAIN, label, "none");
}

static const char *age(const struct status *status, uint64_t then, char *buffer)
{
	return timespan_format_coarse(status_age(status, then), buffer, TIMESPAN_MAX);
}

static void show_group(const struct screen *screen, const struct status *status, size_t proto, size_t family,
		       size_t mode)
{
	const struct status_sas *sas = &status->states.sas[proto][family][mode];
	char number[4], oldest[TIMESPAN_MAX], youngest[TIMESPAN_MAX];

	if (!sas->n)
		return;
	age(status, sas->oldest, oldest);
	age(status, sas->youngest, youngest);
	if (sas->n == 1)
		line(screen, PLAIN, "  %-5s%-10s%-5s%8" PRIu64 "  %s old", status_proto_name((enum status_proto)proto),
		     status_mode_name((unsigned int)mode, number), family == STATUS_IPV6 ? "IPv6" : "IPv4", sas->n,
		     oldest);
	else
		line(screen, PLAIN, "  %-5s%-10s%-5s%8" PRIu64 "  oldest %s, youngest %s",
		     status_proto_name((enum status_proto)proto), status_mode_name((unsigned int)mode, number),
		     family == STATUS_IPV6 ? "IPv6" : "IPv4", sas->n, oldest, youngest);
}

static void show_sas(const struct screen *screen, const struct status *status)
{
	const struct status_states *states = &status->states;
	char more[64] = "";
	int used = 0;

	if (states->larval)
		used = snprintf(more, sizeof(more), ", %" PRIu64 " being negotiated", states->larval);
	if (states->other)
		snprintf(more + used, sizeof(more) - (size_t)used, ", %" PRIu64 " of other protocols", states->other);
	entry(screen, PLAIN, "SAs", "%" PRIu64 "%s", status_count_sas(states), more);
	for (size_t proto = 0; proto < STATUS_PROTOS; proto++)
		for (size_t mode = 0; mode < STATUS_MODES; mode++)
			for (size_t family = 0; family < STATUS_FAMILIES; family++)
				show_group(screen, status, proto, family, mode);
}

static void show_policies(const struct screen *screen, const struct status *status)
{
	static const uint8_t dirs[] = {XFRM_POLICY_OUT, XFRM_POLICY_IN, XFRM_POLICY_FWD};
	const struct status_policies *policies = &status->policies;
	uint64_t n = status_count_policies(policies);

	if (policies->of_sockets)
		entry(screen, PLAIN, "policies", "%" PRIu64 ", and %" PRIu64 " of sockets", n, policies->of_sockets);
	else
		entry(screen, PLAIN, "policies", "%" PRIu64, n);
	if (n)
		line(screen, PLAIN, "  %-10s%9s%9s%9s", "", "protect", "bypass", "block");
	for (size_t ptype = 0; ptype < STATUS_PTYPES; ptype++)
		for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
			const uint64_t *protect = &policies->n[dirs[i]][STATUS_PROTECT][ptype];
			const uint64_t *bypass = &policies->n[dirs[i]][STATUS_BYPASS][ptype];
			const uint64_t *block = &policies->n[dirs[i]][STATUS_BLOCK][ptype];
			if (*protect + *bypass + *block)
				line(screen, PLAIN, "  %-4s%-6s%9" PRIu64 "%9" PRIu64 "%9" PRIu64,
				     entry_dir_name(dirs[i]), ptype == STATUS_SUB ? "sub" : "", *protect, *bypass,
				     *block);
		}
}

static void show_shadows(const struct screen *screen, const struct status *status)
{
	const struct status_shadows *shadows = &status->policies.shadows;
	uint64_t n = status_count_shadows(shadows);
	char kinds[160];
	int used = 0;

	if (!n) {
		entry(screen, PLAIN, "shadows", "none");
		return;
	}
	if (shadows->hold)
		used += snprintf(kinds, sizeof(kinds), ", %" PRIu64 " hold%s", shadows->hold,
				 shadows->hold == 1 ? "s" : "");
	if (shadows->adjacent)
		used += snprintf(kinds + used, sizeof(kinds) - (size_t)used, ", %" PRIu64 " adjacent",
				 shadows->adjacent);
	if (shadows->expiring) {
		char ends[TIMESPAN_MAX];
		uint64_t left = shadows->expires > status->now ? shadows->expires - status->now : 0;
		snprintf(kinds + used, sizeof(kinds) - (size_t)used, ", %" PRIu64 " expiring, the last in %s",
			 shadows->expiring, timespan_format_coarse(left * USEC_PER_SEC, ends, sizeof(ends)));
	}
	entry(screen, YELLOW, "shadows", "%" PRIu64 ": %s", n, kinds + strlen(", "));
	if (status->blocked_known) {
		const struct xfrm_counters since = status_blocked_since(status);
		entry(screen, PLAIN, "",
		      "since they were made, policies blocked %" PRIu64 " packet%s out and %" PRIu64 " in", since.out,
		      plural(since.out), since.in);
	}
}

static void show_kept(const struct screen *screen, const struct status *status)
{
	uint64_t kept = status->policies.kept, guard_sas = status->states.guard_sas;

	if (kept || guard_sas)
		entry(screen, YELLOW, "kept",
		      "%" PRIu64 " kept polic%s, with %" PRIu64 " guard SA%s; `xfrmctl handover` removes them", kept,
		      kept == 1 ? "y" : "ies", guard_sas, plural(guard_sas));
}

/* The columns of the table of orphans. The last column is not padded. */
enum column {
	PROTO,
	SPI,
	FROM,
	TO,
	REQID,
	AGE,
	PACKETS,
	BYTES,
	CONNECTION,
	COLUMNS,
};

static const struct {
	const char *name;
	bool number; /* the column is aligned to the right */
} titles[COLUMNS] = {
	[PROTO] = {"", false},	       [SPI] = {"SPI", false},	  [FROM] = {"FROM", false},
	[TO] = {"TO", false},	       [REQID] = {"REQID", true}, [AGE] = {"AGE", true},
	[PACKETS] = {"PACKETS", true}, [BYTES] = {"BYTES", true}, [CONNECTION] = {"CONNECTION", false},
};

struct row {
	char cells[COLUMNS][CHARON_NAME_MAX];
};

/* Writes a number in at most four characters: "950", "8.4k", "12M". */
static void format_count(uint64_t n, char *buffer, size_t size)
{
	static const char units[] = "kMGTPE";
	size_t unit = 0;

	if (n < KILO) {
		snprintf(buffer, size, "%" PRIu64, n);
		return;
	}
	for (; n >= KILO * KILO; unit++)
		n /= KILO;
	if (n < 10 * KILO)
		snprintf(buffer, size, "%" PRIu64 ".%" PRIu64 "%c", n / KILO, n % KILO / 100, units[unit]);
	else
		snprintf(buffer, size, "%" PRIu64 "%c", n / KILO, units[unit]);
}

static void fill_row(const struct status *status, const struct orphan *orphan, struct row *row)
{
	const struct xfrm_usersa_info *sa = &orphan->sa;
	char buffer[TIMESPAN_MAX];

	snprintf(row->cells[PROTO], sizeof(row->cells[PROTO]), "%s", entry_proto_name(sa->id.proto));
	snprintf(row->cells[SPI], sizeof(row->cells[SPI]), "0x%08x", ntohl(sa->id.spi));
	entry_address(sa->family, &sa->saddr, row->cells[FROM]);
	entry_address(sa->family, &sa->id.daddr, row->cells[TO]);
	snprintf(row->cells[REQID], sizeof(row->cells[REQID]), "%u", sa->reqid);
	snprintf(row->cells[AGE], sizeof(row->cells[AGE]), "%.24s", age(status, sa->curlft.add_time, buffer));
	format_count(orphan->packets, row->cells[PACKETS], sizeof(row->cells[PACKETS]));
	format_count(orphan->bytes, row->cells[BYTES], sizeof(row->cells[BYTES]));
	snprintf(row->cells[CONNECTION], sizeof(row->cells[CONNECTION]), "%s", orphan->connection);
}

static void show_row(const struct screen *screen, enum colour colour, struct row *row, const size_t widths[COLUMNS],
		     size_t gap)
{
	char text[TEXT_MAX];
	size_t used = 0;

	for (size_t i = 0; i < COLUMNS; i++) {
		char *cell = row->cells[i];
		cut(cell, widths[i]);
		/* printf() measures the width in bytes, not in columns. */
		int width = (int)(widths[i] + strlen(cell) - columns(cell));
		used += (size_t)snprintf(text + used, sizeof(text) - used, titles[i].number ? "%*s%*s" : "%*s%-*s",
					 (int)gap, "", i == CONNECTION ? 0 : width, cell);
	}
	while (used && text[used - 1] == ' ')
		text[--used] = '\0';
	line(screen, colour, "%s", text);
}

/* Computes the widths of the columns from the titles and the first `n` orphans. */
static void measure(const struct status *status, size_t n, size_t widths[COLUMNS])
{
	struct row row = {0};

	for (size_t i = 0; i < COLUMNS; i++)
		widths[i] = strlen(titles[i].name);
	for (size_t j = 0; j < n; j++) {
		fill_row(status, &status->orphans.list[j], &row);
		for (size_t i = 0; i < COLUMNS; i++)
			if (strlen(row.cells[i]) > widths[i])
				widths[i] = strlen(row.cells[i]);
	}
}

/* Narrows the columns of addresses until a row fits the terminal, but not below ADDRESS_MIN. Returns the number of
 * columns between two cells. */
static size_t fit(const struct screen *screen, size_t widths[COLUMNS])
{
	size_t total = 0, width = screen->style->width;

	for (size_t i = 0; i < COLUMNS; i++)
		total += widths[i];
	if (!width || total + (size_t)2 * COLUMNS <= width)
		return 2;
	for (total += COLUMNS; total > width; total--) {
		size_t *longer = widths[FROM] > widths[TO] ? &widths[FROM] : &widths[TO];
		if (*longer <= ADDRESS_MIN)
			break;
		--*longer;
	}
	return 1;
}

static void show_list(const struct screen *screen, const struct status *status)
{
	size_t n = status->orphans.n, widths[COLUMNS];
	struct row row = {0};

	if (!screen->style->all && n > ORPHANS_SHOWN)
		n = ORPHANS_SHOWN;
	measure(status, n, widths);
	size_t gap = fit(screen, widths);
	for (size_t i = 0; i < COLUMNS; i++)
		snprintf(row.cells[i], sizeof(row.cells[i]), "%s", titles[i].name);
	show_row(screen, PLAIN, &row, widths, gap);
	for (size_t j = 0; j < n; j++) {
		fill_row(status, &status->orphans.list[j], &row);
		show_row(screen, status->orphans.list[j].packets ? RED : YELLOW, &row, widths, gap);
	}
	show_left_out(screen, status->orphans.n - n);
}

static void show_orphans_unknown(const struct screen *screen, const struct status *status)
{
	const struct key_manager *key_manager = status_key_manager(status);

	if (status_charon_state(&status->charon) == STATUS_CHARON_ABSENT && key_manager) {
		char name[STATUS_KEY_MANAGER_MAX];
		entry(screen, YELLOW, "orphans", "unknown: charon cannot be asked on %.128s, and %s is alive",
		      status->charon.socket, status_key_manager_name(key_manager, name));
	} else {
		entry(screen, YELLOW, "orphans", "unknown: both the kernel and charon have to answer");
	}
}

static void show_orphans(const struct screen *screen, const struct status *status)
{
	const struct orphans *orphans = &status->orphans;
	bool up = status_charon_state(&status->charon) == STATUS_CHARON_UP;
	uint64_t total = status_count_sas(&status->states);
	char interval[TIMESPAN_MAX], name[STATUS_KEY_MANAGER_MAX];

	if (!status->orphans_known) {
		show_orphans_unknown(screen, status);
		return;
	}
	if (!orphans->n) {
		entry(screen, GREEN, "orphans", "none");
		return;
	}
	entry(screen, RED, "orphans", "%zu of %" PRIu64 " SA%s %s (traffic of %s)", orphans->n, total, plural(total),
	      up ? "unknown to charon" : "without a charon",
	      timespan_format_coarse(orphans->usec + USEC_PER_SEC / 2, interval, sizeof(interval)));
	for (size_t i = 0; i < status->n_key_managers && i < STATUS_KEY_MANAGERS_MAX; i++) {
		const struct key_manager *key_manager = &status->key_managers[i];
		if (key_manager->kind == KEY_MANAGER_IKE && key_manager->pid && status->charon.pid &&
		    key_manager->pid != status->charon.pid)
			entry(screen, YELLOW, "", "%s is alive: they may be its own",
			      status_key_manager_name(key_manager, name));
	}
	show_list(screen, status);
}

/* Shows a disagreement and the command that mends it. */
static void show_finding(const struct screen *screen, const struct status *status, const struct finding *finding)
{
	char mend[FINDING_MEND_MAX], src[PREFIX_TEXT_MAX], dst[PREFIX_TEXT_MAX];
	const struct child_sa_name *owner = &finding->owner;
	char name[2 * CHARON_NAME_MAX + 1], text[TEXT_MAX];

	snprintf(name, sizeof(name), "%s%s%s", owner->connection, *owner->connection ? "/" : "", owner->child);
	prefix_format(&finding->src, src);
	prefix_format(&finding->dst, dst);
	switch (finding->kind) {
	case FINDING_MISSING_SA:
		snprintf(text, sizeof(text), "%s: %s 0x%08" PRIx32 " %s", name, entry_proto_name(finding->proto),
			 finding->spi, finding->outbound ? "out" : "in");
		break;
	case FINDING_MISSING_POLICY:
		snprintf(text, sizeof(text), "%s: %s → %s dir %s (%s)", name, src, dst, entry_dir_name(finding->dir),
			 finding->blocked ? "blocked" : "unprotected");
		break;
	case FINDING_UNEXPLAINED_POLICY:
		snprintf(text, sizeof(text), "%s → %s dir %s", src, dst, entry_dir_name(finding->dir));
		break;
	case FINDING_MISSING_RULE:
		snprintf(text, sizeof(text), "%s", finding->dst.family == AF_INET6 ? "IPv6" : "IPv4");
		break;
	case FINDING_MISSING_ROUTE:
		snprintf(text, sizeof(text), "%s: %s", name, dst);
		break;
	case FINDING_UNCONFIGURED:
	case FINDING_KINDS:
	default:
		snprintf(text, sizeof(text), "%s", name);
		break;
	}
	line(screen, finding->kind == FINDING_MISSING_POLICY && !finding->blocked ? RED : YELLOW, "  %s", text);
	snprintf(text, sizeof(text), "    %s", finding_mend(finding, status->table, mend));
	put(screen, PLAIN, text);
}

/* Shows the disagreements of a kind, with a headline. */
static void show_kind(const struct screen *screen, const struct status *status, enum finding_kind kind)
{
	static const struct {
		const char *label, *one, *many;
	} heads[FINDING_KINDS] = {
		[FINDING_MISSING_SA] = {"missing", "SA that charon has and the kernel lacks",
					"SAs that charon has and the kernel lacks"},
		[FINDING_MISSING_POLICY] = {"missing", "policy that charon has and the kernel lacks",
					    "policies that charon has and the kernel lacks"},
		[FINDING_UNEXPLAINED_POLICY] = {"unexplained", "policy that neither charon nor xfrmctl explains",
						"policies that neither charon nor xfrmctl explains"},
		[FINDING_MISSING_RULE] = {"missing", "rule for charon's routing table",
					  "rules for charon's routing table"},
		[FINDING_MISSING_ROUTE] = {"missing", "route that charon needs", "routes that charon needs"},
		[FINDING_UNCONFIGURED] = {"unconfigured", "CHILD_SA whose connection or child is not configured",
					  "CHILD_SAs whose connection or child is not configured"},
	};
	const struct findings *findings = &status->findings;
	size_t n = findings->counts[kind], shown = 0;

	if (!n)
		return;
	entry(screen, RED, heads[kind].label, "%zu %s", n, n == 1 ? heads[kind].one : heads[kind].many);
	for (size_t i = 0; i < findings->n; i++)
		if (findings->list[i].kind == kind && (screen->style->all || shown < FINDINGS_SHOWN)) {
			show_finding(screen, status, &findings->list[i]);
			shown++;
		}
	show_left_out(screen, n - shown);
}

static void show_findings(const struct screen *screen, const struct status *status)
{
	if (!status->compared)
		return;
	for (unsigned int kind = 0; kind < FINDING_KINDS; kind++)
		show_kind(screen, status, kind);
	if (!status->findings.n)
		entry(screen, GREEN, "missing", "none: the kernel has what charon has");
	if (status->rules_error)
		entry(screen, YELLOW, "", "rules and routes of table %" PRIu32 " are not known: %s", status->table,
		      strerror(-status->rules_error));
}

/* The order in which connections are shown. */
static unsigned int connection_rank(const struct connection *connection)
{
	return connection->up ? 2 : connection->waits == CONNECTION_WAITS_NOTHING ? 0 : 1;
}

static void show_connection(const struct screen *screen, const struct status *status,
			    const struct connection *connection)
{
	char state[TIMESPAN_MAX + 8] = "";

	if (connection->up) {
		char since[TIMESPAN_MAX];
		snprintf(state, sizeof(state), " for %s", age(status, status->now - connection->age, since));
	} else if (connection->waits != CONNECTION_WAITS_NOTHING) {
		snprintf(state, sizeof(state), " for %s",
			 connection->waits == CONNECTION_WAITS_PEER ? "its peer" : "traffic");
	}
	line(screen, connection_rank(connection) ? PLAIN : RED, "  %-8s %s/%s%s",
	     connection->up ? "up"
	     : *state	    ? "waiting"
			    : "down",
	     connection->connection, connection->child, state);
}

static void show_connections(const struct screen *screen, const struct status *status)
{
	const struct connections *connections = &status->connections;
	size_t ranks[3] = {0}, shown = 0;

	if (!status->compared || !connections->n)
		return;
	for (size_t i = 0; i < connections->n; i++)
		ranks[connection_rank(&connections->list[i])]++;
	entry(screen, ranks[0] ? YELLOW : PLAIN, "connections", "%zu down, %zu waiting, %zu up", ranks[0], ranks[1],
	      ranks[2]);
	for (unsigned int rank = 0; rank < ARRAY_SIZE(ranks); rank++)
		for (size_t i = 0; i < connections->n; i++)
			if (connection_rank(&connections->list[i]) == rank &&
			    (screen->style->all || shown < CONNECTIONS_SHOWN)) {
				show_connection(screen, status, &connections->list[i]);
				shown++;
			}
	show_left_out(screen, connections->n - shown);
}

static void show_default(const struct screen *screen, const struct status *status)
{
	static const uint8_t dirs[] = {XFRM_POLICY_IN, XFRM_POLICY_FWD, XFRM_POLICY_OUT};
	char text[64] = "";
	size_t used = 0;

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%s %s", i ? ", " : "",
					 entry_dir_name(dirs[i]),
					 status->default_blocks >> dirs[i] & 1 ? "block" : "allow");
	if (status->default_known)
		entry(screen, PLAIN, "default", "%s", text);
}

static void show_left_over(const struct screen *screen, const struct route *route)
{
	char description[ROUTE_DESCRIPTION_MAX], text[ROUTE_DESCRIPTION_MAX];

	route_describe(route, description, sizeof(description));
	vici_copy((struct vici_text){description, strlen(description)}, text, sizeof(text));
	line(screen, YELLOW, "  %s%s%s", text,
	     *route->stale_address_on ? "; its source is probably a left-over virtual address on " : "",
	     route->stale_address_on);
}

static void show_routes(const struct screen *screen, const struct status *status)
{
	const struct status_routes counts = status_count_routes(&status->routes);
	bool up = status_charon_state(&status->charon) == STATUS_CHARON_UP;
	size_t shown = 0, left_over = 0;
	char backups[48] = "";

	if (problem(screen, status, STATUS_PART_ROUTES, "routes") || !status->routes_known)
		return;
	if (counts.backups)
		snprintf(backups, sizeof(backups), ", %zu backup route%s", counts.backups, plural(counts.backups));
	if (counts.unexplained)
		entry(screen, YELLOW, "routes", "%zu of %zu in table %" PRIu32 " %s%s", counts.unexplained, counts.real,
		      status->table, up ? "explained by no connection of charon" : "without a charon", backups);
	else
		entry(screen, PLAIN, "routes", "%zu in table %" PRIu32 "%s", counts.real, status->table, backups);
	for (size_t i = 0; i < status->routes.n; i++) {
		if (!status_is_left_over(&status->routes.list[i]))
			continue;
		left_over++;
		if (!screen->style->all && shown == ROUTES_SHOWN)
			continue;
		show_left_over(screen, &status->routes.list[i]);
		shown++;
	}
	show_left_out(screen, left_over - shown);
}

void status_text(const struct status *status, const struct status_style *style, FILE *f)
{
	const struct screen screen = {style, f};

	show_charon(&screen, status);
	show_key_managers(&screen, status);
	fputs("\n", f);
	if (!problem(&screen, status, STATUS_PART_KERNEL, "kernel")) {
		show_sas(&screen, status);
		show_policies(&screen, status);
		show_default(&screen, status);
		show_shadows(&screen, status);
		show_kept(&screen, status);
	}
	fputs("\n", f);
	show_orphans(&screen, status);
	show_findings(&screen, status);
	show_routes(&screen, status);
	show_connections(&screen, status);
}
