/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Holds the sockets of a key manager until its standard input ends:
 *
 *     listener GROUPS [UDP-PORT]
 *
 * The first socket is a NETLINK_XFRM socket that is subscribed to the mask GROUPS. If GROUPS is "pfkey", it is a PF_KEY
 * socket. With UDP-PORT, the second one is a UDP socket with this port. The program prints "ready" when they are open,
 * or "unsupported" if the kernel has no PF_KEY. The tests copy the program to executables with the names of key
 * managers. */

#include <errno.h>
#include <linux/netlink.h>
#include <linux/pfkeyv2.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void bind_or_die(int fd, const void *address, socklen_t length)
{
	if (fd < 0 || bind(fd, address, length) < 0) {
		perror("listener");
		exit(EXIT_FAILURE);
	}
}

int main(int argc, char **argv)
{
	char ignored;

	if (argc != 2 && argc != 3) {
		fprintf(stderr, "Usage: listener GROUPS|pfkey [UDP-PORT]\n");
		return EXIT_FAILURE;
	}

	if (strcmp(argv[1], "pfkey") == 0) {
		if (socket(AF_KEY, SOCK_RAW, PF_KEY_V2) < 0) {
			puts(errno == EAFNOSUPPORT ? "unsupported" : strerror(errno));
			return EXIT_FAILURE;
		}
	} else {
		const struct sockaddr_nl groups = {.nl_family = AF_NETLINK,
						   .nl_groups = (unsigned int)strtoul(argv[1], NULL, 0)};
		bind_or_die(socket(AF_NETLINK, SOCK_RAW, NETLINK_XFRM), &groups, sizeof(groups));
	}
	if (argc == 3) {
		const struct sockaddr_in port = {.sin_family = AF_INET,
						 .sin_port = htons((uint16_t)strtoul(argv[2], NULL, 0))};
		bind_or_die(socket(AF_INET, SOCK_DGRAM, 0), &port, sizeof(port));
	}

	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &ignored, 1) > 0)
		;
	return EXIT_SUCCESS;
}
