/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "hold/boot_file.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>

#include "base/util.h"
#include "hold/shadow.h"
#include "xfrm/filter.h"

#define FIRST_LINE "xfrmctl shadows 1"
#define LAST_LINE "end"

/* Maximum size of a line, in bytes. A line with the longest values of all fields is less than half as long. */
#define LINE_MAX_BYTES 512

const char *boot_file_obstacle(const struct entry *policy)
{
	if (policy->policy.info.sel.ifindex)
		return "the policy is bound to an interface by number, and another interface may have that number "
		       "after the boot";
	if (policy->policy.security_length)
		return "the policy has a security context, which may be unknown at boot";
	return NULL;
}

static int parse_up_to(const char *value, uint32_t max, uint32_t *ret)
{
	int r = number_parse(value, ret);

	return r < 0 ? r : *ret > max ? -ERANGE : 0;
}

static int parse_byte(const char *value, uint8_t *ret)
{
	uint32_t number;

	int r = parse_up_to(value, UINT8_MAX, &number);
	if (r == 0)
		*ret = (uint8_t)number;
	return r;
}

/* Parses "A/B". Returns 0 or a negative errno. */
static int parse_pair(char *value, uint32_t max, uint32_t *first, uint32_t *second)
{
	char *slash = strchr(value, '/');

	if (!slash)
		return -EINVAL;
	*slash = '\0';
	int r = parse_up_to(value, max, first);
	return r < 0 ? r : parse_up_to(slash + 1, max, second);
}

/* Parses "ADDRESS/LENGTH". Both prefixes of a selector must have the same family. Keeps the bits of the address behind
 * the length, because they belong to the policy's key in the kernel. Returns 0 or a negative errno. */
static int parse_prefix(char *value, struct xfrm_selector *sel, xfrm_address_t *address, uint8_t *length)
{
	sa_family_t family = strchr(value, ':') ? AF_INET6 : AF_INET;
	char *slash = strchr(value, '/');
	uint32_t bits;

	if (!slash || (sel->family && sel->family != family))
		return -EINVAL;
	*slash = '\0';
	int r = parse_up_to(slash + 1, family == AF_INET ? 32 : 128, &bits);
	if (r < 0)
		return r;
	sel->family = family;
	*length = (uint8_t)bits;
	return inet_pton(family, value, address) == 1 ? 0 : -EINVAL;
}

static int parse_ports(char *value, __be16 *port, __be16 *mask)
{
	uint32_t first, second;

	int r = parse_pair(value, UINT16_MAX, &first, &second);
	if (r < 0)
		return r;
	*port = htons((uint16_t)first);
	*mask = htons((uint16_t)second);
	return 0;
}

static int parse_src(char *value, struct entry *entry)
{
	struct xfrm_selector *sel = &entry->policy.info.sel;

	return parse_prefix(value, sel, &sel->saddr, &sel->prefixlen_s);
}

static int parse_dst(char *value, struct entry *entry)
{
	struct xfrm_selector *sel = &entry->policy.info.sel;

	return parse_prefix(value, sel, &sel->daddr, &sel->prefixlen_d);
}

static int parse_proto(char *value, struct entry *entry)
{
	return parse_byte(value, &entry->policy.info.sel.proto);
}

static int parse_sport(char *value, struct entry *entry)
{
	struct xfrm_selector *sel = &entry->policy.info.sel;

	return parse_ports(value, &sel->sport, &sel->sport_mask);
}

static int parse_dport(char *value, struct entry *entry)
{
	struct xfrm_selector *sel = &entry->policy.info.sel;

	return parse_ports(value, &sel->dport, &sel->dport_mask);
}

static int parse_dir(char *value, struct entry *entry)
{
	int dir = entry_dir_from_name(value);

	entry->policy.info.dir = (uint8_t)dir;
	return dir < 0 ? dir : 0;
}

static int parse_ptype(char *value, struct entry *entry)
{
	int ptype = entry_ptype_from_name(value);

	entry->policy.ptype = (uint8_t)ptype;
	return ptype < 0 ? ptype : 0;
}

static int parse_action(char *value, struct entry *entry)
{
	bool block = strcmp(value, "block") == 0;

	entry->policy.info.action = block ? XFRM_POLICY_BLOCK : XFRM_POLICY_ALLOW;
	return block || strcmp(value, "allow") == 0 ? 0 : -EINVAL;
}

static int parse_priority(char *value, struct entry *entry)
{
	return number_parse(value, &entry->policy.info.priority);
}

static int parse_replaces(char *value, struct entry *entry)
{
	uint32_t priority;

	int r = number_parse(value, &priority);
	if (r == 0)
		shadow_set_original_priority(entry, priority);
	return r;
}

static int parse_mark(char *value, struct entry *entry)
{
	return parse_pair(value, UINT32_MAX, &entry->mark.v, &entry->mark.m);
}

static int parse_if_id(char *value, struct entry *entry)
{
	return number_parse(value, &entry->if_id);
}

static int parse_flags(char *value, struct entry *entry)
{
	return parse_byte(value, &entry->policy.info.flags);
}

static const struct field {
	const char *key;
	int (*parse)(char *value, struct entry *entry);
	bool required;
} fields[] = {
	{"src", parse_src, true},	    {"dst", parse_dst, true},	    {"proto", parse_proto, false},
	{"sport", parse_sport, false},	    {"dport", parse_dport, false},  {"dir", parse_dir, true},
	{"ptype", parse_ptype, true},	    {"action", parse_action, true}, {"priority", parse_priority, true},
	{"replaces", parse_replaces, true}, {"mark", parse_mark, false},    {"if-id", parse_if_id, false},
	{"flags", parse_flags, false},
};

