/* SPDX-License-Identifier: GPL-2.0-or-later */

/* Prints the source of call_filter (base/call_filter.h):
 *
 *     make-call-filter [ARCHITECTURE]
 *
 * The filter is for ARCHITECTURE, a name of libseccomp, or by default for the architecture on which the program runs. A
 * build for another architecture has to name it. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/forbidden.h"

int main(int argc, char **argv)
{
	static struct sock_filter code[BPF_MAXINSNS];
	uint32_t architecture = argc > 1 ? seccomp_arch_resolve_name(argv[1]) : seccomp_arch_native();

	if (!architecture) {
		fprintf(stderr, "libseccomp does not know the architecture '%s'.\n", argv[1]);
		return EXIT_FAILURE;
	}
	int n = forbidden_program(architecture, code, BPF_MAXINSNS);
	if (n < 0) {
		fprintf(stderr, "Could not make the filter of system calls: %s.\n", strerror(-n));
		return EXIT_FAILURE;
	}
	printf("#include \"base/call_filter.h\"\n\nstatic struct sock_filter code[] = {\n");
	for (int i = 0; i < n; i++)
		printf("\t{0x%02x, %u, %u, 0x%08x},\n", code[i].code, code[i].jt, code[i].jf, code[i].k);
	printf("};\n\nconst struct sock_fprog call_filter = {%d, code};\n", n);
	return EXIT_SUCCESS;
}
