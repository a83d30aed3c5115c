/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/forbidden.h"

#include <endian.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/net.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/util.h"

/* Result of a forbidden call: an errno. A signal would end the program in the middle of a hold, even if a library could
 * do without the call. */
#define FORBIDDEN SCMP_ACT_ERRNO(EPERM)

const char *const forbidden_calls[] = {
	/* other programs */
	"execve",
	"execveat",
	"uselib",
	/* memory that becomes executable without mmap() or mprotect(): SHM_EXEC, READ_IMPLIES_EXEC, code segments */
	"ipc",
	"modify_ldt",
	"personality",
	"shmat",
	/* other processes */
	"kcmp",
	"perf_event_open",
	"pidfd_getfd",
	"process_madvise",
	"process_vm_readv",
	"process_vm_writev",
	"ptrace",
	/* io_uring: the kernel then makes the calls, and this filter does not see them */
	"io_uring_enter",
	"io_uring_register",
	"io_uring_setup",
	/* the kernel */
	"bpf",
	"create_module",
	"delete_module",
	"finit_module",
	"init_module",
	"kexec_file_load",
	"kexec_load",
	"syslog",
	"userfaultfd",
	/* keys */
	"add_key",
	"keyctl",
	"request_key",
	/* file systems */
	"chroot",
	"fanotify_init",
	"fsconfig",
	"fsmount",
	"fsopen",
	"fspick",
	"mount",
	"mount_setattr",
	"move_mount",
	"open_by_handle_at",
	"open_tree",
	"pivot_root",
	"quotactl",
	"quotactl_fd",
	"umount",
	"umount2",
	"unshare",
	/* clocks, I/O ports, swap, accounting, reboot */
	"acct",
	"adjtimex",
	"clock_adjtime",
	"clock_adjtime64",
	"clock_settime",
	"clock_settime64",
	"ioperm",
	"iopl",
	"pciconfig_iobase",
	"pciconfig_read",
	"pciconfig_write",
	"reboot",
	"s390_pci_mmio_read",
	"s390_pci_mmio_write",
	"settimeofday",
	"stime",
	"swapoff",
	"swapon",
};

const size_t n_forbidden_calls = ARRAY_SIZE(forbidden_calls);

/* Forbids a call. If `n` is 1, forbids it only with arguments that match `argument`. If `n` is 0, ignores `argument`.
 * Call numbers below 0 are valid: libseccomp uses them for calls that the architecture lacks or multiplexes, and
 * rewrites the latter (seccomp_rule_add(3)). A name that an older libseccomp does not have resolves to __NR_SCMP_ERROR,
 * and is skipped. Returns 0 or a negative errno. */
static int forbid_if(scmp_filter_ctx filter, const char *name, unsigned int n, struct scmp_arg_cmp argument)
{
	int call = seccomp_syscall_resolve_name(name);

	return call == __NR_SCMP_ERROR ? 0 : seccomp_rule_add_array(filter, FORBIDDEN, call, n, &argument);
}

static int forbid(scmp_filter_ctx filter, const char *name)
{
	return forbid_if(filter, name, 0, (struct scmp_arg_cmp){0});
}

/* Forbids a call with PROT_EXEC, which is in the third argument of mmap(), mmap2(), mprotect() and pkey_mprotect(). */
static int forbid_executable(scmp_filter_ctx filter, const char *name)
{
	return forbid_if(filter, name, 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
}

/* Forbids sockets of all families but AF_UNIX and AF_NETLINK. A rule can compare an argument only once, so each family
 * has its own rule. Returns 0 or a negative errno. */
static int forbid_families(scmp_filter_ctx filter)
{
	/* A filter cannot see the family of socketcall(), which is behind a pointer. No C library of these
	 * architectures opens sockets with that call. The kernel uses 32 bits of the call's first argument
	 * (sys_socketcall()). */
	int r = forbid_if(filter, "socketcall", 1, SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, SYS_SOCKET));

	for (scmp_datum_t family = AF_UNSPEC; family < AF_NETLINK && r == 0; family++)
		if (family != AF_UNIX)
			r = forbid_if(filter, "socket", 1, SCMP_A0(SCMP_CMP_EQ, family));
	return r < 0 ? r : forbid_if(filter, "socket", 1, SCMP_A0(SCMP_CMP_GT, AF_NETLINK));
}