void boot_file_begin(FILE *f)
{
	fputs(FIRST_LINE "\n", f);
}

void boot_file_add(FILE *f, const struct entry *shadow)
{
	const struct xfrm_userpolicy_info *info = &shadow->policy.info;
	const struct xfrm_selector *sel = &info->sel;
	char src[INET6_ADDRSTRLEN], dst[INET6_ADDRSTRLEN];

	fprintf(f, "src %s/%u dst %s/%u", entry_address(sel->family, &sel->saddr, src), sel->prefixlen_s,
		entry_address(sel->family, &sel->daddr, dst), sel->prefixlen_d);
	if (sel->proto)
		fprintf(f, " proto %u", sel->proto);
	if (sel->sport || sel->sport_mask)
		fprintf(f, " sport %u/0x%x", ntohs(sel->sport), ntohs(sel->sport_mask));
	if (sel->dport || sel->dport_mask)
		fprintf(f, " dport %u/0x%x", ntohs(sel->dport), ntohs(sel->dport_mask));
	fprintf(f, " dir %s ptype %s action %s priority %u replaces %u", entry_dir_name(info->dir),
		entry_ptype_name(shadow->policy.ptype), info->action == XFRM_POLICY_BLOCK ? "block" : "allow",
		info->priority, shadow_original_priority(shadow));
	if (shadow->mark.v || shadow->mark.m)
		fprintf(f, " mark 0x%x/0x%x", shadow->mark.v, shadow->mark.m);
	if (shadow->if_id)
		fprintf(f, " if-id %u", shadow->if_id);
	if (info->flags)
		fprintf(f, " flags %u", info->flags);
	fputc('\n', f);
}

void boot_file_end(FILE *f, uint64_t n)
{
	fprintf(f, LAST_LINE " %" PRIu64 "\n", n);
}

/* Writes the reason why the file is invalid into reader->why. Returns -EBADMSG. */
static int __attribute__((format(printf, 2, 3))) refuse(struct boot_file_reader *reader, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(reader->why, sizeof(reader->why), format, args);
	va_end(args);
	return -EBADMSG;
}

/* Reads a line without its newline. Returns 0 or -EBADMSG. */
static int read_line(struct boot_file_reader *reader, char *line, size_t size)
{
	if (!fgets(line, (int)size, reader->f))
		return refuse(reader, "%s",
			      ferror(reader->f) ? "the file cannot be read" : "the end of the file is missing");
	reader->line++;
	size_t length = strlen(line);
	/* The text ends early if the line contains a NUL byte. */
	if (!length || line[length - 1] != '\n')
		return refuse(reader, "line %" PRIu64 " is too long, or not text", reader->line);
	line[length - 1] = '\0';
	return 0;
}

/* Checks the number in the last line, and that no line follows. Returns 0 or -EBADMSG. */
static int parse_end(struct boot_file_reader *reader, const char *number)
{
	uint32_t n;

	if (number_parse(number, &n) < 0 || n != reader->n)
		return refuse(reader, "line %" PRIu64 " gives the number of policies as %.32s, but there are %" PRIu64,
			      reader->line, number, reader->n);
	return fgetc(reader->f) == EOF && feof(reader->f) ? 0 : refuse(reader, "data follows the last line");
}

/* Parses the value of a key. `seen` has a bit for each field of the line so far. Returns 0 or -EBADMSG. */
static int parse_field(struct boot_file_reader *reader, const char *key, char *value, unsigned int *seen,
		       struct entry *entry)
{
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		if (strcmp(key, fields[i].key) != 0)
			continue;
		if (*seen & (1U << i))
			return refuse(reader, "line %" PRIu64 " has '%s' twice", reader->line, key);
		*seen |= 1U << i;
		return fields[i].parse(value, entry) < 0
			       ? refuse(reader, "line %" PRIu64 " has a wrong '%s'", reader->line, key)
			       : 0;
	}
	return refuse(reader, "line %" PRIu64 " has an unknown '%.32s'", reader->line, key);
}

static int parse_fields(struct boot_file_reader *reader, char *line, struct entry *entry)
{
	unsigned int seen = 0;
	int r = 0;

	while (line && r == 0) {
		char *key = strsep(&line, " "), *value = strsep(&line, " ");
		r = value ? parse_field(reader, key, value, &seen, entry)
			  : refuse(reader, "line %" PRIu64 " has '%.32s' without a value", reader->line, key);
	}
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(fields); i++)
		if (fields[i].required && !(seen & (1U << i)))
			r = refuse(reader, "line %" PRIu64 " lacks '%s'", reader->line, fields[i].key);
	return r;
}

int boot_file_next(struct boot_file_reader *reader, struct entry *ret)
{
	char line[LINE_MAX_BYTES];

	int r = 0;
	if (!reader->line) {
		r = read_line(reader, line, sizeof(line));
		if (r == 0 && strcmp(line, FIRST_LINE) != 0)
			r = refuse(reader, "the file does not begin with '" FIRST_LINE "'");
	}
	if (r == 0)
		r = read_line(reader, line, sizeof(line));
	if (r < 0)
		return r;
	if (strncmp(line, LAST_LINE " ", strlen(LAST_LINE " ")) == 0)
		return parse_end(reader, line + strlen(LAST_LINE " "));

	*ret = (struct entry){.kind = ENTRY_POLICY, .policy.info.sel.user = SHADOW_HOLD};
	r = parse_fields(reader, line, ret);
	reader->n += r == 0;
	return r < 0 ? r : 1;
}
