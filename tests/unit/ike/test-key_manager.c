/* SPDX-License-Identifier: GPL-2.0-or-later */

/* The lines of netlink, udp and udp6 are from a 6.18 kernel; only the groups of charon's socket are from 6.1. In some
 * lines one field was changed. The lines of pfkey follow pfkey_seq_show() in net/key/af_key.c. */

#include "unit.h"

#include <errno.h>

#include "ike/key_manager.h"

typedef int (*parser)(const char *line, struct key_manager_socket *ret);

#define NETLINK(protocol, port_id, groups, inode) \
	"000000006498e207 " protocol " " port_id " " groups " 0        0        0     2        0        " inode "   " \
	"\n"
#define PFKEY(inode) "000000004f2cb7a1 2      0      0      0      " inode " \n"
#define UDP(local, remote, inode) \
	"14359: " local " " remote " 07 00000000:00000000 00:00000000 00000000     0        0 " inode \
	" 2 00000000332dc421 " \
	"0         \n"
#define UDP6(port, inode) UDP("00000000000000000000000000000000:" port, "00000000000000000000000000000000:0000", inode)

static const struct line_row {
	const char *name;
	parser parse;
	const char *line;
	int result;
	struct key_manager_socket socket; /* expected in `ret` when the result is 1 */
} line_rows[] = {
	{"netlink: heading",
	 key_manager_parse_netlink,
	 "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n",
	 -EBADMSG,
	 {0, 0}},
	{"netlink: charon",
	 key_manager_parse_netlink,
	 NETLINK("6  ", "1034      ", "000000c3", "53522"),
	 1,
	 {53522, 0}},
	{"netlink: ip xfrm monitor",
	 key_manager_parse_netlink,
	 NETLINK("6  ", "1033      ", "ffffffff", "53486"),
	 1,
	 {53486, 0}},
	{"netlink: acquires alone",
	 key_manager_parse_netlink,
	 NETLINK("6  ", "1034      ", "00000001", "53522"),
	 1,
	 {53522, 0}},
	{"netlink: all but acquires",
	 key_manager_parse_netlink,
	 NETLINK("6  ", "1034      ", "fffffffe", "53522"),
	 0,
	 {0, 0}},
	{"netlink: expiries alone",
	 key_manager_parse_netlink,
	 NETLINK("6  ", "3262874637", "000000c2", "53523"),
	 0,
	 {0, 0}},
	{"netlink: the kernel's socket",
	 key_manager_parse_netlink,
	 NETLINK("6  ", "0         ", "00000000", "53102"),
	 0,
	 {0, 0}},
	{"netlink: port id no pid",
	 key_manager_parse_netlink,
	 NETLINK("6  ", "3262874637", "000000c3", "53523"),
	 1,
	 {53523, 0}},
	{"netlink: rtnetlink", key_manager_parse_netlink, NETLINK("0  ", "812       ", "000000c3", "53094"), 0, {0, 0}},
	{"netlink: kobject-uevent",
	 key_manager_parse_netlink,
	 NETLINK("15 ", "812       ", "00000001", "53097"),
	 0,
	 {0, 0}},
	{"netlink: generic netlink",
	 key_manager_parse_netlink,
	 NETLINK("16 ", "812       ", "00000001", "53095"),
	 0,
	 {0, 0}},
	{"netlink: full queues",
	 key_manager_parse_netlink,
	 "000000006498e207 6   1034       000000c3 425984   2304     1     3        4294967295 53522   \n",
	 1,
	 {53522, 0}},
	{"netlink: largest inode",
	 key_manager_parse_netlink,
	 NETLINK("6", "1034", "000000c3", "18446744073709551615"),
	 1,
	 {UINT64_MAX, 0}},
	{"netlink: cut before the inode",
	 key_manager_parse_netlink,
	 "000000006498e207 6   1034       000000c3 0        0        0     2        0        ",
	 -EBADMSG,
	 {0, 0}},
	{"netlink: empty line", key_manager_parse_netlink, "", -EBADMSG, {0, 0}},
	{"netlink: white space", key_manager_parse_netlink, " \t\n", -EBADMSG, {0, 0}},
	{"netlink: words", key_manager_parse_netlink, "a b c d e f g h i j\n", -EBADMSG, {0, 0}},
	{"netlink: line of pfkey", key_manager_parse_netlink, PFKEY("53601"), -EBADMSG, {0, 0}},

	{"pfkey: heading", key_manager_parse_pfkey, "sk       RefCnt Rmem   Wmem   User   Inode\n", -EBADMSG, {0, 0}},
	{"pfkey: socket", key_manager_parse_pfkey, PFKEY("53601"), 1, {53601, 0}},
	{"pfkey: user's",
	 key_manager_parse_pfkey,
	 "000000004f2cb7a1 3      2304   768    1000   53602 \n",
	 1,
	 {53602, 0}},
	{"pfkey: largest inode", key_manager_parse_pfkey, PFKEY("18446744073709551615"), 1, {UINT64_MAX, 0}},
	{"pfkey: cut before the inode",
	 key_manager_parse_pfkey,
	 "000000004f2cb7a1 2      0      0      0      ",
	 -EBADMSG,
	 {0, 0}},
	{"pfkey: empty line", key_manager_parse_pfkey, "", -EBADMSG, {0, 0}},
	{"pfkey: words", key_manager_parse_pfkey, "a b c d e f\n", -EBADMSG, {0, 0}},

	{"udp: heading",
	 key_manager_parse_udp,
	 "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref "
	 "pointer "
	 "drops            \n",
	 -EBADMSG,
	 {0, 0}},
	{"udp: port 500", key_manager_parse_udp, UDP("00000000:01F4", "00000000:0000", "53513"), 1, {53513, 500}},
	{"udp: port 4500", key_manager_parse_udp, UDP("00000000:1194", "00000000:0000", "53514"), 1, {53514, 4500}},
	{"udp: one address", key_manager_parse_udp, UDP("010200C0:01F4", "00000000:0000", "53530"), 1, {53530, 500}},
	{"udp: to port 500", key_manager_parse_udp, UDP("0100007F:1195", "0100007F:01F4", "53521"), 0, {0, 0}},
	{"udp: port 499", key_manager_parse_udp, UDP("00000000:01F3", "00000000:0000", "53521"), 0, {0, 0}},
	{"udp: port 0x500", key_manager_parse_udp, UDP("00000000:0500", "00000000:0000", "53521"), 0, {0, 0}},
	{"udp: port 53", key_manager_parse_udp, UDP("00000000:0035", "00000000:0000", "53515"), 0, {0, 0}},
	{"udp: port 500 + 2^16", key_manager_parse_udp, UDP("00000000:101F4", "00000000:0000", "53513"), 0, {0, 0}},
	{"udp: first of few slots and full queues",
	 key_manager_parse_udp,
	 "    1: 00000000:01F4 00000000:0000 07 00000900:00000300 00:00000000 00000000   104        0 53530 2 "
	 "00000000332dc422 12        \n",
	 1,
	 {53530, 500}},
	{"udp: largest inode",
	 key_manager_parse_udp,
	 UDP("00000000:01F4", "00000000:0000", "18446744073709551615"),
	 1,
	 {UINT64_MAX, 500}},
	{"udp: cut before the inode",
	 key_manager_parse_udp,
	 "14359: 00000000:01F4 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 ",
	 -EBADMSG,
	 {0, 0}},
	{"udp: cut in the address", key_manager_parse_udp, "14359: 00000000", -EBADMSG, {0, 0}},
	{"udp: empty line", key_manager_parse_udp, "", -EBADMSG, {0, 0}},
	{"udp: words", key_manager_parse_udp, "a: b:c d e f g h i j k l\n", -EBADMSG, {0, 0}},

	{"udp6: heading",
	 key_manager_parse_udp,
	 "  sl  local_address                         remote_address                        st tx_queue rx_queue tr "
	 "tm->when retrnsmt   uid  timeout inode ref pointer drops\n",
	 -EBADMSG,
	 {0, 0}},
	{"udp6: port 500", key_manager_parse_udp, UDP6("01F4", "53517"), 1, {53517, 500}},
	{"udp6: port 4500", key_manager_parse_udp, UDP6("1194", "53518"), 1, {53518, 4500}},
	{"udp6: port 53", key_manager_parse_udp, UDP6("0035", "53519"), 0, {0, 0}},
};