/* Restricts the arguments of calls that the program itself needs, on architectures where these arguments are always in
 * registers. On i386 and s390x the C library opens sockets with socketcall(), whose arguments are behind a pointer. The
 * arguments of mmap() are behind a pointer there too. Returns 0 or a negative errno. */
static int forbid_arguments(scmp_filter_ctx filter, uint32_t architecture)
{
	int r;

	switch (architecture) {
	case SCMP_ARCH_AARCH64:
	case SCMP_ARCH_ARM:
	case SCMP_ARCH_MIPSEL:
	case SCMP_ARCH_MIPSEL64:
	case SCMP_ARCH_PPC64LE:
	case SCMP_ARCH_RISCV64:
	case SCMP_ARCH_X86_64:
		r = forbid_families(filter);
		if (r == 0)
			r = forbid_executable(filter, "mmap");
		return r < 0 ? r : forbid_executable(filter, "mmap2");
	case SCMP_ARCH_X86:
		/* The C library calls mmap2() instead. */
		r = forbid(filter, "mmap");
		return r < 0 ? r : forbid_executable(filter, "mmap2");
	default:
		return 0;
	}
}

static int forbid_calls(scmp_filter_ctx filter, uint32_t architecture)
{
	int r = forbid_arguments(filter, architecture);

	for (size_t i = 0; i < n_forbidden_calls && r == 0; i++)
		r = forbid(filter, forbidden_calls[i]);
	if (r == 0)
		r = forbid_executable(filter, "mprotect");
	return r < 0 ? r : forbid_executable(filter, "pkey_mprotect");
}

/* Changes the architecture of a new filter, which has the native one. Returns 0 or a negative errno. */
static int set_architecture(scmp_filter_ctx filter, uint32_t architecture)
{
	if (architecture == seccomp_arch_native())
		return 0;
	/* Remove the native one first: all architectures of a filter must have the same byte order. */
	int r = seccomp_arch_remove(filter, seccomp_arch_native());
	return r < 0 ? r : seccomp_arch_add(filter, architecture);
}

/* Reads an exported filter, and converts it from the byte order of its architecture to that of this machine. Returns
 * the number of instructions, or a negative errno. */
static int read_program(int fd, uint32_t architecture, struct sock_filter *ret, size_t max)
{
	const bool big_endian = !(architecture & __AUDIT_ARCH_LE);
	struct sock_filter code;
	size_t n = 0;

	lseek(fd, 0, SEEK_SET);
	for (; read(fd, &code, sizeof(code)) == sizeof(code); n++) {
		if (n == max)
			return -EFBIG;
		ret[n] = (struct sock_filter){
			.code = big_endian ? be16toh(code.code) : le16toh(code.code),
			.jt = code.jt,
			.jf = code.jf,
			.k = big_endian ? be32toh(code.k) : le32toh(code.k),
		};
	}
	return n ? (int)n : -EIO;
}

static void release_filter(scmp_filter_ctx *filter)
{
	seccomp_release(*filter);
}

int forbidden_program(uint32_t architecture, struct sock_filter *ret, size_t max)
{
	CLEANUP(release_filter) scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	CLEANUP(close_fd) int fd = memfd_create("filter", MFD_CLOEXEC);

	if (!filter)
		return -ENOMEM;
	if (fd < 0)
		return -errno;
	/* Generate a binary tree. When a filter is installed, the kernel runs it for each existing call, to find those
	 * that are always allowed (seccomp_cache_prepare()). With a list of comparisons, this takes twice as long. */
	int r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r == 0)
		r = set_architecture(filter, architecture);
	if (r == 0)
		r = forbid_calls(filter, architecture);
	if (r == 0)
		r = seccomp_export_bpf(filter, fd);
	return r < 0 ? r : read_program(fd, architecture, ret, max);
}