/* Values that no parser writes, to detect changes of members that must stay. */
static const struct key_manager_socket untouched = {.inode = 0xa5a5, .port = 0xa5a5};

static void check_line(parser parse, const char *line, int result, const struct key_manager_socket *expected)
{
	struct key_manager_socket socket = untouched;

	assert_int_equal(parse(line, &socket), result);
	assert_int_equal(socket.inode, expected->inode);
	assert_int_equal(socket.port, expected->port);
}

static void parses_line(void **state)
{
	const struct line_row *row = *state;

	check_line(row->parse, row->line, row->result, row->result == 1 ? &row->socket : &untouched);
}

static const struct line_row overlong_rows[] = {
	{"netlink: overlong",
	 key_manager_parse_netlink,
	 NETLINK("6  ", "1034      ", "000000c3", "53522"),
	 1,
	 {53522, 0}},
	{"pfkey: overlong", key_manager_parse_pfkey, PFKEY("53601"), 1, {53601, 0}},
	{"udp: overlong", key_manager_parse_udp, UDP("00000000:01F4", "00000000:0000", "53513"), 1, {53513, 500}},
};

/* Checks overlong lines: getline() passes a line of any length to the parsers. */
static void parses_overlong_line(void **state)
{
	static const char fillings[] = "a0 :9\n";
	const struct line_row *row = *state;
	const size_t length = 1 << 20;
	char *line = malloc(length + 1);

	assert_non_null(line);
	line[length] = '\0';
	for (const char *filling = fillings; *filling; filling++) {
		memset(line, *filling, length);
		check_line(row->parse, line, -EBADMSG, &untouched);
	}

	/* The text behind the inode does not matter. The "\n" of the row's line is left out. */
	memset(line, ' ', length);
	memcpy(line, row->line, strlen(row->line) - 1);
	memset(line + length / 2, '9', length / 2);
	check_line(row->parse, line, 1, &row->socket);
	free(line);
}

static const struct classify_row {
	const char *name;
	const char *executable;
	bool has_ike_port;
	enum key_manager_kind kind;
} classify_rows[] = {
	{"classify: charon", "charon", true, KEY_MANAGER_IKE},
	{"classify: charon on a random port", "charon", false, KEY_MANAGER_IKE},
	{"classify: charon-systemd", "charon-systemd", false, KEY_MANAGER_IKE},
	{"classify: charon-nm", "charon-nm", false, KEY_MANAGER_IKE},
	{"classify: libreswan", "pluto", false, KEY_MANAGER_IKE},
	{"classify: OpenIKED", "iked", false, KEY_MANAGER_IKE},
	{"classify: racoon", "racoon", false, KEY_MANAGER_IKE},
	{"classify: daemon under another name", "myike", true, KEY_MANAGER_IKE},
	{"classify: ip with an IKE port", "ip", true, KEY_MANAGER_IKE},
	{"classify: unknown with an IKE port", "", true, KEY_MANAGER_IKE},
	{"classify: ip xfrm monitor", "ip", false, KEY_MANAGER_MONITOR},
	{"classify: name that begins with ip", "ipmitool", false, KEY_MANAGER_UNKNOWN},
	{"classify: name that begins like charon", "charlie", false, KEY_MANAGER_UNKNOWN},
	{"classify: name that ends in charon", "notcharon", false, KEY_MANAGER_UNKNOWN},
	{"classify: name that is the beginning of charon", "char", false, KEY_MANAGER_UNKNOWN},
	{"classify: python", "python3.11", false, KEY_MANAGER_UNKNOWN},
	{"classify: unknown", "", false, KEY_MANAGER_UNKNOWN},
};

static void classifies(void **state)
{
	const struct classify_row *row = *state;

	assert_int_equal(key_manager_classify(row->executable, row->has_ike_port), row->kind);
}

/* Checks the order of kinds: key_manager_find() compares kinds to return the strongest evidence. */
static void kinds_rise_with_evidence(void **state)
{
	(void)state;
	assert_true(KEY_MANAGER_MONITOR < KEY_MANAGER_UNKNOWN);
	assert_true(KEY_MANAGER_UNKNOWN < KEY_MANAGER_IKE);
}

int main(void)
{
	static struct cases cases;

	ADD_ROWS(&cases, parses_line, line_rows);
	ADD_ROWS(&cases, parses_overlong_line, overlong_rows);
	ADD_ROWS(&cases, classifies, classify_rows);
	ADD_CASE(&cases, kinds_rise_with_evidence);
	return cmocka_run_group_tests_name("key_manager", cases.list, NULL, NULL);
}
